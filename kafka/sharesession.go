package kafka

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

const (
	// maxShareSessions bounds those of the server.
	maxShareSessions = 10_000
	// maxShareParts bounds the partitions of a session, and those that a request names. sharePartBytes is the memory for one.
	maxShareParts  = 10_000
	sharePartBytes = 160
	// shareDeliveries is how often a message is delivered at most, where its queue does not say.
	shareDeliveries = 5
)

// shares are the share sessions of a server. A session is a member's, and lives as long as the connection that opened it: what the
// member holds then goes to others.
type shares struct {
	mu     sync.Mutex
	byName map[shareName]*shareSession
}

type shareName struct {
	vhost         *broker.VHost
	group, member string
}

// open makes a session in place of the one that the member had.
func (s *shares) open(c *conn, name shareName) (*shareSession, wire.Code) {
	s.mu.Lock()
	old := s.byName[name]
	delete(s.byName, name)
	if len(s.byName) >= maxShareSessions {
		s.mu.Unlock()
		old.close()
		return nil, wire.ShareSessionLimitReached
	}
	if s.byName == nil {
		s.byName = map[shareName]*shareSession{}
	}
	x := &shareSession{name: name, of: c, session: c.session, lock: c.s.opts.ShareLock, memory: c.s.members, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	s.byName[name] = x
	s.mu.Unlock()
	old.close()
	c.share.opens(x)
	return x, wire.None
}

func (s *shares) find(name shareName) *shareSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

// end closes a session.
func (s *shares) end(x *shareSession) {
	s.mu.Lock()
	if s.byName[x.name] == x {
		delete(s.byName, x.name)
	}
	s.mu.Unlock()
	x.close()
}

// left closes the sessions that a connection has opened.
func (s *shares) left(c *conn) {
	for x := range c.share.opened {
		s.end(x)
	}
	c.share.opened = nil
}

// opens notes a session of the connection, and forgets those that are over.
func (s *sharing) opens(x *shareSession) {
	if s.opened == nil {
		s.opened = map[*shareSession]struct{}{}
	}
	maps.DeleteFunc(s.opened, func(x *shareSession, _ struct{}) bool { return x.over() })
	s.opened[x] = struct{}{}
}

// sharing is what a connection knows of share sessions. It belongs to the connection's goroutine.
type sharing struct {
	opened   map[*shareSession]struct{}
	acquired broker.Acquisition
}

// shareSession is one member's. Its requests come one after the other, as their epochs do, but not over one connection always.
type shareSession struct {
	name    shareName
	of      *conn
	session *broker.Session
	lock    time.Duration
	memory  *budget.Account // of what groups have
	wake    chan struct{}
	ended   chan struct{} // closed with it

	fetching sync.Mutex // held by the ShareFetch under way; guards turn and the subscriptions of parts

	turn int

	mu     sync.Mutex // guards the rest, and what the parts hold; a leaf but for the timer
	epoch  int32      // of the next request
	parts  []*sharePart
	timer  *time.Timer
	closed bool
}

// sharePart is a partition of a session.
type sharePart struct {
	id   wire.TopicID
	n    int32
	sub  *broker.Subscription // nil until it is fetched from
	held []heldRun            // in order
}

// heldRun are messages that the member has, and has not settled.
type heldRun struct {
	first, last message.Offset
	lease       *broker.Lease
	until       time.Time
}

func (x *shareSession) notify() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// enter holds the epoch of a request against the session's, and counts it.
func (x *shareSession) enter(epoch int32) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || epoch >= 0 && epoch != x.epoch {
		return false
	}
	if x.epoch++; x.epoch <= 0 {
		x.epoch = 1
	}
	return true
}

// over says whether the session was closed.
func (x *shareSession) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed
}

// find is the part of a partition, nil if it has none.
func (x *shareSession) find(id wire.TopicID, n int32) *sharePart {
	for _, p := range x.parts {
		if p.n == n && p.id == id {
			return p
		}
	}
	return nil
}

// hold notes what the member was handed.
func (x *shareSession) hold(p *sharePart, runs []broker.Acquired) {
	until := time.Now().Add(x.lock)
	x.mu.Lock()
	for i := range runs {
		r := heldRun{runs[i].First, runs[i].Last, runs[i].Lease, until}
		at, _ := slices.BinarySearchFunc(p.held, r.first, func(h heldRun, o message.Offset) int { return int(min(max(h.first-o, -1), 1)) })
		p.held = slices.Insert(p.held, at, r)
	}
	if x.timer == nil {
		x.timer = time.AfterFunc(x.lock, x.expire)
	}
	closed := x.closed
	x.mu.Unlock()
	if closed { // it ended while they were taken
		x.dropAll(p)
	}
}

