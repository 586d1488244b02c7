package consumer

import (
	"testing"

	"github.com/leveret-mq/leveret/message"
)

func TestHoldsWhatIsOpenOrFresh(t *testing.T) {
	l := &fakeLog{}
	l.add(100, 0)
	c := newCursor(t, l, State{})
	k := add(t, c, ConsumerOptions{})
	if runs := k.Take(50, nil); len(runs) != 1 || runs[0].Last != 49 {
		t.Fatalf("took %v", runs)
	}
	for _, r := range []Run{{First: 0, Last: 9}, {First: 11, Last: 29}, {First: 31, Last: 49}} {
		if err := k.Ack(r.First, r.Last); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Requeue(30, 30); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.Left(); n != 2 {
		t.Errorf("%d open, want 10 and 30", n)
	}
	for _, tt := range []struct {
		first, last message.Offset
		want        bool
	}{
		{0, 9, false}, {0, 10, true}, {10, 10, true}, {11, 29, false}, {25, 35, true}, {30, 30, true},
		{31, 49, false}, {31, 50, true}, {50, 60, true}, {100, 200, true},
	} {
		if got := c.Holds(tt.first, tt.last); got != tt.want {
			t.Errorf("holds %d to %d: %v", tt.first, tt.last, got)
		}
	}
}

func leftOpen(c *Cursor) int64 {
	open, _ := c.Left()
	return open
}

// TestWhatWasHeldStaysSaid: Held is of its moment, whatever is settled or comes later.
func TestWhatWasHeldStaysSaid(t *testing.T) {
	var c Cursor
	c.open.pages = &c.pages
	c.next = 10_000
	c.open.add(3, 3)
	c.open.add(4096, 8191) // a full page
	h := c.Held()
	c.open.remove(3, 3)
	c.open.remove(5000, 6000)
	c.open.add(7, 7)
	c.next = 20_000
	for _, want := range []struct {
		first, last offset
		held        bool
	}{{3, 3, true}, {0, 2, false}, {7, 7, false}, {5500, 5500, true}, {9_999, 9_999, false}, {9_999, 10_000, true}} {
		if h.Holds(want.first, want.last) != want.held {
			t.Errorf("from %d to %d it says %v", want.first, want.last, !want.held)
		}
	}
}
