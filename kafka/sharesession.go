package kafka

import (
	"errors"
	"maps"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

const (
	// maxShareSessions bounds those of the server.
	maxShareSessions = 10_000
	// maxShareParts bounds the partitions of a session, and those that a request names. sharePartBytes is the memory for one.
	maxShareParts  = 10_000
	sharePartBytes = 240
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
	x := &shareSession{name: name, of: c, session: c.session, groups: c.groups, byID: map[partName]*sharePart{}, memory: c.s.members, wake: make(chan struct{}, 1), ended: make(chan struct{})}
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
	batches  map[sharePlace]shareBatches // what of it is which partition's
	pieces   wire.Pieces
}

// sharePlace is where a partition stands in an answer, shareBatches its part of what was acquired.
type sharePlace struct{ topic, part int }

type shareBatches struct{ first, end, bytes int }

// bigBodies are what batches are gathered in that do not leave as they are stored; there are as many as are worked on at a time.
var bigBodies = sync.Pool{New: func() any { return new([]byte) }}

// bigBody has room for n bytes.
func bigBody(n int) []byte {
	b := *bigBodies.Get().(*[]byte)
	if cap(b) < n {
		b = make([]byte, 0, n)
	}
	return b[:0]
}

func recycleBody(b []byte) {
	if cap(b) > keptBodyBytes {
		bigBodies.Put(&b)
	}
}

// begin has the next records gathered, in memory for about so many bytes of them where they can't be borrowed.
func (s *sharing) begin(bytes int) {
	s.done()
	s.acquired.Room = func() []byte { return bigBody(bytes + bytes/8) }
}

// done gives back what was borrowed, and that memory, when the answer has left.
func (s *sharing) done() {
	if room := s.acquired.Reset(); cap(room) > 0 {
		recycleBody(room)
	}
	clear(s.batches)
	s.pieces.Forget()
}

// took notes that a partition, at a place in the answer, has the pieces of what was acquired from first on.
func (s *sharing) took(at sharePlace, first, bytes int) {
	if s.batches == nil {
		s.batches = map[sharePlace]shareBatches{}
	}
	s.batches[at] = shareBatches{first, s.acquired.Pieces(), bytes}
}

// sendAcquired answers a ShareFetch with what was acquired. An error ends the connection, and what the member holds goes to others.
func (c *conn) sendAcquired(h wire.Header, res *kmsg.ShareFetchResponse) error {
	s := &c.share
	err := c.out.vector(s.pieces.ShareFetch(h, res, func(topic, part int) int { return s.batches[sharePlace{topic, part}].bytes }, func(topic, part int) {
		b := s.batches[sharePlace{topic, part}]
		for i := b.first; i < b.end; i++ {
			s.pieces.Records(s.acquired.Piece(i))
		}
	}))
	if errors.Is(err, syscall.EFAULT) {
		if why := s.acquired.Check(); why != nil {
			c.log.Error("can't read what is being sent; the connection is closed", "error", why)
		}
	}
	return err
}

// shareSession is one member's. Its requests come one after the other, as their epochs do, but not over one connection always.
type shareSession struct {
	name    shareName
	of      *conn
	session *broker.Session
	groups  *group.Coordinator
	memory  *budget.Account // of what groups have
	wake    chan struct{}
	ended   chan struct{} // closed with it

	fetching sync.Mutex // held by the ShareFetch under way; guards turn and the subscriptions of parts

	turn int

	mu     sync.Mutex   // guards the rest, and what the parts hold; a leaf but for the timer
	epoch  int32        // of the next request
	parts  []*sharePart // never changed in place but at its end
	byID   map[partName]*sharePart
	timer  *time.Timer
	due    time.Time // when it fires
	closed bool
	runs   int   // that are held of all parts
	bytes  int64 // of memory that is taken for them
}

type partName struct {
	id wire.TopicID
	n  int32
}

// sharePart is a partition of a session.
type sharePart struct {
	id        wire.TopicID
	n         int32
	forgotten bool
	sub       *broker.Subscription // nil until it is fetched from
	held      heldRuns
}

// settings are the group's, as they are now.
func (x *shareSession) settings() *group.Settings { return x.groups.Settings(x.name.group) }

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
	if x.closed || epoch != -1 && epoch != x.epoch {
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
func (x *shareSession) find(id wire.TopicID, n int32) *sharePart { return x.byID[partName{id, n}] }

// hold notes what the member was handed.
func (x *shareSession) hold(p *sharePart, runs []broker.Acquired) {
	lock := x.settings().ShareLock
	until := time.Now().Add(lock)
	x.mu.Lock()
	before := p.held.n
	for i := range runs {
		p.held.add(heldRun{runs[i].First, runs[i].Last, runs[i].Lease, until})
	}
	x.counts(p, before)
	switch {
	case x.timer == nil:
		x.timer, x.due = time.AfterFunc(lock, x.expire), until
	case until.Before(x.due): // the group's time has been made shorter
		x.timer.Reset(lock)
		x.due = until
	}
	closed := x.closed
	x.mu.Unlock()
	if closed { // it ended while they were taken
		x.dropAll(p)
	}
}

// counts takes memory for what a part holds now, or gives it back. Where there is none the session acquires nothing more until it
// holds less. mu is held.
func (x *shareSession) counts(p *sharePart, before int) {
	x.runs += p.held.n - before
	switch want := int64(x.runs) * heldRunBytes; {
	case want < x.bytes:
		x.memory.Give(x.bytes - want)
		x.bytes = want
	case want > x.bytes && x.memory.Try(want-x.bytes) == nil:
		x.bytes = want
	}
}

// short says whether there is no memory for what the member holds.
func (x *shareSession) short() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.bytes < int64(x.runs)*heldRunBytes
}

// expire gives back what the member holds for too long, and comes again when the next is due.
func (x *shareSession) expire() {
	now := time.Now()
	var late []heldRun
	x.mu.Lock()
	next := time.Time{}
	for _, p := range x.parts {
		var first time.Time
		before := p.held.n
		if late, first = p.held.takeLate(now, late); !first.IsZero() && (next.IsZero() || first.Before(next)) {
			next = first
		}
		x.counts(p, before)
	}
	switch {
	case x.closed || next.IsZero():
		x.timer = nil
	default:
		wait := max(next.Sub(now), 10*time.Millisecond)
		x.timer.Reset(wait)
		x.due = now.Add(wait)
	}
	x.mu.Unlock()
	x.release(late)
}

// release gives messages back to whoever comes next.
func (x *shareSession) release(list []heldRun) {
	limit := x.settings().Deliveries
	for _, h := range list {
		_ = h.lease.Release(h.first, h.last, limit) // an error is that the queue is going
	}
}

// dropAll gives back what of a partition is held.
func (x *shareSession) dropAll(p *sharePart) {
	x.mu.Lock()
	before := p.held.n
	list := p.held.take(0, math.MaxInt64, nil)
	x.counts(p, before)
	x.mu.Unlock()
	x.release(list)
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
	x.parts, x.byID = nil, nil
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

// settle carries out verdicts on messages of a partition: all of them, or none where one is on what the member does not hold. It returns
// when they hold after a kill.
func (x *shareSession) settle(p *sharePart, verdicts []shareVerdict) wire.Code {
	set := x.settings()
	x.mu.Lock()
	for _, v := range verdicts {
		if v.kind != shareGap && !p.held.holds(v.first, v.last) {
			x.mu.Unlock()
			return wire.InvalidRecordState
		}
	}
	type settling struct {
		heldRun
		kind int8
	}
	var all []settling
	var taken []heldRun
	until := time.Now().Add(set.ShareLock)
	before := p.held.n
	for _, v := range verdicts {
		taken = p.held.take(v.first, v.last, taken[:0])
		for _, h := range taken {
			if v.kind == shareRenew {
				h.until = until
				p.held.add(h)
				continue
			}
			all = append(all, settling{h, v.kind})
		}
	}
	x.counts(p, before)
	x.mu.Unlock()
	code := wire.None
	kept := map[*broker.Lease]*settled{}
	for _, s := range all {
		var err error
		switch s.kind {
		case shareAccept, shareGap:
			err = s.lease.Ack(s.first, s.last)
		case shareRelease:
			err = s.lease.Release(s.first, s.last, set.Deliveries)
		case shareReject:
			err = s.lease.Reject(s.first, s.last)
		}
		if err != nil {
			code = wire.InvalidRecordState
			continue
		}
		k := kept[s.lease]
		if k == nil {
			k = new(settled)
			kept[s.lease] = k
		}
		k.upTo, k.came = max(k.upTo, s.last), k.came || s.kind == shareRelease
	}
	for lease, k := range kept {
		if err := lease.Keep(k.upTo, k.came); err != nil {
			x.of.log.Failed("can't keep what was settled", err, "group", x.name.group)
			code = codeOf(err)
		}
	}
	return code
}

// settled is what a request settled of what was held under one lease.
type settled struct {
	upTo message.Offset
	came bool // some came back
}
