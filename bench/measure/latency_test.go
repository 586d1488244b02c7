package measure

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

func TestLatenciesAgreeWithSorting(t *testing.T) {
	const seed = 20261123
	r := rand.New(rand.NewPCG(seed, 1))
	l := NewLatencies()
	var all []uint32
	for range 20_000 {
		v := uint32(r.ExpFloat64()*2000) + 1
		for range 1 + r.IntN(5) { // runs of equal ones, as messages of one write have
			l.Add(1_000_000+v, 1_000_000)
			all = append(all, v)
		}
	}
	slices.Sort(all)
	if l.Count() != int64(len(all)) {
		t.Fatalf("seed %d: %d counted, %d were added", seed, l.Count(), len(all))
	}
	for _, q := range []float64{.5, .9, .99, .999} {
		want := time.Duration(all[int(q*float64(len(all)))]) * time.Microsecond
		got := l.Quantile(q)
		if off := (got - want).Abs(); off > want/100+time.Microsecond {
			t.Errorf("seed %d: quantile %v is %v, sorting says %v", seed, q, got, want)
		}
	}
	if want := time.Duration(all[len(all)-1]) * time.Microsecond; l.Max() < want || l.Max() > want+want/500 {
		t.Errorf("seed %d: max is %v, sorting says %v", seed, l.Max(), want)
	}
}

func TestLatencyAcrossTheWrapOfMicroseconds(t *testing.T) {
	l := NewLatencies()
	l.Add(50, 1<<32-50)
	if got := l.Max(); got != 100*time.Microsecond {
		t.Fatalf("latency over the wrap is %v", got)
	}
}

func TestLatencyOfAMessageStampedAfterTheClockWasRead(t *testing.T) {
	l := NewLatencies()
	l.Add(100, 105)
	if got := l.Max(); got > time.Microsecond {
		t.Fatalf("latency is %v", got)
	}
}

func TestLatenciesMergeAndReset(t *testing.T) {
	a, b := NewLatencies(), NewLatencies()
	a.AddDuration(time.Millisecond)
	b.AddDuration(3 * time.Millisecond)
	b.Add(10, 5)
	a.Merge(b)
	if a.Count() != 3 || a.Max() < 3*time.Millisecond {
		t.Fatalf("merged: %d, max %v", a.Count(), a.Max())
	}
	a.AddDuration(time.Second)
	a.Reset()
	if a.Count() != 0 {
		t.Fatalf("%d left after Reset", a.Count())
	}
}

func TestLatenciesBeyondTheRangeCountAsItsEnd(t *testing.T) {
	l := NewLatencies()
	l.AddDuration(time.Hour)
	l.AddDuration(-time.Second)
	if l.Count() != 2 || l.Max() < 119*time.Second || l.Max() > 121*time.Second {
		t.Fatalf("%d, max %v", l.Count(), l.Max())
	}
}

// A late event must not move those after it, and its lateness must show.
func TestPacerKeepsItsScheduleWhenLate(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		start := time.Now().Add(-10 * time.Millisecond) // ten events behind
		p := NewPacer(start, 1000)
		for i := range int64(10) {
			if due := p.Wait(i); due != time.Duration(i)*time.Millisecond {
				t.Fatalf("event %d is due at %v", i, due)
			}
		}
		if p.Late != 10*time.Millisecond {
			t.Fatalf("late by %v, the first event was 10 ms overdue", p.Late)
		}
		if p.Due(5000) != 5*time.Second {
			t.Fatalf("event 5000 is due at %v", p.Due(5000))
		}
	})
}

func TestPacerWaitsUntilDue(t *testing.T) {
	p := NewPacer(time.Now(), 1000)
	for i := range int64(20) {
		due := p.Wait(i)
		if now := time.Since(p.start); now < due {
			t.Fatalf("event %d came at %v, it is due at %v", i, now, due)
		}
	}
}
