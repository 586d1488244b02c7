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

// batches is how many batches a queue's log holds.
func batches(t *testing.T, q *Queue) (n int) {
	t.Helper()
	v, err := q.Partitions()[0].log.Read(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Done()
	if err := v.Use(func(data []byte) error {
		for ; len(data) > 0 && err == nil; n++ {
			_, data, err = batch.Next(data)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// What one read brings shares as few batches as the order in each queue allows.
func TestMessagesOfOneReadShareBatches(t *testing.T) {
	for _, c := range []struct {
		name   string
		queues int
		keys   []string // in turn; "all" leads to every queue, others to that queue
		want   []int    // batches in each queue
		sets   int      // that are open in the end
	}{
		{"of one queue", 2, []string{"q0", "q0"}, []int{1, 0}, 1},
		{"of several queues alike", 3, []string{"all", "all"}, []int{1, 1, 1}, 1},
		{"of queues of their own", 3, []string{"q0", "q1", "q2"}, []int{1, 1, 1}, 3},
		{"of several queues, then of one", 3, []string{"all", "q1"}, []int{1, 2, 1}, 1},
		{"of one queue, then of several", 3, []string{"q1", "all"}, []int{1, 1, 1}, 3},
		{"by turns, and few queues", 3, []string{"all", "q1", "all", "q2", "all"}, []int{2, 2, 2}, 3},
		{"by turns, and many queues", 5, []string{"all", "q1", "all"}, []int{2, 3, 2, 2, 2}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			r.exchange("x", "direct")
			var queues []*Queue
			for i := range c.queues {
				name := fmt.Sprint("q", i)
				queues = append(queues, r.queue(name, QueueOptions{Durable: true}))
				r.bind("x", name, "all")
				r.bind("x", name, name)
			}
			p := r.s.NewPublisher()
			for read := range 2 {
				for i := range 20 * len(c.keys) {
					in := &Inbound{Exchange: []byte("x"), Key: []byte(c.keys[min(i/20, len(c.keys)-1)]), Body: []byte("body"), TimestampMs: 1}
					if i == 0 && read == 0 {
						in.Properties = []byte{0x01, 0, 2, '9', '9'} // expires
					}
					if _, err := p.Publish(in); err != nil {
						t.Fatal(err)
					}
				}
				if len(p.pending) != c.sets {
					t.Errorf("%d sets of queues are open, want %d", len(p.pending), c.sets)
				}
				if read == 1 && p.pending[0].batch.MayExpire() {
					t.Error("a batch is said to hold a message that expires")
				}
				flush(t, p)
			}
			for i, q := range queues {
				if n := batches(t, q); n != 2*c.want[i] {
					t.Errorf("%s: %d batches, want %d", q.Name, n, 2*c.want[i])
				}
			}
		})
	}
}
