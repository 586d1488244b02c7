package consumer

import "testing"

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
