package broker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// What a client was told is settled stays so after a kill, in whatever order, and what came back is known to have been delivered.
func TestWhatIsKeptStaysSettledAfterAKill(t *testing.T) {
	r := startWith(t, 0)
	r.queue("q", QueueOptions{Durable: true})
	publish(t, r.s.NewPublisher(), "", "q=0", "q=1", "q=2", "q=3", "q=4", "q=5")
	sub := r.subscribe("q", SubscribeOptions{})
	held := pull(t, sub, 5, 1<<20)
	lease := held[0].Lease
	for i, c := range []struct {
		settle func() error
		upTo   message.Offset
		came   bool
		want   []string
	}{
		{func() error { return lease.Ack(2, 2) }, 2, false, []string{"0", "1", "3", "4", "5"}},
		{func() error { return lease.Ack(0, 0) }, 0, false, []string{"1", "3", "4", "5"}},
		{func() error { return lease.Ack(4, 4) }, 4, false, []string{"1", "3", "5"}},
		{func() error { return lease.Requeue(1, 1) }, 1, true, []string{"1", "3", "5"}},
	} {
		must(t, c.settle())
		must(t, lease.Keep(c.upTo, c.came))
		want(t, fmt.Sprint("after verdict ", i), r.afterAKill("q"), c.want)
	}
}

// TestWhatAnAckIsWorthAfterAKill holds the table in docs/compatibility.md: acks in order are
// there at once, those ahead of an unacked message once they were saved, and what comes
// back is marked.
func TestWhatAnAckIsWorthAfterAKill(t *testing.T) {
	r := startWith(t, 0)
	r.queue("q", QueueOptions{Durable: true})
	publish(t, r.s.NewPublisher(), "", "q=0", "q=1", "q=2", "q=3", "q=4", "q=5")
	var held []*Got
	for range 5 {
		g, err := r.s.Get("q", false)
		if err != nil || g == nil {
			t.Fatal(g, err)
		}
		held = append(held, g)
	}
	ack := func(i int) {
		if err := held[i].Lease.Ack(held[i].Offset, held[i].Offset); err != nil {
			t.Fatal(err)
		}
	}
	comesBack := func() []string { return r.afterAKill("q") }
	ack(0)
	want(t, "after an ack in order", comesBack(), []string{"1", "2", "3", "4", "5"})
	ack(2)
	ack(4)
	if got := comesBack(); len(got) > 5 {
		t.Errorf("after acks out of order: %q", got)
	}
	r.saveDirty() // as once a second
	want(t, "after they were saved", comesBack(), []string{"1", "3", "5"})
}

// afterAKill is what a queue of six messages has, of which the last was handed to nobody, after the broker is killed as it is now.
func (r *rig) afterAKill(queue string) (bodies []string) {
	t := r.t
	t.Helper()
	st, err := local.Open(local.Options{Dir: copied(t, r.dir), Mode: store.ModeOS})
	must(t, err)
	b, err := Open(st, Options{})
	must(t, err)
	v, err := b.VHost("/")
	must(t, err)
	s := v.NewSession(auth.Identity{Name: "guest"})
	for {
		g, err := s.Get(queue, true)
		must(t, err)
		if g == nil {
			break
		}
		if first := string(g.Body) == "5"; g.Redelivered == first {
			t.Errorf("%s comes back with redelivered=%t", g.Body, g.Redelivered)
		}
		bodies = append(bodies, string(g.Body))
	}
	if err := errors.Join(b.Close(), st.Close()); err != nil {
		t.Error(err)
	}
	return bodies
}
