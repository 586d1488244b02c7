package broker

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/leveret-mq/leveret/internal/field"
)

// heapBytes is what is in use on the heap.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC() // what only finalizers and pools held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAnIdleQueueTakesLessThanAKilobyte holds the memory of queues that nobody uses, of
// which a broker may have very many: made by a declaration, and found by a start. It
// counts all there is of them, names of 14 letters and stored definitions included. A
// feature that a queue does not use has no room in it: see queueExtra, activePart.
func TestAnIdleQueueTakesLessThanAKilobyte(t *testing.T) {
	const queues, limit = 20_000, 850 // and the rest is room
	for name, o := range map[string]QueueOptions{
		"plain":          {Durable: true},
		"with arguments": {Durable: true, Args: field.AppendTableInt(field.AppendTableString(nil, "x-queue-type", "classic"), "x-message-ttl", 60_000)},
		"auto-delete":    {Durable: true, AutoDelete: true},
		"transient":      {},
	} {
		t.Run(name, func(t *testing.T) {
			r := startWith(t, 0)
			each := func(what string, before int64) {
				if got := (heapBytes() - before) / queues; got > limit {
					t.Errorf("an idle queue that was %s takes %d bytes, at most %d", what, got, limit)
				} else {
					t.Logf("an idle queue that was %s takes %d bytes", what, got)
				}
			}
			before := heapBytes()
			for i := range queues {
				r.queue(fmt.Sprintf("queue-%08d", i), o)
			}
			each("declared", before)
			if !o.Durable {
				return
			}
			r.restart()
			for _, q := range r.v.Queues() {
				if n, err := q.count(true); n != 0 || err != nil || q.Consumers() != 0 || q.Unacked() != 0 {
					t.Fatalf("queue %s holds %d messages (%v)", q.Name, n, err)
				}
			}
			each("restored and looked at", before)
		})
	}
}

// TestABindingTakesLessThanAKilobyte holds the same of bindings, each with what is stored of it.
func TestABindingTakesLessThanAKilobyte(t *testing.T) {
	const queues, limit = 20_000, 750
	r := startWith(t, 0)
	before := heapBytes()
	for i := range queues {
		r.queue(fmt.Sprintf("queue-%08d", i), QueueOptions{Durable: true})
	}
	alone := heapBytes() - before
	for i := range queues {
		name := fmt.Sprintf("queue-%08d", i)
		r.bind("amq.direct", name, name)
	}
	check := func(what string) {
		if got := (heapBytes() - before - alone) / queues; got > limit {
			t.Errorf("a binding that was %s takes %d bytes, at most %d", what, got, limit)
		} else {
			t.Logf("a binding that was %s takes %d bytes", what, got)
		}
	}
	check("made")
	r.restart()
	check("restored")
}

func TestLookingIntoAQueueThatNobodyUsedLeavesNothingBehind(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	p := q.Partitions()[0]
	for range 2 {
		if g, err := r.s.Get("q", false); g != nil || err != nil {
			t.Fatalf("%+v %v", g, err)
		}
		if n := q.Ready(); n != 0 {
			t.Fatalf("%d messages", n)
		}
		q.Stats()
		if p.cursor.Load() != nil || p.inUse.Load() != nil || q.extra.Load() != nil {
			t.Fatal("something was made")
		}
		r.restart()
		q, _ = r.v.Queue("q")
		p = q.Partitions()[0]
	}
	publish(t, r.s.NewPublisher(), "", "q=m", "q=n")
	r.restart()
	for range 2 { // in a log that was not opened since, and then
		if g, err := r.s.Get("q", true); g == nil || err != nil {
			t.Fatalf("no message: %v", err)
		}
	}
}
