package unacked

import (
	"testing"

	"github.com/leveret-mq/leveret/message"
)

func TestWhatIsOverdueIsTakenBackAndItsTagStaysKnown(t *testing.T) {
	var s Set
	var nearA, nearB Near
	var a, b lease
	for o := range message.Offset(4) {
		s.Hold(&nearA, &a, o)
		s.Hold(&nearB, &b, 100+o)
	}
	s.Settle(3, Ack)
	if n := s.Overdue(func(l Lease) uint64 {
		if l == Lease(&a) {
			return 5
		}
		return 0
	}); n != 2 {
		t.Errorf("%d were taken back, want tags 1 and 5", n)
	}
	s.Tell()
	a.want(t, "ack 1-1", "requeue 0-0", "requeue 2-2")
	b.want(t)
	if s.Len() != 5 {
		t.Errorf("%d are held", s.Len())
	}
	if n := s.Overdue(func(Lease) uint64 { return 0 }); n != 0 {
		t.Errorf("%d more", n)
	}
	a.told = nil
	if !s.Settle(1, Ack) || s.Settle(1, Ack) {
		t.Error("a late verdict is taken once")
	}
	if !s.SettleUpTo(5, Reject) || s.SettleUpTo(5, Reject) { // late itself, and covers 2 and 4
		t.Error("a late verdict on several is taken once")
	}
	s.Tell()
	a.want(t)
	b.want(t, "reject 100-101")
	if s.Len() != 3 || s.late != 0 {
		t.Errorf("%d held, %d late", s.Len(), s.late)
	}
	s.Overdue(func(Lease) uint64 { return s.Last() })
	s.SettleAll(Requeue)
	s.Tell()
	a.want(t, "requeue 3-3")
	b.want(t, "reject 100-101", "requeue 102-103")
	if s.Len() != 0 || s.late != 0 || s.ring.n != 0 {
		t.Errorf("%d held, %d late, %d entries", s.Len(), s.late, s.ring.n)
	}
}

// A client that never settles anything makes nothing grow.
func TestDeliveriesThatWereTakenBackAreForgottenInTime(t *testing.T) {
	var s Set
	var near Near
	var a lease
	for range 8 {
		for o := range message.Offset(maxLate / 2) {
			s.Hold(&near, &a, o)
		}
		s.Overdue(func(Lease) uint64 { return s.Last() })
		s.Tell()
	}
	if s.late > maxLate || len(s.ring.entries) > 4*maxLate {
		t.Errorf("%d are remembered, in %d entries", s.late, len(s.ring.entries))
	}
	if s.Len() != 0 || s.Settle(1, Ack) || !s.Settle(s.Last(), Ack) {
		t.Error("the youngest are remembered, not the oldest")
	}
}
