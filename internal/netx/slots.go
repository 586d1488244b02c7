package netx

import "sync/atomic"

// Slots are the connections that several listeners may hold together. A nil one
// is no bound.
type Slots struct {
	max  int64
	used atomic.Int64
}

// NewSlots makes so many.
func NewSlots(max int) *Slots { return &Slots{max: int64(max)} }

func (s *Slots) take() bool {
	if s == nil {
		return true
	}
	if s.used.Add(1) > s.max {
		s.used.Add(-1)
		return false
	}
	return true
}

func (s *Slots) give() {
	if s != nil {
		s.used.Add(-1)
	}
}
