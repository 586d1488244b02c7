package broker

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// What stands by a right is told once when the right goes, and not when it was given back before, nor for
// what is above the bound.
func TestWhatStandsByARightIsToldOnce(t *testing.T) {
	var allowed atomic.Bool
	allowed.Store(true)
	r := start(t)
	r.Broker.opts.Policy = func(q Request) error {
		if allowed.Load() || q.Verb == Enter {
			return nil
		}
		return ErrDenied
	}
	s := r.mustEnter(r.v, "ann")
	lost := map[string]int{}
	for i := range maxStandings + 2 {
		holder := fmt.Sprint(i)
		for range 2 {
			if err := s.Stand(Consume, OnGroup, "g", holder, func() { lost[holder]++ }); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Stopped(Consume, OnGroup, "g", "7")
	r.PolicyChanged()
	if len(lost) != 0 {
		t.Fatalf("lost while it is allowed: %v", lost)
	}
	allowed.Store(false)
	r.PolicyChanged()
	r.PolicyChanged()
	if len(lost) != maxStandings-1 || lost["7"] != 0 || lost["0"] != 1 {
		t.Errorf("%d were told, 7 %d times and 0 %d times", len(lost), lost["7"], lost["0"])
	}
	if err := s.Stand(Consume, OnGroup, "g", "late", func() { lost["late"]++ }); KindOf(err) != Refused {
		t.Errorf("without the right: %v", err)
	}
	r.PolicyChanged()
	if lost["late"] != 0 {
		t.Error("what was refused was noted")
	}
}
