package local

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

func TestWatchersComeAndGoInAnyOrder(t *testing.T) {
	s := openStore(t, Options{Dir: "/data", FS: fs.NewMem(1)})
	l := newTestLog(t, s, store.LogOptions{})
	dice := rand.New(rand.NewPCG(1, 2))
	calls := map[int]int{}
	stops := map[int]func(){}
	for n := range 2000 {
		if len(stops) > 0 && dice.IntN(2) == 0 {
			for id, stop := range stops { // any
				stop()
				stop() // again is nothing
				delete(stops, id)
				break
			}
		} else {
			stops[n] = l.Watch(func() { calls[n]++ })
		}
		clear(calls)
		l.wake()
		if len(calls) != len(stops) {
			t.Fatalf("step %d: %d were called, %d watch", n, len(calls), len(stops))
		}
		for id, n := range calls {
			if stops[id] == nil || n != 1 {
				t.Fatalf("%d was called %d times", id, n)
			}
		}
	}
}

// TestAWatcherCostsTheSameAmongMany: Kafka clients that wait for a topic watch it for a moment each time.
func TestAWatcherCostsTheSameAmongMany(t *testing.T) {
	s := openStore(t, Options{Dir: "/data", FS: fs.NewMem(1)})
	l := newTestLog(t, s, store.LogOptions{})
	for range 10_000 {
		l.Watch(func() {})
	}
	const turns = 1000
	var took []uint64
	for range 3 { // others may allocate meanwhile
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range turns {
			l.Watch(func() {})()
		}
		runtime.ReadMemStats(&after)
		took = append(took, (after.TotalAlloc-before.TotalAlloc)/turns)
	}
	if least := slices.Min(took); least > 1000 {
		t.Errorf("a turn takes %d bytes beside 10,000 others", least)
	}
}
