package broker

import (
	"fmt"
	"testing"
)

func TestABacklogOnOnePartitionHoldsUpNoOther(t *testing.T) {
	for _, o := range []SubscribeOptions{{}, {Prefetch: 10}, {NoAck: true}} {
		t.Run(fmt.Sprintf("prefetch %d, no ack %v", o.Prefetch, o.NoAck), func(t *testing.T) {
			r := startWith(t, 0)
			q, err := r.s.CreateTopic("t", 3, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 200 {
				for _, p := range q.Partitions() {
					if _, err := r.s.Produce(p, produced(-1, -1, -1, "v")); err != nil {
						t.Fatal(err)
					}
				}
			}
			sub, err := r.s.Subscribe(q.Name, o)
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			got := map[*Partition]int{}
			for range 6 {
				var held []Delivery
				if _, err := sub.pull(10, 1<<20, func(d *Delivery) {
					held = append(held, Delivery{Lease: d.Lease, Offset: d.Offset})
					got[d.Lease.part]++
				}); err != nil {
					t.Fatal(err)
				}
				sub.Release()
				for _, d := range held {
					if o.NoAck {
						continue
					}
					if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, p := range q.Partitions() {
				if got[p] != 20 {
					t.Errorf("partition %d was served %d of 60 messages, want 20", i, got[p])
				}
			}
		})
	}
}

func TestAFewCreditsGoToEveryPartition(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 { // nothing in the last one
		for _, p := range q.Partitions()[:2] {
			if _, err := r.s.Produce(p, produced(-1, -1, -1, "v")); err != nil {
				t.Fatal(err)
			}
		}
	}
	sub, err := r.s.Subscribe(q.Name, SubscribeOptions{Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	got := map[*Partition]int{}
	for range 20 {
		var held Delivery
		n, err := sub.pull(1000, 1<<20, func(d *Delivery) { held = *d })
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		got[held.Lease.part]++
		if err := held.Lease.Ack(held.Offset, held.Offset); err != nil {
			t.Fatal(err)
		}
		sub.Release()
	}
	if a, b := got[q.Partitions()[0]], got[q.Partitions()[1]]; a != b {
		t.Errorf("%d and %d messages of two equal backlogs", a, b)
	}
}
