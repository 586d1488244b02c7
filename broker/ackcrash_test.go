package broker

import (
	"errors"
	"os"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

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
	comesBack := func() (bodies []string) {
		dir := t.TempDir() // what a killed process leaves in the page cache
		if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
			t.Fatal(err)
		}
		st, err := local.Open(local.Options{Dir: dir, Mode: store.ModeOS})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(st, Options{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := b.VHost("/")
		if err != nil {
			t.Fatal(err)
		}
		s := v.NewSession(auth.Identity{Name: "guest"})
		for {
			g, err := s.Get("q", true)
			if err != nil {
				t.Fatal(err)
			}
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
