package local

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/storetest"
)

var (
	crashSeed  = flag.Uint64("crash.seed", 0, "run the crash tests with this seed only")
	crashRuns  = flag.Int("crash.runs", 40, "how many seeds the crash tests try")
	crashSteps = flag.Int("crash.steps", 60, "how many steps there are before a crash")
)

// seeds runs a test with one seed after the other; a failure names its seed.
func seeds(t *testing.T, test func(t *testing.T, rng *rand.Rand)) {
	first, last := uint64(1), uint64(*crashRuns)
	if *crashSeed != 0 {
		first, last = *crashSeed, *crashSeed
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("again with: go test ./store/local -run '%s' -crash.seed %d", t.Name(), seed)
				}
			}()
			test(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func TestConformanceInMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		return opener(t, Options{Dir: "/data", FS: fs.NewMem(1), BootID: "one"})
	})
}

// TestPowerCut holds for the modes group and always that a power cut at any
// moment costs nothing that was confirmed, that every table write that returned
// is there, that nothing that may have been handed out comes back unmarked, and
// that nothing that was not acked counts as acked.
func TestPowerCut(t *testing.T) {
	for _, mode := range []store.Mode{store.ModeGroup, store.ModeAlways} {
		t.Run(mode.String(), func(t *testing.T) {
			seeds(t, func(t *testing.T, rng *rand.Rand) { powerCuts(t, rng, mode) })
		})
	}
}

func powerCuts(t *testing.T, rng *rand.Rand, mode store.Mode) {
	mem := fs.NewMem(rng.Uint64())
	mem.Evict(rng.IntN(3) == 0)
	m := newModel(t, rng, mode)
	for boot := range 4 {
		s := m.open(mem, fmt.Sprint("boot ", boot))
		if boot > 0 {
			m.checkTable(s)
			m.each(s, func(l store.Log, ml *modelLog) {
				m.checkLog(l, ml, ml.confirmed)
				checkCursorAfterPowerCut(t, l, ml)
			})
		}
		m.work(s, mem, 1+rng.IntN(*crashSteps))
		next := mem.Crash(rng)
		s.kill()
		mem = next
	}
}

// checkCursorAfterPowerCut: handed may be higher than it was, floor lower.
func checkCursorAfterPowerCut(t *testing.T, l store.Log, ml *modelLog) {
	t.Helper()
	c, err := l.LoadCursor(ctx)
	if err != nil {
		t.Fatalf("log %s: LoadCursor: %v", ml.id, err)
	}
	start, end := bounds(t, l)
	if c.Handed < min(ml.handed, end) {
		t.Fatalf("log %s [%d,%d): handed is %d, but offsets below %d were handed out", ml.id, start, end, c.Handed, ml.handed)
	}
	if c.Floor > max(ml.floor, start) {
		t.Fatalf("log %s [%d,%d): floor is %d, but only offsets below %d were acked", ml.id, start, end, c.Floor, ml.floor)
	}
	checkCursorData(t, c, ml)
	ml.floor, ml.handed = c.Floor, c.Handed
}

// checkCursorData: what comes back is something that was saved, as a whole.
func checkCursorData(t *testing.T, c store.CursorState, ml *modelLog) {
	t.Helper()
	if c.Data != nil && !slices.Contains(ml.data, string(c.Data)) {
		t.Fatalf("log %s: cursor data was never saved: %.60q", ml.id, c.Data)
	}
}

// TestPowerCutInModeOS holds that what is left is sound, however much is lost:
// every record is one that was appended there, and the store goes on.
func TestPowerCutInModeOS(t *testing.T) {
	seeds(t, func(t *testing.T, rng *rand.Rand) {
		mem := fs.NewMem(rng.Uint64())
		m := newModel(t, rng, store.ModeOS)
		for boot := range 4 {
			s := m.open(mem, fmt.Sprint("boot ", boot))
			m.each(s, func(l store.Log, ml *modelLog) {
				m.checkLog(l, ml, 0)
				c, err := l.LoadCursor(ctx)
				if err != nil {
					t.Fatal(err)
				}
				checkCursorData(t, c, ml)
				ml.floor, ml.handed = c.Floor, c.Handed
			})
			m.work(s, mem, 1+rng.IntN(*crashSteps))
			next := mem.Crash(rng)
			s.kill()
			mem = next
		}
	})
}

// TestKill holds for every mode that kill -9 costs nothing that was appended, and
// that the cursor is where it was to the offset.
func TestKill(t *testing.T) {
	for _, mode := range []store.Mode{store.ModeOS, store.ModeGroup, store.ModeAlways} {
		t.Run(mode.String(), func(t *testing.T) {
			seeds(t, func(t *testing.T, rng *rand.Rand) {
				mem := fs.NewMem(rng.Uint64())
				m := newModel(t, rng, mode)
				for range 4 {
					s := m.open(mem, "same boot")
					m.checkTable(s)
					m.each(s, func(l store.Log, ml *modelLog) {
						m.checkLog(l, ml, len(ml.appended))
						checkCursorAfterKill(t, l, ml)
					})
					m.work(s, mem, 1+rng.IntN(*crashSteps))
					s.kill()
				}
			})
		})
	}
}

func checkCursorAfterKill(t *testing.T, l store.Log, ml *modelLog) {
	t.Helper()
	c, err := l.LoadCursor(ctx)
	if err != nil {
		t.Fatalf("log %s: LoadCursor: %v", ml.id, err)
	}
	start, _ := bounds(t, l)
	if want := max(ml.floor, start); c.Floor != want || c.Handed != max(ml.handed, want) {
		t.Fatalf("log %s: cursor is %d, %d and should be %d, %d", ml.id, c.Floor, c.Handed, want, ml.handed)
	}
	if n := len(ml.data); n > 0 && string(c.Data) != ml.data[n-1] {
		t.Fatalf("log %s: cursor data is %.60q and should be %.60q", ml.id, c.Data, ml.data[n-1])
	}
}

// TestKillBetweenTwoStores holds that a kill in the middle of the writing of a
// slot leaves the state before it, and marks at least as much as redelivered.
func TestKillBetweenTwoStores(t *testing.T) {
	for n := range slotWords {
		before := slot{Seq: 4, Floor: 10, Handed: 20, Reserved: 5000, Boot: 7}
		page := encodeCursorPage(1, 0, &before)
		after := slot{Seq: 5, Floor: 15, Handed: 30, Reserved: 5000, Boot: 7}
		full := encodeCursorPage(1, 0, &after)
		at := cursorSlotAt(after.Seq)
		copy(page[at:at+8*n], full[at:]) // so many words were stored
		v, err := recoverCursor(page, 1, 7, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if v.state.Floor != 10 || v.state.Handed < 20 || message.Offset(v.state.Handed) > 100 {
			t.Errorf("after %d words: floor %d, handed %d", n, v.state.Floor, v.state.Handed)
		}
	}
}
