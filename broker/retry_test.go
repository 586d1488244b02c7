package broker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/field"
)

// retrying makes a queue "q" in which what comes back waits.
func (r *rig) retrying(kind string, leastMs, mostMs int, more ...any) *Queue {
	r.t.Helper()
	return r.limited("q", append([]any{"x-delayed-retry-type", kind, "x-delayed-retry-min", leastMs, "x-delayed-retry-max", mostMs}, more...)...)
}

// in lets time pass, and what is due then be done.
func in(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// hold takes a message and does not ack it.
func (r *rig) hold(queue string) *Got {
	r.t.Helper()
	g, err := r.s.Get(queue, false)
	if err != nil || g == nil {
		r.t.Fatalf("get from %s: %v %v", queue, g, err)
	}
	return g
}

// looks are how many are to come.
func (r *rig) looks() int {
	r.punctual.mu.Lock()
	defer r.punctual.mu.Unlock()
	return len(r.punctual.looks)
}

// counts are what is ready, held, and waits.
func (r *rig) counts(want ...int64) {
	r.t.Helper()
	q, err := r.v.Queue("q")
	if err != nil {
		r.t.Fatal(err)
	}
	s := q.Stats()
	if got := []int64{q.Ready(), q.Unacked(), s.Retrying}; !slices.Equal(got, want) {
		r.t.Errorf("ready, unacked and waiting: %d, want %d", got, want)
	}
}

func TestWhatComesBackWaitsTheLongerTheMoreOftenItDid(t *testing.T) {
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.retrying("all", 1000, 2500, "x-queue-type", kind)
				woken := make(chan struct{}, 1)
				sub := r.subscribe("q", SubscribeOptions{Prefetch: 1, Wake: func() {
					select {
					case woken <- struct{}{}:
					default:
					}
				}})
				publish(t, r.s.NewPublisher(), "", "q=one")
				for returns, wait := range []int64{1000, 2000, 2500, 2500} {
					list := pull(t, sub, 10, 1<<20)
					if len(list) != 1 || list[0].Redelivered != (returns > 0) {
						t.Fatalf("after %d returns came %d", returns, len(list))
					}
					if got := deliveryCount(t, &list[0]); kind == "quorum" && got != returns {
						t.Errorf("it says %d", got)
					}
					must(t, list[0].Lease.Fail(list[0].Offset, list[0].Offset))
					in(time.Duration(wait-1) * time.Millisecond)
					r.counts(0, 0, 1)
					for len(woken) > 0 {
						<-woken
					}
					in(time.Millisecond)
					r.counts(1, 0, 0)
					if len(woken) != 1 {
						t.Error("the consumer was not woken")
					}
				}
			})
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// deliveryCount is what a delivery says of its returns.
func deliveryCount(t *testing.T, d *Delivery) int {
	t.Helper()
	var p field.Properties
	must(t, p.Parse(d.Properties))
	f, _ := field.Find(p.Headers, "x-delivery-count")
	n, _ := f.Int()
	return int(n)
}

func TestWhichReturnsWait(t *testing.T) {
	for kind, want := range map[string][2]bool{"disabled": {}, "all": {true, true}, "failed": {true, false}, "returned": {false, true}} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.retrying(kind, 50, 50)
				publish(t, r.s.NewPublisher(), "", "q=one")
				for i, settle := range []func(*Got) error{
					func(g *Got) error { return g.Lease.Fail(g.Offset, g.Offset) },
					func(g *Got) error { return g.Lease.Requeue(g.Offset, g.Offset) },
				} {
					must(t, settle(r.hold("q")))
					if want[i] {
						r.counts(0, 0, 1)
						in(50 * time.Millisecond)
					}
					r.counts(1, 0, 0)
				}
			})
		})
	}
}

func TestWithoutALongestWaitAllAreEqual(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.limited("q", "x-delayed-retry-type", "all", "x-delayed-retry-min", 100)
		publish(t, r.s.NewPublisher(), "", "q=one")
		for range 3 {
			g := r.hold("q")
			must(t, g.Lease.Requeue(g.Offset, g.Offset))
			in(99 * time.Millisecond)
			r.counts(0, 0, 1)
			in(time.Millisecond)
			r.counts(1, 0, 0)
		}
	})
}

func TestWhatWaitedComesInItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 100, 100)
		publish(t, r.s.NewPublisher(), "", "q=0", "q=1", "q=2", "q=3")
		r.hold("q")
		g := r.hold("q")
		must(t, g.Lease.Requeue(g.Offset, g.Offset))
		if next := r.hold("q"); string(next.Body) != "2" {
			t.Errorf("%q came while 1 waits", next.Body)
		}
		in(100 * time.Millisecond)
		if next := r.hold("q"); string(next.Body) != "1" || !next.Redelivered {
			t.Errorf("%q came when 1 was due", next.Body)
		}
	})
}

func TestTheDeliveryLimitComesBeforeTheWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("dead", QueueOptions{Durable: true})
		r.retrying("all", 100, 1000, "x-delivery-limit", 1, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead")
		publish(t, r.s.NewPublisher(), "", "q=one")
		g := r.hold("q")
		must(t, g.Lease.Fail(g.Offset, g.Offset))
		in(100 * time.Millisecond)
		g = r.hold("q")
		must(t, g.Lease.Fail(g.Offset, g.Offset))
		r.buried()
		r.counts(0, 0, 0)
		if dead := r.get("dead"); dead == nil || string(dead.Body) != "one" {
			t.Errorf("dead letter %v", dead)
		}
	})
}

func TestWhatExpiresWhileItWaitsLeavesWhenItIsDue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("dead", QueueOptions{Durable: true})
		r.retrying("all", 1000, 1000, "x-message-ttl", 500, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead")
		r.offer(r.s.NewPublisher(), "", "q", "one")
		g := r.hold("q")
		must(t, g.Lease.Requeue(g.Offset, g.Offset))
		in(900 * time.Millisecond)
		r.counts(0, 0, 1)
		in(100*time.Millisecond + 2*lookStep)
		r.buried()
		r.counts(0, 0, 0)
		if r.get("dead") == nil {
			t.Error("no dead letter")
		}
	})
}

func TestPurgeAndDeletionSeeWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 1000, 1000)
		publish(t, r.s.NewPublisher(), "", "q=0", "q=1", "q=2")
		for range 2 {
			g := r.hold("q")
			must(t, g.Lease.Requeue(g.Offset, g.Offset))
		}
		if n, err := r.s.Purge("q"); n != 3 || err != nil {
			t.Errorf("purged %d: %v", n, err)
		}
		in(time.Second)
		r.counts(0, 0, 0)
		publish(t, r.s.NewPublisher(), "", "q=3")
		g := r.hold("q")
		must(t, g.Lease.Requeue(g.Offset, g.Offset))
		_, err := r.s.DeleteQueue("q", false, true)
		kind(t, err, Precondition)
		if _, err := r.s.DeleteQueue("q", false, false); err != nil {
			t.Error(err)
		}
		if n := r.looks(); n != 0 {
			t.Errorf("%d looks at a queue that is gone", n)
		}
		in(time.Second)
	})
}

func TestALimitCountsWhatWaits(t *testing.T) {
	for name, args := range map[string][]any{
		"messages": {"x-max-length", 3},
		"bytes":    {"x-max-length-bytes", 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.retrying("all", 1000, 1000, append(args, "x-overflow", "reject-publish")...)
				p := r.s.NewPublisher()
				r.offer(p, "", "q", "0", "1")
				for range 2 {
					g := r.hold("q")
					must(t, g.Lease.Requeue(g.Offset, g.Offset))
				}
				if refused := r.offer(p, "", "q", "2", "3"); len(refused) != 1 || refused[0] != "3" {
					t.Errorf("refused %q", refused)
				}
				in(time.Second)
				if refused := r.offer(p, "", "q", "4"); len(refused) != 1 {
					t.Error("more than the limit was taken when they were back")
				}
				r.counts(3, 0, 0)
				for range 3 {
					g := r.hold("q")
					must(t, g.Lease.Ack(g.Offset, g.Offset))
				}
				if refused := r.offer(p, "", "q", "5", "6", "7"); len(refused) != 0 {
					t.Errorf("refused %q of an empty queue", refused)
				}
			})
		})
	}
}

func TestAFullQueueDropsNothingThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 1000, 1000, "x-max-length", 2)
		p := r.s.NewPublisher()
		r.offer(p, "", "q", "0", "1")
		for range 2 {
			g := r.hold("q")
			must(t, g.Lease.Requeue(g.Offset, g.Offset))
		}
		r.offer(p, "", "q", "2")
		r.counts(0, 0, 2)
		in(time.Second)
		r.counts(2, 0, 0)
	})
}

