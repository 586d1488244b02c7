package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/store"
)

// TestAQueueThatFailsIsInNoDelayedMessagesWay: what is for it alone is kept until it takes
// messages again, and nobody else gets anything twice.
func TestAQueueThatFailsIsInNoDelayedMessagesWay(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		x := r.delaying("later", "direct")
		broken, fine := r.queue("broken", QueueOptions{Durable: true}), r.queue("fine", QueueOptions{Durable: true})
		for _, name := range []string{"broken", "fine"} {
			r.bind("later", name, name)
			r.bind("later", name, "both")
		}
		s.fail(broken.Partitions()[0].log.ID(), store.ErrReadOnly)
		p := r.s.NewPublisher()
		for i := range 3 {
			r.at(p, delayedBy("later", "broken", fmt.Sprint("b", i), 1000), delayedBy("later", "fine", fmt.Sprint("f", i), 1000),
				delayedBy("later", "both", fmt.Sprint("both", i), 1000))
		}
		time.Sleep(10 * time.Minute)
		want(t, "the other queue", drain(t, fine), []string{"f0", "both0", "f1", "both1", "f2", "both2"})
		if n := r.Counters().DelayedLost[LostRefused].Load(); n != 3 {
			t.Errorf("%d copies were told to be lost", n)
		}
		s.fail(broken.Partitions()[0].log.ID(), nil)
		time.Sleep(moveAgain2)
		want(t, "the queue", drain(t, broken), []string{"b0", "b1", "b2"})
		want(t, "the other queue", drain(t, fine), nil)
		if n := x.delays.waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// TestVeryManyDelayedMessagesThatNoQueueTakesComeOnceEach, whatever lanes they stood in.
func TestVeryManyDelayedMessagesThatNoQueueTakesComeOnceEach(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		_, q, p := delayRig(r)
		s.fail(q.Partitions()[0].log.ID(), store.ErrFull)
		const n = 10_000
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("%05d", i))
			in := delayedBy("later", fmt.Sprint("key", i%3), all[i], 100+int64(i%50)*10)
			in.TimestampMs = r.opts.Now().UnixMilli()
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		time.Sleep(2 * moveAgain)
		s.fail(q.Partitions()[0].log.ID(), nil)
		time.Sleep(2 * moveAgain)
		got := drain(t, q)
		slices.Sort(got)
		if !slices.Equal(got, all) {
			t.Errorf("%d came of %d", len(got), n)
		}
	})
}

// TestWhatNoQueueTakesIsWrittenOnceATry, and tried ever more seldom.
func TestWhatNoQueueTakesIsWrittenOnceATry(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		_, q, p := delayRig(r)
		s.fail(q.Partitions()[0].log.ID(), store.ErrFull)
		r.at(p, delayedBy("later", "k", "m", 20))
		before := r.Counters().Stored.Load()
		time.Sleep(time.Minute)
		if n := r.Counters().Stored.Load() - before; n != 2 {
			t.Errorf("it was written %d times in a minute", n)
		}
		time.Sleep(time.Hour)
		if n := r.Counters().Stored.Load() - before; n < 10 || n > 15 {
			t.Errorf("it was written %d times in an hour", n)
		}
		s.fail(q.Partitions()[0].log.ID(), nil)
		time.Sleep(moveAgain2)
		want(t, "q", drain(t, q), []string{"m"})
	})
	if first, last := laneWaitMs(againLane(0)), laneWaitMs(againLane(lanes-1)); first < 50_000 || first > moveAgain.Milliseconds() || last < 400_000 || last > moveAgain2.Milliseconds() {
		t.Errorf("from %d to %d ms", first, last)
	}
}
