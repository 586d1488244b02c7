package broker

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// publishNamed publishes a message of a name to a queue, "" is none, and says what the Commit does.
func (r *frozenRig) publishNamed(queue, name string) error {
	p := r.s.NewPublisher()
	in := &Inbound{Key: []byte(queue), Body: []byte("m"), Properties: field.NoProperties, TimestampMs: time.Now().UnixMilli()}
	if name != "" {
		in.Properties = named(name)
		var props field.Properties
		if err := props.Parse(in.Properties); err != nil {
			r.t.Fatal(err)
		}
		in.Headers = props.Headers
	}
	if routed, err := p.Publish(in); err != nil || !routed {
		r.t.Fatal(routed, err)
	}
	p.Store()
	return p.Commit(nil)
}

// coldNames is a rig in which the queue q holds the name a, and the disk does not give it.
func coldNames(t *testing.T) *frozenRig { return coldQueue(t, argDistinct, true) }

// coldQueue is a rig in which the queue q holds a message of the name a, and the disk does not give it.
func coldQueue(t *testing.T, args ...any) *frozenRig {
	t.Helper()
	r := startFrozen(t, fs.NewMem(1))
	if _, err := r.s.DeclareQueue("q", QueueOptions{Durable: true, Args: arguments(args...)}); err != nil {
		t.Fatal(err)
	}
	if err := r.publishNamed("q", "a"); err != nil {
		t.Fatal(err)
	}
	r.close()
	r.mem.Evict(true)
	r = startFrozen(t, r.mem)
	if _, err := r.s.DeclareQueue("other", QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // what a start looks at is over
	r.freezeBatches()
	return r
}

// TestTheFirstPublishWaitsForNamesForAWhile, and nobody else does; one that comes later is told at once.
func TestTheFirstPublishWaitsForNamesForAWhile(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := coldNames(t)
		defer r.close()
		began := time.Now()
		wait := begin(t, func() (struct{}, error) { return struct{}{}, r.publishNamed("q", "b") })
		if err := r.publishNamed("other", "b"); err != nil || time.Since(began) != 0 {
			t.Errorf("another queue's publish: %v after %v", err, time.Since(began))
		}
		if _, err := wait(); KindOf(err) != Timeout || time.Since(began) != 15*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := r.publishNamed("q", "b"); KindOf(err) != Timeout || time.Since(began) != 15*time.Second {
			t.Errorf("the next one: %v after %v", err, time.Since(began))
		}
		r.disk.Thaw()
		synctest.Wait()
		if err := r.publishNamed("q", "a"); KindOf(err) != LimitReached {
			t.Errorf("a name that the queue has: %v", err)
		}
		if err := r.publishNamed("q", "b"); err != nil {
			t.Errorf("one that it has not: %v", err)
		}
	})
}

// TestTheFirstPublishWaitsForBytesForAWhile, outside of a turn: consumers and whoever trims have theirs.
func TestTheFirstPublishWaitsForBytesForAWhile(t *testing.T) {
	for _, overflow := range []string{"drop-head", "reject-publish"} {
		fakeclock.Test(t, func(t *testing.T) {
			r := coldQueue(t, "x-max-length-bytes", 2, "x-overflow", overflow)
			defer r.close()
			began := time.Now()
			wait := begin(t, func() (struct{}, error) { return struct{}{}, r.publishNamed("q", "b") })
			if err := r.publishNamed("other", "b"); err != nil || time.Since(began) != 0 {
				t.Errorf("another queue's publish: %v after %v", err, time.Since(began))
			}
			q, err := r.s.Queue(Look, "q")
			must(t, err)
			l := q.Partitions()[0].turns()
			if !l.mu.TryLock() {
				t.Fatal("the turn is held over the disk")
			}
			l.mu.Unlock()
			if _, err := wait(); KindOf(err) != Timeout || time.Since(began) != 15*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			r.disk.Thaw()
			synctest.Wait()
			must(t, r.publishNamed("q", "b"))
			switch err := r.publishNamed("q", "c"); {
			case overflow == "drop-head" && err != nil, overflow != "drop-head" && KindOf(err) != LimitReached:
				t.Errorf("%s: the third byte: %v", overflow, err)
			}
			if n := q.Ready(); n != 2 {
				t.Errorf("%s: %d are ready", overflow, n)
			}
		})
	}
}

