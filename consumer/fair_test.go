package consumer

import (
	"slices"
	"testing"
)

// sim runs consumers as their connections would: each that was woken takes until
// it gets nothing. The one with the lowest number goes first, unless slow ones are skipped.
type sim struct {
	c     *Cursor
	log   *fakeLog
	ks    []*Consumer
	awake []bool
	got   [][]offset
}

func newSim(t *testing.T, backlog int, options ...ConsumerOptions) *sim {
	s := &sim{log: &fakeLog{}}
	s.log.add(backlog, 0)
	s.c = newCursor(t, s.log, State{})
	s.awake, s.got = make([]bool, len(options)), make([][]offset, len(options))
	for i, o := range options {
		o.Wake = func() { s.awake[i] = true }
		s.ks = append(s.ks, add(t, s.c, o))
	}
	return s
}

func (s *sim) run(max int) {
	for slices.Contains(s.awake, true) {
		for i := range s.ks {
			if s.awake[i] {
				s.turn(i, max)
			}
		}
	}
}

func (s *sim) turn(i, max int) {
	runs := s.ks[i].Take(max, nil)
	s.awake[i] = len(runs) > 0
	for _, r := range runs {
		for o := r.First; o <= r.Last; o++ {
			s.got[i] = append(s.got[i], o)
		}
	}
}

func (s *sim) shares() (n []int) {
	for _, g := range s.got {
		n = append(n, len(g))
	}
	return n
}

func TestBacklogIsSharedFairly(t *testing.T) {
	plain := ConsumerOptions{}
	for _, tc := range []struct {
		name    string
		backlog int
		options []ConsumerOptions
		want    []int
		slack   int
	}{
		{"ten over two", 10, []ConsumerOptions{plain, plain}, []int{5, 5}, 0},
		{"ten over three", 10, []ConsumerOptions{plain, plain, plain}, []int{4, 3, 3}, 0},
		{"a hundred over two", 100, []ConsumerOptions{plain, plain}, []int{50, 50}, 2},
		{"a thousand over three", 1000, []ConsumerOptions{plain, plain, plain}, []int{333, 333, 333}, 16},
		{"many over two", 100_000, []ConsumerOptions{plain, plain}, []int{50_000, 50_000}, 512},
		{"prefetch is filled evenly", 100, []ConsumerOptions{{Prefetch: 3}, {Prefetch: 3}}, []int{3, 3}, 0},
		{"small prefetch leaves the rest to others", 30, []ConsumerOptions{{Prefetch: 1}, plain}, []int{1, 29}, 0},
		{"high priority first", 50, []ConsumerOptions{plain, {Priority: 5}}, []int{0, 50}, 0},
		{"high priority until its credit is used", 50, []ConsumerOptions{plain, {Priority: 5, Prefetch: 10}, {Priority: -1}}, []int{40, 10, 0}, 0},
		{"round-robin within a priority", 50, []ConsumerOptions{{Priority: 1, Prefetch: 5}, {Priority: 1, Prefetch: 5}, plain}, []int{5, 5, 40}, 0},
		{"without acks the same", 10, []ConsumerOptions{{NoAck: true}, plain}, []int{5, 5}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t, 0, tc.options...)
			s.run(1000)
			s.log.add(tc.backlog, 0)
			s.c.Notify()
			s.run(1000)
			for i, n := range s.shares() {
				if n < tc.want[i]-tc.slack || n > tc.want[i]+tc.slack {
					t.Fatalf("shares %v, want %v within %d", s.shares(), tc.want, tc.slack)
				}
			}
		})
	}
}

func TestSmallBacklogAlternatesMessageByMessage(t *testing.T) {
	s := newSim(t, 0, ConsumerOptions{}, ConsumerOptions{})
	s.run(100)
	s.log.add(10, 0)
	s.c.Notify()
	s.run(100)
	if !slices.Equal(s.got[0], []offset{0, 2, 4, 6, 8}) || !slices.Equal(s.got[1], []offset{1, 3, 5, 7, 9}) {
		t.Fatalf("got %v", s.got)
	}
}

func TestSlowPublishingAlternatesToo(t *testing.T) {
	s := newSim(t, 0, ConsumerOptions{}, ConsumerOptions{}, ConsumerOptions{})
	s.run(100)
	for range 9 {
		s.log.add(1, 0)
		s.c.Notify()
		s.run(100)
	}
	if !slices.Equal(s.shares(), []int{3, 3, 3}) || !slices.Equal(s.got[1], []offset{1, 4, 7}) {
		t.Fatalf("got %v", s.got)
	}
}

// TestFairDispatch is prefetch 1: who acks gets the next, and a busy worker none.
func TestFairDispatch(t *testing.T) {
	s := newSim(t, 0, ConsumerOptions{Prefetch: 1}, ConsumerOptions{Prefetch: 1})
	s.run(100)
	s.log.add(10, 0)
	s.c.Notify()
	s.run(100)
	for range 8 { // the second never acks
		last := s.got[0][len(s.got[0])-1]
		must(t, s.ks[0].Ack(last, last))
		s.run(100)
	}
	if !slices.Equal(s.shares(), []int{9, 1}) {
		t.Fatalf("shares %v, want 9 and 1", s.shares())
	}
}

func TestAStuckConsumerHoldsNoMoreThanItsInbox(t *testing.T) {
	s := newSim(t, 0, ConsumerOptions{}, ConsumerOptions{})
	s.run(100)
	s.log.add(10_000, 0)
	s.c.Notify()
	s.awake[0] = true
	for s.awake[0] { // the second is woken and does not come
		s.turn(0, 1000)
	}
	if n := len(s.got[0]); n != 10_000-inboxLimit {
		t.Fatalf("the first got %d, want %d", n, 10_000-inboxLimit)
	}
	s.ks[1].Cancel()
	s.run(1000)
	if n := len(s.got[0]); n != 10_000 {
		t.Fatalf("the first got %d of what came back", n)
	}
	if slices.ContainsFunc(take(s.ks[0], 1), func(Run) bool { return true }) || s.c.Unacked() != 10_000 {
		t.Fatal("a message is left or was lost")
	}
}

func TestAConsumerIsWokenOnceUntilItTakes(t *testing.T) {
	log := &fakeLog{}
	c := newCursor(t, log, State{})
	wakes := 0
	k := add(t, c, ConsumerOptions{Wake: func() { wakes++ }})
	take(k, 1)
	for range 5 {
		log.add(1, 0)
		c.Notify()
	}
	if wakes != 1 {
		t.Fatalf("woken %d times, want once", wakes)
	}
	if n := total(k.Take(100, nil)); n == 0 {
		t.Fatal("took nothing")
	}
	log.add(1, 0)
	c.Notify() // it took something, so it is going to take again by itself
	if wakes != 1 {
		t.Fatalf("woken while awake")
	}
}

func TestAConsumerThatLeavesPassesItsWakeOn(t *testing.T) {
	s := newSim(t, 0, ConsumerOptions{}, ConsumerOptions{})
	s.run(100)
	s.log.add(5, 0)
	s.c.Notify()
	woken := slices.Index(s.awake, true)
	s.awake[woken] = false
	s.ks[woken].Cancel()
	if !s.awake[1-woken] {
		t.Fatal("the other was not woken")
	}
	s.run(100)
	if len(s.got[1-woken]) != 5 {
		t.Fatalf("got %v", s.got)
	}
}
