package consumer

import (
	"slices"
	"testing"
)

// A client that shares its credit between cursors of different ranks has it back at the
// highest first, in whatever order it came to them, and finds it there itself before.
func TestCreditComesBackToTheHighestRankFirst(t *testing.T) {
	for _, ranks := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}} {
		credit := NewCredit(1)
		var cursors [3]*Cursor
		var ks [3]*Consumer
		var woken []int
		for _, rank := range ranks {
			l := &fakeLog{}
			l.add(3, 0)
			cursors[rank] = newCursor(t, l, State{})
			ks[rank] = add(t, cursors[rank], ConsumerOptions{Shared: credit, Ranked: true, Rank: rank, Wake: func() { woken = append(woken, rank) }})
		}
		wantRuns(t, take(ks[0], 1), Run{First: 0, Last: 0})
		for rank := 2; rank >= 0; rank-- {
			take(ks[rank], 1) // no credit
		}
		woken = nil
		must(t, ks[0].Ack(0, 0))
		if len(woken) == 0 || woken[0] != 2 {
			t.Errorf("joined in the order %v, woken %v", ranks, woken)
		}
		wantRuns(t, take(ks[2], 1), Run{First: 0, Last: 0})
	}
}

func TestCreditGoesAroundWithinARank(t *testing.T) {
	credit := NewCredit(1)
	ranks := []int{1, 0, 1, 0}
	ks := make([]*Consumer, len(ranks))
	var woken []int
	for i, rank := range ranks {
		l := &fakeLog{}
		l.add(9, 0)
		ks[i] = add(t, newCursor(t, l, State{}), ConsumerOptions{Shared: credit, Rank: rank, Wake: func() { woken = append(woken, i) }})
	}
	for _, tc := range []struct {
		takes int
		then  []int // in this order they are asked
	}{{0, []int{2, 0, 1, 3}}, {2, []int{0, 2, 1, 3}}, {0, []int{2, 0, 1, 3}}, {1, []int{2, 0, 3, 1}}, {3, []int{2, 0, 1, 3}}} {
		got := take(ks[tc.takes], 1)
		for i := range ks {
			wantRuns(t, take(ks[i], 1)) // no credit
		}
		woken = nil
		must(t, ks[tc.takes].Ack(got[0].First, got[0].Last))
		if !slices.Equal(woken, tc.then) {
			t.Errorf("%d took: woken %v, want %v", tc.takes, woken, tc.then)
		}
	}
}

func TestWhoTakesBeforeItsCreditIsSaidToBeBackHasIt(t *testing.T) {
	credit := NewCredit(1)
	l := &fakeLog{}
	l.add(3, 0)
	c := newCursor(t, l, State{})
	k := add(t, c, ConsumerOptions{Shared: credit, Ranked: true})
	take(k, 1)
	take(k, 1) // no credit
	credit.used.Add(-1)
	wantRuns(t, take(k, 1), Run{First: 1, Last: 1})
}