// expire gives back what the member holds for too long, and comes again when the next is due.
func (x *shareSession) expire() {
	now := time.Now()
	var late []heldRun
	x.mu.Lock()
	next := time.Time{}
	for _, p := range x.parts {
		p.held = slices.DeleteFunc(p.held, func(h heldRun) bool {
			if !h.until.After(now) {
				late = append(late, h)
				return true
			}
			if next.IsZero() || h.until.Before(next) {
				next = h.until
			}
			return false
		})
	}
	switch {
	case x.closed || next.IsZero():
		x.timer = nil
	default:
		x.timer.Reset(max(next.Sub(now), 10*time.Millisecond))
	}
	x.mu.Unlock()
	release(late)
}

// release gives messages back to whoever comes next.
func release(list []heldRun) {
	for _, h := range list {
		_ = h.lease.Release(h.first, h.last, shareDeliveries) // an error is that the queue is going
	}
}

// dropAll gives back what of a partition is held.
func (x *shareSession) dropAll(p *sharePart) {
	x.mu.Lock()
	list := p.held
	p.held = nil
	x.mu.Unlock()
	release(list)
}

// close ends the session: what it holds goes to others.
func (x *shareSession) close() {
	if x == nil {
		return
	}
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return
	}
	x.closed = true
	if x.timer != nil {
		x.timer.Stop()
	}
	close(x.ended)
	x.mu.Unlock()
	x.fetching.Lock() // a fetch over another connection ends with it
	defer x.fetching.Unlock()
	for _, p := range x.parts { // which only a fetch changes, and none begins any more
		x.part(p)
	}
	x.memory.Give(int64(len(x.parts)) * sharePartBytes)
	x.mu.Lock()
	x.parts = nil
	x.mu.Unlock()
}

// part ends taking part in a partition's turns. What is held goes back before anybody else's turn.
func (x *shareSession) part(p *sharePart) {
	if p.sub != nil {
		p.sub.Stop()
	}
	x.dropAll(p)
	p.leave()
}

// leave ends taking part in the partition's turns. It may write to a disk: a queue may end with its last consumer.
func (p *sharePart) leave() {
	if p.sub != nil {
		p.sub.Close()
		p.sub = nil
	}
}

// What is said of messages, as they stand in requests.
const (
	shareGap     = 0 // there is no such message: done with
	shareAccept  = 1
	shareRelease = 2
	shareReject  = 3
	shareRenew   = 4 // held for the whole time again
)

// shareVerdict is one of them, on a run of messages.
type shareVerdict struct {
	first, last message.Offset
	kind        int8
}

// settle carries out verdicts on messages of a partition: all of them, or none where one is on what the member does not hold.
func (x *shareSession) settle(p *sharePart, verdicts []shareVerdict) wire.Code {
	x.mu.Lock()
	for _, v := range verdicts {
		if v.kind != shareGap && !p.holds(v.first, v.last) {
			x.mu.Unlock()
			return wire.InvalidRecordState
		}
	}
	type settling struct {
		heldRun
		kind int8
	}
	var all []settling
	until := time.Now().Add(x.lock)
	for _, v := range verdicts {
		for _, h := range p.take(v.first, v.last) {
			all = append(all, settling{h, v.kind})
		}
	}
	for _, s := range all {
		if s.kind == shareRenew {
			s.until = until
			at, _ := slices.BinarySearchFunc(p.held, s.first, func(h heldRun, o message.Offset) int { return int(min(max(h.first-o, -1), 1)) })
			p.held = slices.Insert(p.held, at, s.heldRun)
		}
	}
	x.mu.Unlock()
	code := wire.None
	for _, s := range all {
		var err error
		switch s.kind {
		case shareAccept, shareGap:
			err = s.lease.Ack(s.first, s.last)
		case shareRelease:
			err = s.lease.Release(s.first, s.last, shareDeliveries)
		case shareReject:
			err = s.lease.Reject(s.first, s.last)
		}
		if err != nil {
			code = wire.InvalidRecordState
		}
	}
	return code
}

// from is the place of the first run that ends at or behind an offset.
func (p *sharePart) from(first message.Offset) int {
	at, _ := slices.BinarySearchFunc(p.held, first, func(h heldRun, o message.Offset) int { return int(min(max(h.last-o, -1), 1)) })
	return at
}

// holds says whether all of the messages are held.
func (p *sharePart) holds(first, last message.Offset) bool {
	for at := p.from(first); at < len(p.held); at++ {
		h := &p.held[at]
		if h.first > first {
			return false
		}
		if h.last >= last {
			return true
		}
		first = h.last + 1
	}
	return false
}

// take takes those of the messages off the list that are on it.
func (p *sharePart) take(first, last message.Offset) []heldRun {
	at := p.from(first)
	end := at
	var taken, left []heldRun
	for ; end < len(p.held) && p.held[end].first <= last; end++ {
		h := p.held[end]
		if h.first < first {
			left = append(left, heldRun{h.first, first - 1, h.lease, h.until})
		}
		if h.last > last {
			left = append(left, heldRun{last + 1, h.last, h.lease, h.until})
		}
		taken = append(taken, heldRun{max(h.first, first), min(h.last, last), h.lease, h.until})
	}
	p.held = slices.Replace(p.held, at, end, left...)
	return taken
}
