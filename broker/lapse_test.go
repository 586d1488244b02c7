package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
)

// lapsing declares a durable queue that goes when nobody used it for so many ms.
func (r *rig) lapsing(name string, ms int) *Queue {
	r.t.Helper()
	return r.queue(name, QueueOptions{Durable: true, Args: arguments("x-expires", ms)})
}

func (r *rig) there(name string) bool {
	_, err := r.v.Queue(name)
	return err == nil
}

func TestAQueueThatNobodyUsesGoesAfterItsTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lapsing("q", 1000)
		r.exchange("x", "fanout")
		r.bind("x", "q", "")
		var told []*Queue
		defer r.OnDeleted(func(q *Queue) { told = append(told, q) })()
		r.put("q", 3, field.NoProperties, time.Now()) // publishing is no use
		time.Sleep(999 * time.Millisecond)
		if !r.there("q") {
			t.Fatal("it went before its time")
		}
		r.put("q", 1, field.NoProperties, time.Now())
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		x, _ := r.v.Exchange("x")
		if r.there("q") || !q.Deleted() || len(x.bindings) != 0 || len(told) != 1 || told[0] != q {
			t.Errorf("there %v, %d bindings, %d told", r.there("q"), len(x.bindings), len(told))
		}
		if len(r.lapses.queues) != 0 {
			t.Error("it is still looked at")
		}
		r.restart()
		if r.there("q") {
			t.Error("it came back with a restart")
		}
	})
}

// TestUseHasTheTimeBeginAnew does each of what counts as a use, half way through the time.
func TestUseHasTheTimeBeginAnew(t *testing.T) {
	for name, use := range map[string]func(r *rig) error{
		"a declaration": func(r *rig) error {
			_, err := r.s.DeclareQueue("q", QueueOptions{Durable: true, Args: arguments("x-expires", byte(200))})
			return err
		},
		"a passive declaration": func(r *rig) error { _, err := r.s.LookAt("q"); return err },
		"a get of nothing":      func(r *rig) error { _, err := r.s.Get("q", true); return err },
		"a consumer that left": func(r *rig) error {
			sub, err := r.s.Subscribe("q", SubscribeOptions{})
			if err == nil {
				sub.Close()
			}
			return err
		},
		"a restart": func(r *rig) error { r.restart(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.lapsing("q", 200)
				time.Sleep(120 * time.Millisecond)
				if err := use(r); err != nil {
					t.Fatal(err)
				}
				time.Sleep(199 * time.Millisecond)
				if !r.there("q") {
					t.Fatal("it went although it was used")
				}
				time.Sleep(12 * time.Millisecond)
				synctest.Wait()
				if r.there("q") {
					t.Error("it stayed")
				}
			})
		})
	}
}

func TestAConsumerKeepsAQueueThatExpires(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.lapsing("q", 1)
		sub := r.subscribe("q", SubscribeOptions{})
		time.Sleep(time.Hour)
		if !r.there("q") {
			t.Fatal("it went with a consumer")
		}
		if _, err := r.s.DeclareQueue("q", QueueOptions{Durable: true, Args: arguments("x-expires", 2)}); KindOf(err) != Precondition {
			t.Errorf("declared with another time: %v", err)
		}
		sub.Close()
		time.Sleep(30 * time.Millisecond)
		synctest.Wait()
		if r.there("q") {
			t.Error("it stayed without its consumer")
		}
	})
}

// TestAUseAtTheLastMomentKeepsTheQueue is one between the look and the deletion.
func TestAUseAtTheLastMomentKeepsTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lapsing("q", 1000)
		r.lapses.remove(q) // we are the one who looks
		time.Sleep(2 * time.Second)
		if at, ok := q.lapsesAt(r.lapses.now()); !ok || at > r.lapses.now() {
			t.Fatal("it has not lapsed")
		}
		q.use()
		r.lapses.delete(q)
		if !r.there("q") || q.Deleted() {
			t.Fatal("it went")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if r.there("q") {
			t.Error("it was forgotten")
		}
	})
}

// TestADeletedQueueIsNotLookedAtAnyMore, whatever becomes of its name; and queues of many
// times go each at its own.
func TestADeletedQueueIsNotLookedAtAnyMore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for i := range 200 {
			name := fmt.Sprint("day", i)
			r.lapsing(name, 86_400_000)
			if _, err := r.s.DeleteQueue(name, false, false); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(r.lapses.queues); n != 0 {
			t.Fatalf("%d that are gone are kept for a day", n)
		}
		for i := range 200 {
			r.lapsing(fmt.Sprint("q", i), 1000+i%7*1000)
		}
		other := r.queue("q", QueueOptions{Durable: true})
		for left := 7; left > 0; left-- {
			if n := len(r.v.Queues()); n < 200/7*left || n > 200/7*left+left+2 {
				t.Errorf("%d queues with %d s left", n, left)
			}
			time.Sleep(time.Second + time.Millisecond)
			synctest.Wait()
		}
		if n := len(r.v.Queues()); n != 1 || other.Deleted() || len(r.lapses.queues) != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// TestAnExclusiveQueueOfOneWhoLeftIsOffTheList has a session's end and the time meet.
func TestAnExclusiveQueueOfOneWhoLeftIsOffTheList(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{Exclusive: true, AutoDelete: true, Args: arguments("x-expires", 10_000)})
		if len(r.lapses.queues) != 1 {
			t.Fatal("it does not expire")
		}
		r.s.Close()
		synctest.Wait()
		if len(r.lapses.queues) != 0 || r.there("q") {
			t.Error("it is there, or looked at")
		}
	})
}

// TestADeletionThatFailsIsTriedAgain has definitions that can't be written for a while.
func TestADeletionThatFailsIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lapsing("q", 1000)
		r.lapses.remove(q)
		time.Sleep(2 * time.Second)
		sound := r.defs
		r.defs = &faultyTable{sound, &faultyStore{}}
		r.lapses.delete(q)
		if !r.there("q") || q.Deleted() {
			t.Fatal("it went, and its definition did not")
		}
		r.defs = sound
		if wait, ok := r.lapses.next(); !ok || wait != lookInterval {
			t.Errorf("it is looked at in %v, %v", wait, ok)
		}
		time.Sleep(lookInterval + time.Second)
		synctest.Wait()
		if r.there("q") {
			t.Error("it stayed")
		}
	})
}