// What is too much when it is due leaves then, and not when somebody publishes.
func TestAFullQueueDropsWhatIsTooMuchWhenItIsDue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 1000, 1000, "x-max-length", 2)
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 5})
		for i := range 5 { // what is held counts for no limit
			publish(t, r.s.NewPublisher(), "", fmt.Sprint("q=", i))
			got := pull(t, sub, 10, 1<<20)
			if len(got) != 1 {
				t.Fatalf("%d came", len(got))
			}
		}
		lease := &sub.partitions[0].Lease
		must(t, lease.Requeue(0, 4))
		sub.Close()
		r.counts(0, 0, 5)
		in(time.Second)
		if q, _ := r.v.Queue("q"); q.Stats().Ready != 2 {
			t.Errorf("%d are ready, want 2", q.Stats().Ready)
		}
		if g := r.hold("q"); string(g.Body) != "3" {
			t.Errorf("the first is %q, want 3", g.Body)
		}
	})
}

// What a free consumer is handed counts for no limit, also while others wait.
func TestAFreeConsumerGetsWhatComesWhileOthersWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 1000, 1000, "x-max-length", 2, "x-overflow", "reject-publish")
		p := r.s.NewPublisher()
		r.offer(p, "", "q", "0")
		g := r.hold("q")
		must(t, g.Lease.Requeue(g.Offset, g.Offset))
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		pull(t, sub, 10, 1<<20)
		if refused := r.offer(p, "", "q", "1", "2", "3"); len(refused) != 1 || refused[0] != "3" {
			t.Errorf("refused %q", refused)
		}
	})
}

func TestPrioritiesAndTheActiveConsumerKeepTheirRulesOverAWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 100, 100, "x-max-priority", 5)
		r.send(1, 5)
		g := r.hold("q") // the one of 5
		must(t, g.Lease.Requeue(g.Offset, g.Offset))
		low := r.hold("q")
		if string(low.Body) == string(g.Body) {
			t.Fatal("what waits came")
		}
		must(t, low.Lease.Requeue(low.Offset, low.Offset))
		in(100 * time.Millisecond)
		if first := r.hold("q"); string(first.Body) != string(g.Body) {
			t.Errorf("%q came first", first.Body)
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 100, 100, "x-single-active-consumer", true)
		publish(t, r.s.NewPublisher(), "", "q=one")
		first, second := r.subscribe("q", SubscribeOptions{}), r.subscribe("q", SubscribeOptions{})
		list := pull(t, first, 10, 1<<20)
		pull(t, second, 10, 1<<20)
		must(t, list[0].Lease.Fail(list[0].Offset, list[0].Offset))
		in(100 * time.Millisecond)
		if n := len(pull(t, second, 10, 1<<20)); n != 0 {
			t.Errorf("the consumer that waits for its turn got %d", n)
		}
		if n := len(pull(t, first, 10, 1<<20)); n != 1 {
			t.Errorf("the active one got %d", n)
		}
	})
}

// A start has everything ready that waited, with the count of its returns, and loses nothing.
func TestAfterARestartNothingWaits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 3_600_000, 3_600_000, "x-queue-type", "quorum")
		publish(t, r.s.NewPublisher(), "", "q=0", "q=1")
		g := r.hold("q")
		must(t, g.Lease.Fail(g.Offset, g.Offset))
		r.counts(1, 0, 1)
		r.restart()
		if g = r.hold("q"); string(g.Body) != "0" || !g.Redelivered {
			t.Fatalf("%q, redelivered %v", g.Body, g.Redelivered)
		}
		must(t, g.Lease.Fail(g.Offset, g.Offset))
		r.counts(1, 0, 1)
		in(time.Hour + 4*time.Second) // a long wait is a thousandth longer
		r.counts(2, 0, 0)
	})
}

// Many that wait are due one after the other, and take one timer and one place in the
// order of looks.
func TestManyThatWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const n = 20_000
		r.retrying("all", 1000, 1000)
		p := r.s.NewPublisher()
		var bodies []string
		for i := range n {
			bodies = append(bodies, fmt.Sprint("q=", i))
		}
		publish(t, p, "", bodies...)
		sub := r.subscribe("q", SubscribeOptions{})
		list := pull(t, sub, n, 1<<30)
		for i, d := range list {
			if i%100 == 0 {
				in(time.Millisecond)
			}
			if i%3 > 0 {
				must(t, d.Lease.Fail(d.Offset, d.Offset))
			}
		}
		if n := r.looks(); n != 1 {
			t.Errorf("%d looks", n)
		}
		r.s.Close()
		r.s = r.v.NewSession(auth.Identity{Name: "guest"})
		in(time.Second)
		if s := r.QueueStats()[0]; s.Retrying != 0 || s.Ready != n/3*2+1 {
			t.Errorf("%d wait, %d are ready", s.Retrying, s.Ready)
		}
	})
}
