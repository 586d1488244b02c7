package broker

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
)

// One of SameHead saves routing, so whatever changes routes must be seen by it.
func TestSameHeadFollowsTheTopology(t *testing.T) {
	r := start(t)
	r.exchange("x", "fanout")
	p := r.s.NewPublisher()
	in := &Inbound{Exchange: []byte("x"), Key: []byte("k"), Body: []byte("1"), TimestampMs: 1}
	send := func(body string, wantRouted bool) {
		t.Helper()
		in.Body = []byte(body)
		routed, err := p.Publish(in)
		if err != nil || routed != wantRouted {
			t.Fatalf("message %s: routed %v, error %v", body, routed, err)
		}
		in.SameHead = true
	}
	send("nowhere", false)
	send("nowhere", false)
	a := r.queue("a", QueueOptions{Durable: true})
	r.bind("x", "a", "")
	send("1", true)
	send("2", true)
	b := r.queue("b", QueueOptions{Durable: true})
	r.bind("x", "b", "")
	send("3", true)
	flush(t, p)
	send("4", true)
	if err := r.s.Unbind(Binding{Source: "x", Dest: "a"}); err != nil {
		t.Fatal(err)
	}
	send("5", true)
	in.Exchange, in.Key, in.SameHead = nil, []byte("late"), false
	send("nowhere", false)
	late := r.queue("late", QueueOptions{Durable: true})
	send("6", true)
	flush(t, p)
	want(t, "a", drain(t, a), []string{"1", "2", "3", "4"})
	want(t, "b", drain(t, b), []string{"3", "4", "5"})
	want(t, "late", drain(t, late), []string{"6"})
}

// Sets of queues that overlap are split, and batches that are full are stored, between two that are alike.
func TestSameHeadGoesToEveryQueueInOrder(t *testing.T) {
	r := start(t)
	r.exchange("x", "direct")
	var queues []*Queue
	for i := range 3 {
		name := fmt.Sprint("q", i)
		queues = append(queues, r.queue(name, QueueOptions{Durable: true}))
		r.bind("x", name, "all")
		r.bind("x", name, name)
	}
	p := r.s.NewPublisher()
	expect := make([][]string, 3)
	in := &Inbound{Exchange: []byte("x"), TimestampMs: 1}
	for i := range 400 {
		key := []string{"q0", "all", "q1", "all", "all"}[i/7%5]
		in.SameHead = string(in.Key) == key
		in.Key, in.Body = []byte(key), fmt.Appendf(nil, "%d%s", i, bytes.Repeat([]byte("."), i*37%5000))
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
		for q := range queues {
			if key == "all" || key == queues[q].Name {
				expect[q] = append(expect[q], string(in.Body))
			}
		}
	}
	flush(t, p)
	for q := range queues {
		want(t, queues[q].Name, drain(t, queues[q]), expect[q])
	}
}

// foreign is a batch whose records have no envelope.
func foreign(n byte) batch.Batch {
	b := make(batch.Batch, batch.HeaderBytes)
	for i := range n {
		b = append(b, 16, 0, 0, 2*i, 2, 'k', 2, 'v', 0)
	}
	b.Seal(batch.Header{LastOffsetDelta: int32(n) - 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: int32(n)})
	return b
}

// Deliveries with the same Head have the same exchange, key and properties, on a queue of several
// partitions, across batches, and whoever produced them.
func TestHeadNamesWhatDeliveriesHaveBesideTheirBody(t *testing.T) {
	r := start(t)
	r.exchange("x", "fanout")
	q, err := r.s.CreateTopic("t", 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.bind("x", "t", "")
	p := r.s.NewPublisher()
	const n = 600
	for i := range n {
		in := &Inbound{Exchange: []byte("x"), Key: fmt.Append(nil, i/5%7), Properties: []byte{0x10, 0, byte(1 + i/11%2)}, Body: fmt.Append(nil, i), TimestampMs: 1}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			flush(t, p)
			if _, err := q.Partitions()[i/50%3].log.Append(foreign(3)); err != nil {
				t.Fatal(err)
			}
		}
	}
	flush(t, p)
	sub, err := r.s.Subscribe(q.Name, SubscribeOptions{NoAck: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	heads, same, total := map[uint64]string{}, 0, 0
	for {
		got, err := sub.pull(17, 1<<20, func(d *Delivery) {
			text := fmt.Sprintf("%q %q %x", d.Exchange, d.Key, d.Properties)
			old, seen := heads[d.Head]
			switch {
			case d.Head == 0:
				t.Error("no head")
			case seen && old != text:
				t.Errorf("head %d: %s, then %s", d.Head, old, text)
			case seen:
				same++
			}
			heads[d.Head] = text
		})
		if err != nil {
			t.Fatal(err)
		}
		if total += got; got == 0 {
			break
		}
		sub.Release()
	}
	if total != n+36 || same < n/2 {
		t.Errorf("%d deliveries, %d of them with a head that was there before", total, same)
	}
}
