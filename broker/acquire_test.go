package broker

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// What others dealt to a consumer comes before what came back when it takes: what it acquires stands in the order of offsets all
// the same, and each record in it once.
func TestWhatIsAcquiredStandsInTheOrderOfOffsets(t *testing.T) { bubble(t, acquiredInOrder) }

func acquiredInOrder(t *testing.T, r *rig) {
	q := r.queue("q", QueueOptions{Durable: true})
	a := r.subscribe("q", SubscribeOptions{Prefetch: 40})
	share, err := r.s.SubscribePartition(q.Partitions()[0], func() {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer share.Close()
	var into Acquisition
	acquire := func(max int) int {
		into.Reset()
		for range 10 { // until there is nothing more to be waited for
			n, err := share.Acquire(max, 1<<20, &into)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				return n
			}
			synctest.Wait()
		}
		return 0
	}
	if n := acquire(10); n != 0 {
		t.Fatalf("%d messages in an empty queue", n)
	}
	var bodies []string
	for i := range 100 {
		bodies = append(bodies, fmt.Sprint("v", i))
	}
	r.fill("q", bodies...)
	held := pull(t, a, 20, 1<<20) // and the other is dealt its share
	first, last := held[0].Offset, held[0].Offset
	for _, d := range held {
		if d.Offset == last+1 {
			last = d.Offset
		}
	}
	if err := held[0].Lease.Requeue(first, last); err != nil {
		t.Fatal(err)
	}
	a.Close()
	n := acquire(100)
	seen, at := 0, message.Offset(-1)
	for _, run := range into.Runs {
		if run.First <= at {
			t.Fatalf("%v", into.Runs)
		}
		at = run.Last
		seen += int(run.Last-run.First) + 1
		if again := run.First == first; (run.Deliveries == 2) != again {
			t.Errorf("%d to %d were delivered %d times", run.First, run.Last, run.Deliveries)
		}
	}
	records := 0
	for data := into.Batches; len(data) > 0; {
		var b batch.Batch
		if b, data, err = batch.Next(data); err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		records += int(b.Count())
	}
	if n != seen || n != records || n != 100-len(held)+int(last-first)+1 {
		t.Errorf("%d acquired, %d in runs, %d in batches, of %d", n, seen, records, 100)
	}
	share.Pause()
	for _, run := range into.Runs {
		if err := run.Lease.Release(run.First, run.Last, 2); err != nil {
			t.Fatal(err)
		}
	}
	if n := q.Ready(); n != int64(seen)-int64(last-first)-1 {
		t.Errorf("%d are ready: those that were delivered twice are gone", n)
	}
}
