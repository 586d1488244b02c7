package broker

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// TestNothingLeavesWhileItCannotBeNoted has no descriptor for the cursor's file: what would
// be handed out then would come back after a crash as if nobody had had it.
func TestNothingLeavesWhileItCannotBeNoted(t *testing.T) {
	var none atomic.Bool
	f := fs.Failing(fs.Real(), func(op fs.Op, name string) error {
		if none.Load() && op == fs.OpOpen && strings.HasSuffix(name, "/cursor") {
			return syscall.EMFILE
		}
		return nil
	})
	st, err := local.Open(local.Options{Dir: t.TempDir(), Mode: store.ModeOS, FS: f})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(st, Options{SaveEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(b.Close(), st.Close()) })
	v, err := b.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	s := v.NewSession(auth.Identity{Name: "guest"})
	q, err := s.DeclareQueue("q", QueueOptions{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeclareQueue("alone", QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, s.NewPublisher(), "", "q=one", "q=two", "q=three", "q=four", "alone=five")
	none.Store(true)
	var left []string
	sub, err := s.Subscribe("q", SubscribeOptions{Prefetch: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	noAck, err := s.Subscribe("q", SubscribeOptions{NoAck: true})
	if err != nil {
		t.Fatal(err)
	}
	defer noAck.Close()
	emit := func(d *Delivery) {
		if d.Redelivered {
			t.Errorf("%s is marked as redelivered", d.Body)
		}
		left = append(left, string(d.Body))
	}
	for range 3 {
		if n, err := sub.pull(10, 1<<20, emit); n > 0 || !errors.Is(err, store.ErrBusy) {
			t.Fatalf("pulled %d, %v", n, err)
		}
		if n, err := noAck.pull(10, 1<<20, emit); n > 0 || !errors.Is(err, store.ErrBusy) {
			t.Fatalf("pulled %d without acks, %v", n, err)
		}
		if g, err := s.Get("q", false); g != nil { // the consumers are free for all of it
			t.Fatalf("got %v, %v", g, err)
		}
		if g, err := s.Get("alone", false); g != nil || !errors.Is(err, store.ErrBusy) {
			t.Fatalf("got %v, %v", g, err)
		}
	}
	if n := q.Ready() + q.Unacked(); n != 4 || len(left) > 0 {
		t.Errorf("%d messages are there, %q left", n, left)
	}
	none.Store(false)
	for range 2 {
		for _, each := range []*Subscription{sub, noAck} {
			if _, err := each.pull(10, 1<<20, emit); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(left)
	want(t, "delivered", left, []string{"four", "one", "three", "two"})
}

// TestAcksThatCouldNotBeNotedAreNotedLater acks while there is no descriptor, and nobody
// moves the cursor afterwards.
func TestAcksThatCouldNotBeNotedAreNotedLater(t *testing.T) {
	r, s := startFaulty(t)
	q := r.queue("q", QueueOptions{Durable: true})
	publish(t, r.s.NewPublisher(), "", "q=one", "q=two")
	p := q.Partitions()[0]
	g, err := r.s.Get("q", false)
	if err != nil {
		t.Fatal(err)
	}
	s.busy.Store(true)
	if err := g.Lease.Ack(g.Offset, g.Offset); err != nil {
		t.Fatal(err)
	}
	if q.idleDisk(); !p.active().notes.failed.Load() {
		t.Fatal("it was noted")
	}
	s.busy.Store(false)
	r.saveDirty()
	st, err := p.log.LoadCursor(t.Context())
	if err != nil || st.Floor <= g.Offset || p.active().notes.failed.Load() {
		t.Errorf("cursor %+v, %v", st, err)
	}
}
