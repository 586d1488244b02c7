package consumer

import (
	"errors"
	"testing"
)

func TestAHoldKeepsMessagesInTheQueue(t *testing.T) {
	log := &fakeLog{}
	log.add(20, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{Prefetch: 5})
	wantRuns(t, take(k, 10), Run{0, 4, false, 0})
	must(t, k.Hold(1, 3))
	if held := c.HoldReady(5, 8, nil); len(held) != 1 || held[0] != (Run{5, 8, false, 0}) {
		t.Fatalf("held %v", held)
	}
	wantRuns(t, take(k, 10), Run{9, 11, false, 0}) // the hold counts against no prefetch
	if err := k.Ack(1, 1); !errors.Is(err, ErrNotHeld) {
		t.Errorf("acked what is on hold: %v", err)
	}
	must(t, k.Ack(0, 0))
	if c.Floor() != 1 || c.Unacked() != 4 || c.Ready() != 8 {
		t.Errorf("floor %d, unacked %d, ready %d", c.Floor(), c.Unacked(), c.Ready())
	}
	floor, handed := c.Progress()
	again, err := New(log, State{Floor: floor, Handed: handed, Data: c.AppendState(nil)})
	must(t, err)
	if n := again.Ready(); n != 19 {
		t.Errorf("%d ready in a cursor that is opened anew, want all but the acked one", n)
	}
	c.Free(1, 2)
	c.Unhold(3, 3)
	c.Free(5, 8)
	must(t, k.Ack(4, 4))
	wantRuns(t, take(k, 10), Run{3, 3, false, 0}, Run{12, 12, false, 0})
	if c.Floor() != 3 {
		t.Errorf("floor %d", c.Floor())
	}
}

func TestOnlyWhatIsStillReadyIsHeld(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	head, ok := c.Head(6)
	if !ok || head != (Run{0, 5, false, 0}) {
		t.Fatalf("head %v %v", head, ok)
	}
	take(k, 3)
	must(t, k.Requeue(1, 1))
	held := c.HoldReady(head.First, head.Last, nil)
	if len(held) != 2 || held[0] != (Run{1, 1, false, 0}) || held[1] != (Run{3, 5, false, 0}) {
		t.Errorf("held %v", held)
	}
	if c.Ready() != 4 || c.Unacked() != 2 {
		t.Errorf("ready %d, unacked %d", c.Ready(), c.Unacked())
	}
}

func TestWhatGoesWithTheLogsStartIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *Cursor)
		start  offset
		want   int64
	}{
		"nothing":                    {func(*testing.T, *Cursor) {}, 0, 0},
		"fresh, never counted":       {func(*testing.T, *Cursor) {}, 7, 7},
		"fresh, counted":             {func(_ *testing.T, c *Cursor) { c.Ready() }, 7, 7},
		"beyond what was dealt":      {func(t *testing.T, c *Cursor) { take(add(t, c, ConsumerOptions{}), 3) }, 7, 4},
		"acked, nothing is lost":     {func(t *testing.T, c *Cursor) { take(add(t, c, ConsumerOptions{NoAck: true}), 9) }, 7, 0},
		"returned and not yet taken": {func(t *testing.T, c *Cursor) { k := add(t, c, ConsumerOptions{}); take(k, 5); must(t, k.Requeue(1, 3)) }, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			log := &fakeLog{}
			log.add(20, 0)
			cursor := newCursor(t, log, State{})
			c.before(t, cursor)
			log.start = c.start
			cursor.Ready()
			if got := cursor.Lost(); got != c.want {
				t.Errorf("lost %d, want %d", got, c.want)
			}
			if got := cursor.Lost(); got != 0 {
				t.Errorf("counted twice: %d", got)
			}
		})
	}
}

func TestMessagesThatWereReturnedTooOftenAreFound(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	for i := range 5 { // message o is returned o/2 times
		take(k, 10)
		must(t, k.Requeue(offset(2*i), 9))
		for o := range offset(2 * i) {
			must(t, k.ReturnRuns([]Run{{First: o, Last: o}}))
		}
	}
	take(k, 10)
	for limit, want := range map[int][]Run{
		0: {{0, 1, false, 0}, {2, 3, false, 0}, {4, 5, false, 0}, {6, 7, false, 0}, {8, 9, false, 0}},
		3: {{4, 5, false, 0}, {6, 7, false, 0}, {8, 9, false, 0}},
		5: {{8, 9, false, 0}},
		6: nil,
	} {
		wantRuns(t, k.Cursor().Spent(0, 9, limit, nil), want...)
	}
}

// TestWhoWaitsHearsOfWhatBecomesReady: of a message that is put back, and of one that
// a look at the head found while the log was asked.
func TestWhoWaitsHearsOfWhatBecomesReady(t *testing.T) {
	for name, ready := range map[string]func(log *busyLog, c *Cursor, k *Consumer, woken *bool){
		"put back": func(log *busyLog, c *Cursor, k *Consumer, woken *bool) {
			log.add(1, 0)
			c.Head(1)
			held := c.HoldReady(0, 0, nil)
			k.Take(1, nil)
			*woken = false
			c.Unhold(held[0].First, held[0].Last)
		},
		"found by a look": func(log *busyLog, c *Cursor, k *Consumer, _ *bool) {
			log.add(1, 0)
			log.meanwhile = func() { // it comes while the log is asked, and finds nothing yet
				log.meanwhile = nil
				if got := k.Take(1, nil); len(got) > 0 {
					t.Errorf("took %v", got)
				}
			}
			c.Head(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := &busyLog{}
			c := newCursor(t, log, State{})
			woken := false
			k := add(t, c, ConsumerOptions{Wake: func() { woken = true }})
			k.Take(1, nil)
			woken = false
			ready(log, c, k, &woken)
			if !woken {
				t.Error("nobody was woken")
			}
			wantRuns(t, take(k, 1), Run{0, 0, false, 0})
		})
	}
}
