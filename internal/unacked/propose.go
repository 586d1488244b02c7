package unacked

// A proposal is a verdict that has no effect before Commit: AMQP's acks in a transaction. It stands in the
// entry of its delivery, in the three bits above the holder:
//
//	holder    31 30 29 28 ... 0
//	           0  0  0  lease      held
//	           n  n  n  lease      held, and verdict nnn-1 is proposed
//	           1  1  1  1 ... 1 x  settled, or late
const (
	proposalShift = 29
	proposed      = uint32(1) << proposalShift // the least holder with a proposal
)

// hasProposal says that a verdict is proposed on the delivery.
func (e *entry) hasProposal() bool { return e.holder >= proposed && e.holder < late }

// Propose is Settle that waits for Commit. A tag with a proposal is not held, as far as the client is concerned.
func (s *Set) Propose(tag uint64, v Verdict) bool {
	i := s.ring.find(tag)
	if i < 0 || !s.propose(s.ring.at(i), v) {
		return false
	}
	s.ring.trim()
	return true
}

// ProposeUpTo is SettleUpTo that waits for Commit.
func (s *Set) ProposeUpTo(tag uint64, v Verdict) bool {
	i := s.ring.find(tag)
	if i < 0 || !s.propose(s.ring.at(i), v) {
		return false
	}
	s.proposeBelow(i, v)
	s.proposedTo = max(s.proposedTo, tag)
	return true
}

// proposeBelow proposes a verdict on what is held below a position. Each tag up to proposedTo has its verdict: many
// acks of this kind cost one look at each delivery together.
func (s *Set) proposeBelow(i int, v Verdict) {
	for i--; i >= 0 && s.ring.tag(s.ring.at(i)) > s.proposedTo; i-- {
		s.propose(s.ring.at(i), v)
	}
	s.ring.trim()
}

// ProposeAll is a proposal on everything that is held and has none.
func (s *Set) ProposeAll(v Verdict) {
	s.proposeBelow(s.ring.n, v)
	s.proposedTo = s.ring.last
}

// propose puts a verdict into an entry, and says whether there was none. One on a delivery that was taken
// back is taken and has no effect.
func (s *Set) propose(e *entry, v Verdict) bool {
	switch {
	case e.holder == late:
		e.holder = settled
		s.late--
		s.ring.live--
	case e.holder < proposed:
		e.holder |= (uint32(v) + 1) << proposalShift
		s.proposals++
	default:
		return false
	}
	return true
}

// Proposals is how many deliveries have one.
func (s *Set) Proposals() int { return s.proposals }

// Commit makes verdicts of the proposals.
func (s *Set) Commit() {
	s.eachProposal(func(e *entry, v Verdict) {
		s.note(*e, v)
		e.holder = settled
		s.ring.live--
	})
	s.ring.trim()
}

// Rollback forgets the proposals: the deliveries are held as before.
func (s *Set) Rollback() { s.eachProposal(func(*entry, Verdict) {}) }

// eachProposal takes every proposal away and hands it to do.
func (s *Set) eachProposal(do func(*entry, Verdict)) {
	for i := 0; s.proposals > 0; i++ {
		if e := s.ring.at(i); e.hasProposal() {
			v := Verdict(e.holder>>proposalShift - 1)
			e.holder &= proposed - 1
			s.proposals--
			do(e, v)
		}
	}
	s.proposedTo = 0
}

// SettleRest is a verdict on everything that is held and has no proposal.
func (s *Set) SettleRest(v Verdict) {
	for i := range s.ring.n {
		e := s.ring.at(i)
		if e.holder == settled || e.hasProposal() {
			continue
		}
		s.settled(*e, v)
		e.holder = settled
		s.ring.live--
	}
	s.ring.trim()
}
