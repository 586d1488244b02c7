package kafka

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/message"
)

// What a list of runs says is what a map of offsets says, whatever is put in and taken out.
func TestRunsThatAreHeldAreThoseThatWereAddedAndNotTaken(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var l heldRuns
		want := map[message.Offset]int64{}
		const span = 6000
		epoch := time.Unix(0, 0)
		for range 3000 {
			first := message.Offset(r.IntN(span))
			last := first + message.Offset(r.IntN(1+r.IntN(60)))
			free := true
			for o := first; o <= last; o++ {
				_, held := want[o]
				free = free && !held
			}
			whole := true
			for o := first; o <= last; o++ {
				_, held := want[o]
				whole = whole && held
			}
			if l.holds(first, last) != whole {
				t.Fatalf("seed %d: holds(%d, %d) is %v", seed, first, last, !whole)
			}
			switch kind := r.IntN(10); {
			case free && kind < 7:
				until := int64(r.IntN(1000))
				for o := first; o <= last; o++ { // each by itself, as they come back
					l.add(heldRun{first: o, last: o, until: epoch.Add(time.Duration(until))})
					want[o] = until
				}
			case kind < 9:
				for _, h := range l.take(first, last, nil) {
					for o := h.first; o <= h.last; o++ {
						if o < first || o > last {
							t.Fatalf("seed %d: take(%d, %d) took %d", seed, first, last, o)
						}
						if _, held := want[o]; !held {
							t.Fatalf("seed %d: took %d twice", seed, o)
						}
						delete(want, o)
					}
				}
				for o := first; o <= last; o++ {
					if _, held := want[o]; held {
						t.Fatalf("seed %d: take(%d, %d) left %d", seed, first, last, o)
					}
				}
			case r.IntN(50) == 0:
				now := int64(r.IntN(300))
				late, next := l.takeLate(epoch.Add(time.Duration(now)), nil)
				n, soonest := 0, int64(1<<40)
				for o, until := range want {
					if until <= now {
						delete(want, o)
						n++
					} else {
						soonest = min(soonest, until)
					}
				}
				got := 0
				for _, h := range late {
					got += int(h.last-h.first) + 1
				}
				if got != n || !next.IsZero() && next.UnixNano() != soonest {
					t.Fatalf("seed %d: %d are late, of %d; next at %v, not %d", seed, got, n, next, soonest)
				}
			}
		}
		var offsets []message.Offset
		runs := 0
		for _, h := range slices.Concat(l.chunks...) {
			runs++
			for o := h.first; o <= h.last; o++ {
				offsets = append(offsets, o)
			}
		}
		if !slices.IsSorted(offsets) || len(offsets) != len(want) || runs != l.n {
			t.Fatalf("seed %d: %d offsets are held, not %d, in %d runs, counted as %d", seed, len(offsets), len(want), runs, l.n)
		}
		for _, c := range l.chunks {
			if len(c) == 0 || len(c) > heldChunk {
				t.Fatalf("seed %d: a chunk of %d", seed, len(c))
			}
		}
	}
}

// A run that is cut in the middle leaves both its ends.
func TestARunIsCutWhereSomeOfItIsTaken(t *testing.T) {
	var l heldRuns
	l.add(heldRun{first: 0, last: 99})
	got := l.take(40, 59, nil)
	if len(got) != 1 || got[0].first != 40 || got[0].last != 59 || !l.holds(0, 39) || !l.holds(60, 99) || l.holds(39, 40) || l.n != 2 {
		t.Fatalf("took %v, and %d runs are left", got, l.n)
	}
	for o := message.Offset(200); o < 200+heldChunk-2; o++ { // up to a full chunk, of which a run is cut
		l.add(heldRun{first: 2 * o, last: 2*o + 1})
	}
	l.add(heldRun{first: 10_000, last: 10_099})
	l.take(10_050, 10_050, nil)
	if !l.holds(10_000, 10_049) || !l.holds(10_051, 10_099) || l.holds(10_050, 10_050) {
		t.Fatal("the ends of the last run are not there")
	}
}

// The cost of settling one message of very many, in any order, hardly depends on how many there are.
func BenchmarkSettlingOfManyRuns(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run("", func(b *testing.B) {
			var l heldRuns
			for o := range message.Offset(n) {
				l.add(heldRun{first: o, last: o})
			}
			r := rand.New(rand.NewPCG(1, 1))
			var into []heldRun
			for b.Loop() {
				o := message.Offset(r.IntN(n))
				into = l.take(o, o, into[:0])
				l.add(heldRun{first: o, last: o})
			}
		})
	}
}
