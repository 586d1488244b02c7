package broker

import (
	"container/heap"
	"slices"
)

// single is whose turn it is at a queue with x-single-active-consumer. One subscription
// is active: it alone stands at the work cursors. The others wait for it to go, the one
// of the highest priority first and of these who came first.
//
//	Subscribe ─► active, if nobody is ───────────────────► Leave
//	         └─► waiting ─► active ─► yields ─► waiting ───┘
//
// At a quorum queue the active one yields to a newcomer of a higher priority, as on
// RabbitMQ: it gets nothing more, and when it holds nothing any more the newcomer is
// active. At a classic queue it stays.
//
// Queue.mu guards it.
type single struct {
	active  *Subscription
	yields  bool // the active one is to wait again
	waiting placedHeap[*Subscription]
	came    int64 // subscriptions so far
}

// place is where a subscription stands among those that wait.
type place struct {
	since int64
	index int // in the heap; -1: not in it
}

// arrive takes in a new subscription. wake is whom to tell that it yields.
func (t *single) arrive(s *Subscription) (wake *Subscription) {
	t.came++
	s.place = place{since: t.came, index: -1}
	if t.active == nil {
		t.active = s
		return nil
	}
	s.waits.Store(true)
	heap.Push(&t.waiting, s)
	return t.prefer()
}

// depart forgets a subscription. wake is whom to tell that it is its turn.
func (t *single) depart(s *Subscription) (wake *Subscription) {
	if t.active == s {
		t.active = nil
		return t.next()
	}
	heap.Remove(&t.waiting, s.place.index)
	return t.prefer()
}

// prefer decides whether the active one yields. wake is whom to tell that this changed.
func (t *single) prefer() (wake *Subscription) {
	yields := t.active.q.Settings().kind == quorum && len(t.waiting) > 0 && t.waiting[0].o.Priority > t.active.o.Priority
	if yields == t.yields {
		return nil
	}
	t.yields = yields
	t.active.waits.Store(yields)
	return t.active
}

// yielded puts the active one behind those that it yields to, if it does and holds
// nothing. wake is whom to tell that it is its turn.
func (t *single) yielded(s *Subscription) (wake *Subscription) {
	if t.active != s || !t.yields || s.holds() {
		return nil
	}
	heap.Push(&t.waiting, s)
	return t.next()
}

// next makes the first of those that wait the active one.
func (t *single) next() *Subscription {
	t.active, t.yields = nil, false
	if len(t.waiting) > 0 {
		t.active = heap.Pop(&t.waiting).(*Subscription)
		t.active.waits.Store(false)
		t.active.takeOver()
	}
	return t.active
}

// takeOver has a subscription that waited stand at the cursors before it pulls: it is free from now on for what comes.
// One that is stopped never pulls, and may be past the point where it would leave them. Queue.mu is held.
func (s *Subscription) takeOver() {
	if s.stopped {
		return
	}
	s.joins = true
	for _, p := range s.served() {
		s.joinAhead(p)
	}
}

// wakeUp has a subscription pull; nil is nobody.
func (s *Subscription) wakeUp() {
	if s != nil && s.o.Wake != nil {
		s.o.Wake()
	}
}

// holds says whether anything that the subscription got is unacked.
func (s *Subscription) holds() bool {
	return slices.ContainsFunc(s.past, func(pc *partitionConsumer) bool { return pc.member.Held() > 0 })
}

// stepAside takes a subscription that waits off the cursors, and lets the next one have
// its turn if that is all there is to be waited for.
func (s *Subscription) stepAside() {
	s.leaveCursors()
	s.q.mu.Lock()
	s.past = append(s.past, s.partitions...)
	s.partitions = nil
	next := s.q.extras().turn.yielded(s)
	s.q.mu.Unlock()
	next.wakeUp()
}

// drained is called when everything is settled that was held at one cursor.
func (s *Subscription) drained() {
	s.q.mu.Lock()
	next := s.q.extras().turn.yielded(s)
	s.q.mu.Unlock()
	next.wakeUp()
}

// releasePast ends the borrowing from cursors that the subscription stepped aside from,
// and forgets those from which it holds nothing.
func (s *Subscription) releasePast() {
	if len(s.past) == 0 {
		return
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	for _, pc := range s.past {
		pc.release(s.left)
	}
	s.past = slices.DeleteFunc(s.past, func(pc *partitionConsumer) bool { return pc.member.Held() == 0 })
}

// before says who is active first: the higher priority, then who waits longer.
func (s *Subscription) before(other *Subscription) bool {
	if s.o.Priority != other.o.Priority {
		return s.o.Priority > other.o.Priority
	}
	return s.place.since < other.place.since
}

func (s *Subscription) placed(index int) { s.place.index = index }
