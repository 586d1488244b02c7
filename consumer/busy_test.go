package consumer

import (
	"slices"
	"testing"
)

func TestWhoIsBusyIsWokenLast(t *testing.T) {
	busy := []bool{true, false, true, false}
	var woken []int
	l := &fakeLog{}
	c := newCursor(t, l, State{})
	for i, priority := range []int{5, 5, 0, 0} {
		k := add(t, c, ConsumerOptions{Priority: priority, Prefetch: 1, Wake: func() { woken = append(woken, i) }, Busy: func() bool { return busy[i] }})
		take(k, 1) // and waits
	}
	wake := func(what string, want ...int) {
		t.Helper()
		woken = nil
		l.add(1, 0)
		c.Notify()
		if !slices.Equal(woken, want) {
			t.Errorf("%s: %v were woken, want %v", what, woken, want)
		}
	}
	wake("the first that is free, of the highest priority", 1)
	busy[3] = true
	wake("all that are left, since all are busy", 0, 2, 3)
}

func TestAConsumerThatPassesHasAnotherWoken(t *testing.T) {
	var woken []int
	l := &fakeLog{}
	c := newCursor(t, l, State{})
	var ks []*Consumer
	for i := range 3 {
		k := add(t, c, ConsumerOptions{Wake: func() { woken = append(woken, i) }})
		take(k, 1)
		ks = append(ks, k)
	}
	l.add(1, 0)
	c.Notify()
	ks[0].Pass()
	ks[1].Pass()
	if !slices.Equal(woken, []int{0, 1, 2}) {
		t.Errorf("%v were woken", woken)
	}
	ks[2].Pass()
	if !slices.Equal(woken, []int{0, 1, 2, 0}) {
		t.Errorf("%v were woken, the first again because it may come by now", woken)
	}
	ks[0].Cancel()
	ks[0].Pass() // has nothing to say any more
	if got := total(take(ks[0], 1)) + total(take(ks[1], 1)); got != 1 {
		t.Errorf("%d messages, want the one that there is", got)
	}
}
