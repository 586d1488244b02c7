package broker

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
)

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

// However much comes before a Store, a batch of several messages and all batches together stay small.
func TestWhatWaitsToBeStoredIsBounded(t *testing.T) {
	for _, c := range []struct {
		name   string
		queues int
		body   int
		same   bool
		first  int // bytes of the first body of each queue, if they are others
	}{
		{"messages alike", 1, 1000, true, 0},
		{"messages with heads of their own", 1, 1000, false, 0},
		{"many queues", 40, 100_000, false, 0},
		{"many queues that have messages already", 40, 100_000, false, 1},
		{"large messages", 3, batchBytes + 1, false, 0},
		{"messages larger than all that may wait", 2, pendingBytes + 1, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			for i := range c.queues {
				r.queue(fmt.Sprint("q", i), QueueOptions{Durable: true})
			}
			p := r.s.NewPublisher()
			body := make([]byte, c.body)
			for i := range 8 << 20 / c.body {
				body := body
				if i < c.queues && c.first > 0 {
					body = body[:c.first]
				}
				in := &Inbound{Key: fmt.Append(nil, "q", i%c.queues), Body: body, TimestampMs: 1, SameHead: c.same && i > 0}
				if _, err := p.Publish(in); err != nil {
					t.Fatal(err)
				}
				bytes := 0
				for _, set := range p.pending {
					bytes += set.batch.SizeBytes()
					if set.batch.Len() > 1 && set.batch.SizeBytes() > batchBytes+1000 {
						t.Fatalf("%d messages take %d bytes", set.batch.Len(), set.batch.SizeBytes())
					}
				}
				if bytes > max(pendingBytes, len(body))+50_000 {
					t.Fatalf("%d bytes wait", bytes)
				}
			}
			if err := p.Commit(nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Of messages that are tracked, each is in one batch: else it would be unclear who has one of which a part fails.
func TestATrackedMessageIsInOneBatch(t *testing.T) {
	r := start(t)
	r.exchange("x", "fanout")
	r.queue("q0", QueueOptions{Durable: true})
	r.queue("q1", QueueOptions{Durable: true})
	r.bind("x", "q0", "")
	r.bind("x", "q1", "")
	p := r.s.NewPublisher()
	p.fates = &fates{}
	for ref, in := range []Inbound{{Key: []byte("q0")}, {Exchange: []byte("x")}} {
		in.Body, in.TimestampMs, in.Ref = []byte("body"), 1, uint64(ref)
		if _, err := p.Publish(&in); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.pending) != 1 || len(p.pending[0].targets) != 2 {
		t.Errorf("%d sets of queues are open", len(p.pending))
	}
}
