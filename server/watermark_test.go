package server

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// What is garbage raises no alarm, one that is there ends well below the watermark, and the collector is not
// run with every check.
func TestTheMemoryGuardRaisesAndEnds(t *testing.T) {
	now := time.Unix(0, 0)
	used, garbage, frees := int64(0), int64(0), 0
	g := &memoryGuard{watermark: func() int64 { return 100 << 20 }, used: func() int64 { return used + garbage }, free: func() { garbage = 0; frees++ }, now: func() time.Time { return now }}
	for i, s := range []struct {
		used, garbage, frees int64
		raised               bool
	}{
		{100, 0, 0, false}, {90, 50, 1, false}, {101, 0, 1, true}, {96, 0, 1, true}, {95, 0, 1, false}, {96, 0, 1, false},
	} {
		used, garbage = s.used<<20, s.garbage<<20
		if err := g.check(); (err != nil) != s.raised || int64(frees) != s.frees {
			t.Fatalf("step %d: %v, collected %d times", i, err, frees)
		}
	}
	used, garbage = 150<<20, 0
	for range 25 {
		if err := g.check(); err == nil || !strings.Contains(err.Error(), "low on memory: the broker uses 150 MiB, above its watermark of 100 MiB") {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	if frees != 3 {
		t.Errorf("collected %d times", frees)
	}
}

// The broker asks the guard, and /health says what it says.
func TestABrokerAboveItsWatermarkIsNotHealthy(t *testing.T) {
	c := settings(t)
	if err := c.MemoryHighWatermark.Set("1e-9"); err != nil {
		t.Fatal(err)
	}
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for s.broker.Alarm() == "" {
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.probeMemory(); err == nil || !strings.Contains(err.Error(), "low on memory") {
		t.Error(err)
	}
	if err := s.probeDisk(); err != nil {
		t.Error(err)
	}
	stop(t, s)
}

func TestTheMemoryOfTheProcessIsKnown(t *testing.T) {
	debug.FreeOSMemory() // what others have left would be used again
	before := memoryUsed()
	b := make([]byte, 64<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	if grown := memoryUsed() - before; before <= 0 || grown < 32<<20 || grown > 256<<20 {
		t.Errorf("%d before, %d more with %s", before, grown, fmt.Sprint(len(b)))
	}
}
