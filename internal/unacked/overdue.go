package unacked

// maxLate is how many deliveries that were taken back are remembered, 1 MiB of them: a verdict on one that
// was forgotten is as one on a tag that never was.
const maxLate = 1 << 16

// Overdue takes back what was held for too long: of each lease the deliveries up to the tag that upTo gives,
// which is 0 for a lease that has all the time there is. Their messages are requeued, the others stay as they
// are. It says how many they were. A verdict that the client gives on them later is taken and has no effect.
// It costs a look at each delivery up to the last of these tags.
func (s *Set) Overdue(upTo func(Lease) uint64) (n int) {
	ends := make([]uint64, len(s.holders))
	var last uint64
	for i := range s.holders {
		if h := &s.holders[i]; h.lease != nil && h.live > 0 {
			ends[i] = upTo(h.lease)
			last = max(last, ends[i])
		}
	}
	for i := range s.ring.n {
		e := s.ring.at(i)
		tag := s.ring.tag(e)
		if tag > last {
			break
		}
		if e.holder >= proposed || tag > ends[e.holder] {
			continue
		}
		s.note(*e, Requeue)
		e.holder = late
		n++
	}
	s.late += n
	if s.late > maxLate {
		s.forgetLate(maxLate / 2)
	}
	return n
}

// forgetLate leaves that many of the deliveries that were taken back, the youngest.
func (s *Set) forgetLate(leave int) {
	for i := 0; s.late > leave; i++ {
		if e := s.ring.at(i); e.holder == late {
			e.holder = settled
			s.late--
			s.ring.live--
		}
	}
	s.ring.trim()
}
