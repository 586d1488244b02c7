package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

// crowd is the subscriptions of a queue by name, each with what it holds.
type crowd struct {
	r     *rig
	queue string
	subs  map[string]*Subscription
	held  map[string][]Delivery
	woken map[string]bool
}

func (r *rig) single(args ...any) *crowd {
	r.queue("q", QueueOptions{Durable: true, Args: arguments(append(args, "x-single-active-consumer", true)...)})
	return &crowd{r: r, queue: "q", subs: map[string]*Subscription{}, held: map[string][]Delivery{}, woken: map[string]bool{}}
}

func (c *crowd) come(name string, priority int) {
	c.subs[name] = c.r.subscribe(c.queue, SubscribeOptions{Priority: priority, Prefetch: 2, Wake: func() { c.woken[name] = true }})
}

// got has everybody pull until nobody gets anything, and says who holds what.
func (c *crowd) got() string {
	c.r.t.Helper()
	for more := true; more; {
		more = false
		for _, name := range c.names() {
			list := pull(c.r.t, c.subs[name], 100, 1<<20)
			c.held[name] = append(c.held[name], list...)
			more = more || len(list) > 0 || c.woken[name]
			c.woken[name] = false
		}
	}
	var out []string
	for _, name := range c.names() {
		if len(c.held[name]) == 0 {
			continue
		}
		text := name
		for _, d := range c.held[name] {
			text += " " + string(d.Body)
			if d.Redelivered {
				text += "!"
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func (c *crowd) names() []string {
	var out []string
	for name := range c.subs {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (c *crowd) settle(name string, n int, how func(*Lease, Delivery) error) {
	c.r.t.Helper()
	for _, d := range c.held[name][:n] {
		if err := how(d.Lease, d); err != nil {
			c.r.t.Fatal(err)
		}
	}
	c.held[name] = c.held[name][n:]
}

func (c *crowd) ack(name string, n int) {
	c.r.t.Helper()
	c.settle(name, n, func(l *Lease, d Delivery) error { return l.Ack(d.Offset, d.Offset) })
}

// close ends a subscription as the end of its channel does.
func (c *crowd) close(name string) {
	c.r.t.Helper()
	c.subs[name].Stop()
	c.settle(name, len(c.held[name]), func(l *Lease, d Delivery) error { return l.Requeue(d.Offset, d.Offset) })
	c.subs[name].Close()
	delete(c.subs, name)
}

// cancel ends one as basic.cancel does: what it holds stays with it.
func (c *crowd) cancel(name string) { c.subs[name].Close() }

func (c *crowd) want(what, who string) {
	c.r.t.Helper()
	if got := c.got(); got != who {
		c.r.t.Errorf("%s: %q, want %q", what, got, who)
	}
}

func (c *crowd) publish(bodies ...string) {
	c.r.t.Helper()
	for i, b := range bodies {
		bodies[i] = c.queue + "=" + b
	}
	publish(c.r.t, c.r.s.NewPublisher(), "", bodies...)
}

func TestOneConsumerAtATimeGetsMessages(t *testing.T) {
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			r := start(t)
			c := r.single("x-queue-type", kind)
			for _, name := range []string{"b", "a", "d", "c"} {
				c.come(name, 0)
			}
			if n := c.subs["a"].q.Consumers(); n != 4 {
				t.Errorf("%d consumers, want those that wait, too", n)
			}
			c.publish("1", "2", "3", "4", "5", "6", "7")
			c.want("the first has all that it may", "b 1 2")
			c.ack("b", 1)
			c.want("and goes on", "b 2 3")
			c.subs["d"].Close() // who waits leaves
			delete(c.subs, "d")
			c.want("nothing is new", "b 2 3")
			c.close("b")
			c.want("the next begins with what came back", "a 2! 3!")
			c.cancel("a")
			c.want("who cancels keeps what it has", "a 2! 3!, c 4 5")
			c.ack("a", 1)
			c.settle("a", 1, func(l *Lease, d Delivery) error { return l.Requeue(d.Offset, d.Offset) })
			c.ack("c", 2)
			c.want("and what it gives back is the next one's", "c 3! 6")
			c.close("c")
			c.come("e", 0)
			c.want("a newcomer finds nobody", "e 3! 6!")
		})
	}
}

func TestTheNextActiveConsumerIsThatOfTheHighestPriority(t *testing.T) {
	r := start(t)
	c := r.single()
	c.publish("1", "2", "3", "4", "5", "6", "7")
	c.come("a", 0)
	for _, n := range []struct {
		name     string
		priority int
	}{{"b", 0}, {"low", -5}, {"h1", 5}, {"h2", 5}, {"mid", 1 << 40}} {
		c.come(n.name, n.priority)
	}
	c.want("the active one stays", "a 1 2")
	c.ack("a", 2)
	c.want("the active one stays", "a 3 4")
	for _, next := range []string{"mid", "h1", "h2", "b", "low"} {
		for name := range c.held {
			if len(c.held[name]) > 0 {
				c.close(name)
			}
		}
		c.want("next", next+" 3! 4!")
	}
}

func TestAnActiveConsumerOfAQuorumQueueYieldsToAHigherPriority(t *testing.T) {
	r := start(t)
	c := r.single("x-queue-type", "quorum")
	c.publish("1", "2", "3", "4", "5", "6", "7", "8", "9")
	c.come("a", 0)
	c.come("b", 0)
	c.want("a is active", "a 1 2")
	c.come("high", 5)
	c.ack("a", 1)
	c.want("a gets nothing more", "a 2")
	c.ack("a", 1)
	c.want("the other one when a has nothing", "high 3 4")
	c.close("high")
	c.want("then who came first", "a 3! 4!")
	c.come("high", 5)
	c.ack("a", 1)
	c.want("a yields once more", "a 4!")
	c.close("high")
	c.want("nobody to yield to any more", "a 4! 5")
	c.come("high", 5)
	c.got()
	c.close("a")
	c.want("who yields may leave", "high 4! 5!")
	c.ack("high", 2)
	c.want("high has its turn", "high 6 7")
	c.come("higher", 6)
	c.ack("high", 1)
	c.want("and yields itself", "high 7")
	c.ack("high", 1)
	c.want("the highest is next", "higher 8 9")
	c.close("higher")
	c.want("and who yielded comes back", "high 8! 9!")
	if n := len(c.subs["high"].past); n != 0 {
		t.Errorf("%d cursors are kept that nothing is held of", n)
	}
}

func TestWhatAConsumerBorrowedBeforeItYieldedIsGivenBack(t *testing.T) {
	r := start(t)
	c := r.single("x-queue-type", "quorum")
	c.publish("1")
	c.come("a", 0)
	a := c.subs["a"]
	a.pull(1, 1<<20, func(*Delivery) {})
	c.come("high", 1)
	a.pull(1, 1<<20, func(*Delivery) {})
	if n := len(a.past[0].reader.views); n != 1 || a.Check() != nil {
		t.Errorf("%d borrowed (%v), want what was emitted and not released", n, a.Check())
	}
	a.Release()
	if n := len(a.past[0].reader.views); n != 0 {
		t.Errorf("%d are borrowed still", n)
	}
}

func TestAnActiveConsumerThatHoldsNothingYieldsAtOnce(t *testing.T) {
	r := start(t)
	c := r.single("x-queue-type", "quorum")
	c.come("a", 0)
	c.want("nothing is there", "")
	c.come("high", 1)
	if !c.woken["a"] || c.woken["high"] {
		t.Error("woken:", c.woken)
	}
	c.got()
	c.publish("1")
	c.want("high has its turn", "high 1")
}

func TestAQueueWithASingleActiveConsumerTakesNoExclusiveOne(t *testing.T) {
	for _, there := range []int{0, 1} {
		r := start(t)
		c := r.single()
		if there > 0 {
			c.come("a", 0)
		}
		_, err := r.s.Subscribe("q", SubscribeOptions{Exclusive: true})
		kind(t, err, Refused)
		if want := "queue 'q' in vhost '/' in exclusive use"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		c.come("b", 0)
	}
}

func TestAQuorumQueueWithASingleActiveConsumerGivesNothingToGets(t *testing.T) {
	r := start(t)
	c := r.single("x-queue-type", "quorum")
	c.publish("1")
	_, err := r.s.Get("q", true)
	kind(t, err, Locked)
	want := "cannot obtain access to locked queue 'q' in vhost '/'. basic.get operations are not supported by quorum queues with single active consumer"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	r.queue("classic", QueueOptions{Args: arguments("x-single-active-consumer", true)})
	if _, err := r.s.Get("classic", true); err != nil {
		t.Error(err)
	}
}

// A queue that goes takes whose turn it is with it: who hears of it late disturbs nobody.
func TestTurnsEndWithTheQueue(t *testing.T) {
	r := start(t)
	c := r.single()
	c.publish("1")
	c.come("a", 0)
	c.come("b", 0)
	c.want("before", "a 1")
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	old := c.subs
	c = r.single()
	c.publish("2")
	c.come("c", 0)
	c.come("d", 0)
	old["b"].Close()
	old["a"].Close()
	c.want("another queue of that name", "c 2")
	c.close("c")
	c.want("fails over", "d 2!")
}

// A queue whose cursor another process has cancels its consumers, and begins anew.
func TestTurnsBeginAnewWhenTheCursorIsLost(t *testing.T) {
	r := start(t)
	c := r.single()
	c.come("a", 0)
	c.come("b", 0)
	c.got()
	p := c.subs["a"].q.Partitions()[0]
	p.lose(p.cursor.Load())
	c.come("c", 0)
	c.publish("1")
	c.subs["a"].Close()
	c.want("the newcomer is active", "c 1")
}

func TestThousandsWaitForTheirTurn(t *testing.T) {
	r := start(t)
	c := r.single()
	c.publish("1")
	const n = 5000
	var subs []*Subscription
	for i := range n {
		subs = append(subs, r.subscribe("q", SubscribeOptions{Priority: i % 7}))
	}
	slices.SortStableFunc(subs[1:], func(a, b *Subscription) int { return b.o.Priority - a.o.Priority })
	for i, s := range subs {
		got := pull(t, s, 1, 1<<20)
		if len(got) != 1 {
			t.Fatalf("%d got %d", i, len(got))
		}
		s.Stop()
		if err := got[0].Lease.Requeue(got[0].Offset, got[0].Offset); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if q, _ := r.v.Queue("q"); q.Consumers() != 0 || q.Ready() != 1 {
		t.Error(fmt.Sprint(q.Consumers(), q.Ready()))
	}
}

// TestWhoseTurnItIsIsFreeBeforeItPulls: what finds no room beside that, or has no time, is not lost.
func TestWhoseTurnItIsIsFreeBeforeItPulls(t *testing.T) {
	for name, args := range map[string][]any{
		"no room":                  {"x-max-length", 0},
		"no room, with priorities": {"x-max-length", 0, "x-max-priority", 3},
		"no time":                  {"x-message-ttl", 0},
		"no time, with priorities": {"x-message-ttl", 0, "x-max-priority", 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			c := r.single(args...)
			c.come("a", 0)
			c.come("b", 0)
			r.send(0)
			c.want("before the first pull", "a 0:0")
			r.send(2, 1)
			c.want("one may be held beside it", "a 0:0 2:0")
			c.ack("a", 2)
			c.close("a")
			r.send(3, 1)
			c.want("before the next one pulls", "b 3:0 1:1")
		})
	}
}

// One whose turn it becomes while it leaves takes nothing with it: who comes after it has everything.
func TestWhoseTurnComesWhileLeavingKeepsNothing(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var meanwhile atomic.Pointer[func()]
		r := &rig{t: t, dir: "data", files: fs.NewMem(1), edit: func(o *Options) {
			o.Now = func() time.Time {
				if do := meanwhile.Swap(nil); do != nil {
					(*do)()
				}
				return time.Now()
			}
		}}
		r.open()
		defer func() {
			if err := errors.Join(r.Close(), r.store.Close()); err != nil {
				t.Error(err)
			}
		}()
		c := r.single("x-expires", 3_600_000) // so that who leaves asks for the time, after leaving its cursors and before leaving the line
		for _, name := range []string{"a", "b", "c"} {
			c.come(name, 0)
		}
		c.got()
		synctest.Wait()
		a := c.subs["a"].Close
		meanwhile.Store(&a)
		c.subs["b"].Close()
		if meanwhile.Load() != nil {
			t.Fatal("nobody left meanwhile")
		}
		delete(c.subs, "a")
		delete(c.subs, "b")
		c.publish("1", "2", "3")
		c.want("the next has all that it may", "c 1 2")
		c.close("c")
		c.come("d", 0)
		c.want("and so has the one after it", "d 1! 2!")
		c.ack("d", 2)
		c.want("and goes on", "d 3")
	})
}
