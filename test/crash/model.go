package main

import (
	"fmt"
	"sync"
)

// The queues and who of the publishers reaches them.
const (
	queueAll   = "crash.all"   // every publisher; acks out of order, some requeued, some never acked
	queueOrder = "crash.order" // every publisher; acked in order, in runs
	queuePair  = "crash.pair"  // publisher 1; two consumers
	queueIdle  = "crash.idle"  // publisher 2; nobody reads it but the drain
)

// publishers is how many there are.
const publishers = 3

// prefetch of every consumer.
const prefetch = 50

// reaches says whether the publisher's messages are routed to the queue.
func reaches(queue string, publisher int) bool {
	switch queue {
	case queuePair:
		return publisher == 1
	case queueIdle:
		return publisher == 2
	}
	return true
}

var queues = []string{queueAll, queueOrder, queuePair, queueIdle}

// model knows what was sent, confirmed, seen and acked, and so what must hold.
// Its methods may be called from any goroutine. The first violation is kept.
type model struct {
	mu        sync.Mutex
	sent      [publishers][]sentMessage
	seen      map[string]*[publishers][]seenMessage
	unseenTop map[string]int // messages flagged redelivered that no consumer had seen, since the last start
	wrong     error

	confirmed, deliveries, repeats, flagged int
}

// sentMessage is one message of a publisher; its index is its number.
type sentMessage struct {
	round     int
	confirmed bool
}

// seenMessage is what happened to a message in one queue.
type seenMessage struct {
	deliveries int
	requeued   int  // round in which a consumer put it back last
	gone       bool // the ack is known to have been processed
}

func newModel() *model {
	m := &model{seen: map[string]*[publishers][]seenMessage{}, unseenTop: map[string]int{}}
	for _, q := range queues {
		m.seen[q] = new([publishers][]seenMessage)
	}
	return m
}

// send numbers a publisher's next message.
func (m *model) send(publisher, round int) (number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent[publisher] = append(m.sent[publisher], sentMessage{round: round})
	for _, q := range queues {
		if reaches(q, publisher) {
			m.seen[q][publisher] = append(m.seen[q][publisher], seenMessage{})
		}
	}
	return len(m.sent[publisher]) - 1
}

// confirm notes that the broker confirmed a message.
func (m *model) confirm(publisher, number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent[publisher][number].confirmed = true
	m.confirmed++
}

// restarted begins a new life of the broker.
func (m *model) restarted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.unseenTop)
}

// session is one consumer in one life of the broker.
type session struct {
	queue string
	round int
	last  [publishers]int // number after the highest seen
}

// deliver checks one delivery. It is false when the run is over: something is wrong.
func (m *model) deliver(s *session, publisher, number int, redelivered bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if publisher >= publishers || !reaches(s.queue, publisher) || number >= len(m.sent[publisher]) {
		m.fail("queue %s delivered message %d of publisher %d, which was never sent there", s.queue, number, publisher)
		return false
	}
	m.deliveries++
	sent, seen := &m.sent[publisher][number], &m.seen[s.queue][publisher][number]
	what := fmt.Sprintf("message %d of publisher %d (sent in round %d, confirmed %v, seen %d times) in queue %s", number, publisher, sent.round, sent.confirmed, seen.deliveries, s.queue)
	switch {
	case seen.gone:
		m.fail("%s came back though its ack had been processed", what)
	case seen.deliveries > 0 && !redelivered:
		m.fail("%s came back without the redelivered flag", what)
	case seen.deliveries == 0 && redelivered && sent.round == s.round:
		m.fail("%s carries the redelivered flag though nobody was given it", what)
	}
	if seen.deliveries == 0 && redelivered {
		m.flagged++
		m.unseenTop[s.queue]++
		// What was on its way when the broker died: at most each consumer's prefetch.
		if limit := prefetch * consumersOf(s.queue); m.unseenTop[s.queue] > limit {
			m.fail("queue %s flagged more than %d messages as redelivered that no consumer can have seen: %s", s.queue, limit, what)
		}
	}
	if seen.requeued != s.round {
		if number < s.last[publisher] {
			m.fail("%s came after message %d", what, s.last[publisher]-1)
		}
		s.last[publisher] = max(s.last[publisher], number+1)
	}
	if seen.deliveries > 0 {
		m.repeats++
	}
	seen.deliveries++
	return m.wrong == nil
}

func consumersOf(queue string) int {
	if queue == queuePair {
		return 2
	}
	return 1
}

// requeue notes that a consumer put a message back.
func (m *model) requeue(s *session, publisher, number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[s.queue][publisher][number].requeued = s.round
}

// gone notes that the acks of these messages were processed for sure.
func (m *model) gone(queue string, list []delivered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range list {
		m.seen[queue][d.publisher][d.number].gone = true
	}
}

// delivered names a message that a consumer holds.
type delivered struct{ publisher, number int }

// drained checks, with every queue read empty, that nothing confirmed is
// missing and that no life of the broker left a hole.
func (m *model) drained() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range queues {
		for p := range publishers {
			if !reaches(q, p) {
				continue
			}
			hole := -1
			for n, seen := range m.seen[q][p] {
				sent := m.sent[p][n]
				if hole >= 0 && m.sent[p][hole].round != sent.round {
					hole = -1
				}
				switch {
				case seen.deliveries == 0 && sent.confirmed:
					return fmt.Errorf("message %d of publisher %d, confirmed in round %d, is lost from queue %s", n, p, sent.round, q)
				case seen.deliveries == 0 && hole < 0:
					hole = n
				case seen.deliveries > 0 && hole >= 0:
					return fmt.Errorf("queue %s has message %d of publisher %d but not message %d, which was sent before it in round %d", q, n, p, hole, sent.round)
				}
			}
		}
	}
	return m.wrong
}

// settle takes everything that was sent so far as gone: the drain acked it, or
// it never arrived and must not turn up later.
func (m *model) settle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range queues {
		for p := range publishers {
			for n := range m.seen[q][p] {
				m.seen[q][p][n].gone = true
			}
		}
	}
}

// fail keeps the first violation. The caller holds mu.
func (m *model) fail(format string, args ...any) {
	if m.wrong == nil {
		m.wrong = fmt.Errorf(format, args...)
	}
}

// bad is fail for callers without mu.
func (m *model) bad(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail(format, args...)
}

func (m *model) violation() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

func (m *model) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	sent := 0
	for _, list := range m.sent {
		sent += len(list)
	}
	return fmt.Sprintf("amqp %d sent, %d confirmed, %d delivered (%d again, %d flagged unseen)", sent, m.confirmed, m.deliveries, m.repeats, m.flagged)
}
