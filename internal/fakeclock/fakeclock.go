// Package fakeclock runs tests on a fake clock, by testing/synctest.
//
// It stands between because of Go's race detector. A bubble has one race context for
// all of its timers. While the bubble's root runs the timers that are due, a goroutine
// that one of them woke may find another timer due at the same instant, and run it at
// once on its own processor: two threads then use one context, and the detector ends
// the process (SIGSEGV in SlotLock, or a failed check of slot_locked; Go 1.26). With one
// processor there is never a second thread. The detector finds races by what happens
// before what, and needs no two processors for that.
package fakeclock

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// Test runs f in a new bubble, as [synctest.Test] does. Under the race detector
// the whole process has one processor until f and what it started have ended, so
// such a test must not be parallel.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raceDetector {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, f)
}
