package unacked

import (
	"fmt"

	"github.com/leveret-mq/leveret/message"
)

// Verdict is what becomes of a message that was delivered.
type Verdict uint8

// The verdicts.
const (
	Ack     Verdict = iota // it was dealt with
	Requeue                // it goes back to its place
	Reject                 // it is dropped
	Fail                   // it goes back, because something went wrong with it
)

// Lease is what messages are held under; *broker.Lease is one. A verdict is on all
// messages from first to last, each of which was handed out under it.
type Lease interface {
	Ack(first, last message.Offset) error
	Requeue(first, last message.Offset) error
	Reject(first, last message.Offset) error
	Fail(first, last message.Offset) error
	// Keep returns when what was settled up to an offset, in any order, stays so after the process is killed; came says
	// that some of it came back.
	Keep(upTo message.Offset, came bool) error
}

// Set is the deliveries of one channel that wait for a verdict. The zero value is
// ready.
type Set struct {
	// Failed is told of verdicts that a lease did not take, by an error that names the offsets; nil tells nobody. The
	// messages are not the Set's any more either way.
	Failed func(error)
	// Kept, if there is one, notes the verdicts that leases take.
	Kept Kept

	ring    ring
	holders []holder
	byLease map[Lease]uint32
	free    []uint32 // of holders
	sweepAt int      // holders there may be before those without messages are looked for
	waiting []uint32 // holders with a range that was not handed on
	late    int      // entries of deliveries that were taken back; see Overdue

	proposals  int    // entries with a verdict that waits for Commit
	proposedTo uint64 // every delivery up to this tag has one, or none is to be had
}

// holder is one lease under which messages are held, and the range of offsets that
// was settled under it and not handed on yet.
type holder struct {
	lease       Lease
	live        int // entries that name it
	waits       bool
	verdict     Verdict
	first, last message.Offset
}

// Near remembers where a Set keeps a lease, for one whose deliveries are mostly
// under the same. The zero value is ready.
type Near uint32

// minHolders is how many leases are kept before those without messages are forgotten.
const minHolders = 16

// Hold notes a delivery and gives it the next tag. Tags begin with 1.
func (s *Set) Hold(near *Near, lease Lease, offset message.Offset) (tag uint64) {
	n := uint32(*near)
	if int(n) >= len(s.holders) || s.holders[n].lease != lease {
		n = s.holderOf(lease)
		*near = Near(n)
	}
	s.holders[n].live++
	return s.ring.push(offset, n)
}

// Skip gives out a tag that needs no verdict.
func (s *Set) Skip() uint64 { return s.ring.skip() }

// Last is the tag given out last.
func (s *Set) Last() uint64 { return s.ring.last }

// Len is how many deliveries wait for a verdict.
func (s *Set) Len() int { return s.ring.live - s.late }

// Holds says whether a tag waits for a verdict.
func (s *Set) Holds(tag uint64) bool {
	i := s.ring.find(tag)
	return i >= 0 && s.ring.at(i).holder != settled
}

// Settle is a verdict on one delivery; false says that the tag is not held.
func (s *Set) Settle(tag uint64, v Verdict) bool {
	e, ok := s.ring.take(tag)
	if ok {
		s.settled(e, v)
	}
	return ok
}

// settled notes a verdict, unless it is on a delivery that was taken back.
func (s *Set) settled(e entry, v Verdict) {
	if e.holder == late {
		s.late--
		return
	}
	s.note(e, v)
}

// SettleUpTo is a verdict on a delivery and all before it; false says that the tag
// itself is not held, and nothing was settled.
func (s *Set) SettleUpTo(tag uint64, v Verdict) bool {
	if i := s.ring.find(tag); i < 0 || s.ring.at(i).holder == settled {
		return false
	}
	s.popAll(tag, v)
	return true
}

// SettleAll is a verdict on everything that is held.
func (s *Set) SettleAll(v Verdict) { s.popAll(s.ring.last, v) }

func (s *Set) popAll(upTo uint64, v Verdict) {
	for {
		e, ok := s.ring.pop(upTo)
		if !ok {
			return
		}
		s.settled(e, v)
	}
}

// Waiting says that there are verdicts that Tell has not handed on.
func (s *Set) Waiting() bool { return len(s.waiting) > 0 }

// Tell hands all verdicts on to their leases.
func (s *Set) Tell() {
	for _, n := range s.waiting {
		h := &s.holders[n]
		h.waits = false
		s.tell(h)
	}
	s.waiting = s.waiting[:0]
}

// note adds one verdict to its holder's range, or begins a new range.
func (s *Set) note(e entry, v Verdict) {
	h := &s.holders[e.holder]
	h.live--
	if h.waits {
		switch {
		case h.verdict == v && e.offset == h.last+1:
			h.last = e.offset
			return
		case h.verdict == v && e.offset == h.first-1:
			h.first = e.offset
			return
		}
		s.tell(h)
	} else {
		s.waiting = append(s.waiting, e.holder)
	}
	h.waits, h.verdict, h.first, h.last = true, v, e.offset, e.offset
}

// tell hands a holder's range on.
func (s *Set) tell(h *holder) {
	var err error
	switch h.verdict {
	case Ack:
		err = h.lease.Ack(h.first, h.last)
	case Requeue:
		err = h.lease.Requeue(h.first, h.last)
	case Reject:
		err = h.lease.Reject(h.first, h.last)
	case Fail:
		err = h.lease.Fail(h.first, h.last)
	}
	switch {
	case err == nil && s.Kept != nil:
		s.Kept.Note(h.lease, h.last, h.verdict == Requeue || h.verdict == Fail)
	case err != nil && s.Failed != nil:
		s.Failed(fmt.Errorf("offsets %d to %d: %w", h.first, h.last, err))
	}
}

// holderOf gives the number of a lease.
func (s *Set) holderOf(lease Lease) uint32 {
	if n, ok := s.byLease[lease]; ok {
		return n
	}
	if s.byLease == nil {
		s.byLease, s.sweepAt = map[Lease]uint32{}, minHolders
	}
	if len(s.byLease) >= s.sweepAt {
		s.sweep()
	}
	n := uint32(len(s.holders))
	if last := len(s.free) - 1; last >= 0 {
		n, s.free = s.free[last], s.free[:last]
	} else {
		s.holders = append(s.holders, holder{})
	}
	s.holders[n] = holder{lease: lease}
	s.byLease[lease] = n
	return n
}

// sweep forgets leases under which nothing is held any more. The next one comes
// when there are twice as many as are left.
func (s *Set) sweep() {
	for i := range s.holders {
		h := &s.holders[i]
		if h.lease != nil && h.live == 0 && !h.waits {
			delete(s.byLease, h.lease)
			h.lease = nil
			s.free = append(s.free, uint32(i))
		}
	}
	s.sweepAt = max(minHolders, 2*len(s.byLease))
}