// TestBytesAreRightWhateverHappensWhileTheyAreCounted: what consumers take and give back then counts as well.
func TestBytesAreRightWhateverHappensWhileTheyAreCounted(t *testing.T) {
	r := start(t)
	q := r.limited("q", "x-max-length-bytes", 1_000_000, "x-overflow", "reject-publish")
	r.offer(r.s.NewPublisher(), "", "q", slices.Repeat([]string{"0123456789"}, 20_000)...)
	l := q.Partitions()[0].turns()
	for range 30 {
		l.stale.Store(true)
		held := r.hold("q")
		searched := make(chan error, 1)
		go func() { n := l.find(q); <-n.done; searched <- n.err }()
		r.get("q")
		must(t, held.Lease.Requeue(held.Offset, held.Offset))
		r.get("q")
		must(t, <-searched)
		l.mu.Lock()
		messages, bytes, err := l.length(q.Partitions()[0], q.Settings())
		l.mu.Unlock()
		if err != nil || bytes != 10*messages {
			t.Fatalf("%d bytes in %d messages: %v", bytes, messages, err)
		}
	}
}

// TestAllWhoPublishWaitForOneSearchForNames: the logs are read once, and every name counts.
func TestAllWhoPublishWaitForOneSearchForNames(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := coldNames(t)
		defer r.close()
		var ask []func() (struct{}, error)
		for _, name := range []string{"a", "b", "b", "", "c"} {
			ask = append(ask, begin(t, func() (struct{}, error) { return struct{}{}, r.publishNamed("q", name) }))
		}
		if n := r.disk.Waiting(); n != 1 {
			t.Errorf("%d read the disk", n)
		}
		r.disk.Thaw()
		var refused []int
		for i, wait := range ask {
			if _, err := wait(); KindOf(err) == LimitReached {
				refused = append(refused, i)
			} else if err != nil {
				t.Error(err)
			}
		}
		if len(refused) != 2 || refused[0] != 0 || !slices.Contains([]int{1, 2}, refused[1]) {
			t.Errorf("%v are refused", refused)
		}
	})
}

// TestASearchForNamesThatFailedIsTriedAgain by the next publish.
func TestASearchForNamesThatFailedIsTriedAgain(t *testing.T) {
	r := start(t)
	q := r.limited("q", argDistinct, true)
	l := q.Partitions()[0].turns()
	failed := &queueSearch{began: time.Now(), done: make(chan struct{}), err: store.ErrUnavailable}
	l.search = failed
	refused := make(chan error)
	go func() { refused <- l.awaitFor(q, l.find(q), r.s.NewPublisher()) }()
	close(failed.done)
	if err := <-refused; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("who waited got %v", err)
	}
	l.search = nil
	must(t, l.awaitFor(q, l.find(q), r.s.NewPublisher()))
	if l.search != nil || !l.names.known {
		t.Errorf("the search is under way %v, the names known %v", l.search != nil, l.names.known)
	}
}

// TestNamesOfABatchAreKeptUntilItIsStored, whatever happens to the settings.
func TestNamesOfABatchAreKeptUntilItIsStored(t *testing.T) {
	var l limiter
	l.names = distinct{known: true, batch: []newID{{}}}
	l.bytes = make([]readyBytes, 1)
	l.stale.Store(true)
	if l.refresh(); !l.names.known || l.bytes != nil {
		t.Error("in the middle of a batch its names are forgotten, or bytes are not")
	}
	l.names.batch = nil
	if l.refresh(); l.names.known || l.stale.Load() {
		t.Error("names are not found anew")
	}
}

// TestWhoPublishesGivesUpOnNames with the session, and with the broker.
func TestWhoPublishesGivesUpOnNames(t *testing.T) {
	for name, end := range map[string]func(r *frozenRig){
		"the session": func(r *frozenRig) { r.s.GiveUp() },
		"the broker":  func(r *frozenRig) { go r.b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := coldNames(t)
				defer r.close()
				began := time.Now()
				wait := begin(t, func() (struct{}, error) { return struct{}{}, r.publishNamed("q", "b") })
				end(r)
				if _, err := wait(); KindOf(err) != Closed || time.Since(began) != 0 {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				r.disk.Thaw()
				synctest.Wait()
			})
		})
	}
}

// TestNamesGoBeforeTheLastMessage: what is held stands in nobody's way.
func TestNamesGoBeforeTheLastMessage(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.limited("q", argDistinct, true)
		var names []string
		for i := range fewNames + 1 {
			names = append(names, fmt.Sprint(i))
		}
		r.refuses(names)
		seen := func() int {
			l := q.Partitions()[0].turns()
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.names.seen.n
		}
		for range names[1:] {
			r.get("q")
		}
		held := r.hold("q")
		time.Sleep(3 * time.Second)
		if n := seen(); n == 0 || n > fewNames {
			t.Errorf("%d of %d names are left while a message is held", n, len(names))
		}
		must(t, held.Lease.Ack(held.Offset, held.Offset))
		r.refuses([]string{"0", "0"}, "0")
	})
}
