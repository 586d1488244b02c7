package kafka

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Fetch sessions (KIP-227): a client names its partitions once, and from then on what has changed of them; it is answered
// what has changed of them here. A partition of a session is looked at when something was appended to it, when its
// topic or what the client may do has changed, when the client has named it anew, and as long as it has more for the client. So a
// request costs what is new, however many partitions there are:
//
//	partition ─ append ─► fetchPart.notify ─► fetchSession.changed ─► conn.lookInSession ─► answer
//
// A session is of the connection that opened it, and ends with it: elsewhere, Kafka's clients open one anew after a connection
// is lost. One that is not there, or not any more, is answered FETCH_SESSION_ID_NOT_FOUND, upon which they name everything again.

const (
	// maxFetchSessions bounds those of the server, as Kafka's max.incremental.fetch.session.cache.slots does by default.
	maxFetchSessions = 1000
	// fetchSessionAge is how long a session may be unused before any other may take its place, and how old it has
	// to be before one with more partitions may, as Kafka's min.incremental.fetch.session.eviction.ms.
	fetchSessionAge = 2 * time.Minute
	// fetchPartBytes is what a partition of a session takes of memory, and fetchTopicBytes a topic.
	fetchPartBytes  = 450
	fetchTopicBytes = 350
)

// fetchSessions are those of a server.
type fetchSessions struct {
	mu   sync.Mutex
	byID map[int32]*fetchSession
}

// add gives a session an id and a place, that of another one if need be; false says that there is none for it.
func (s *fetchSessions) add(x *fetchSession, now time.Time) bool {
	out, ok := s.enter(x, now)
	if out != nil {
		out.evict()
	}
	return ok
}

// enter is add; out is to be evicted.
func (s *fetchSessions) enter(x *fetchSession, now time.Time) (out *fetchSession, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) >= maxFetchSessions {
		if out = s.weakest(x.size.Load(), now); out == nil {
			return nil, false
		}
		delete(s.byID, out.id)
	}
	if s.byID == nil {
		s.byID = map[int32]*fetchSession{}
	}
	for x.id == 0 || s.byID[x.id] != nil {
		x.id = 1 + rand.Int32N(math.MaxInt32-1)
	}
	s.byID[x.id] = x
	return out, true
}

// weakest is the session that gives way to a new one of so many partitions, nil if none has to: the one that was unused
// for the longest time, or else the smallest, if the new one is larger.
func (s *fetchSessions) weakest(size int64, now time.Time) *fetchSession {
	var stale, small *fetchSession
	since := now.Add(-fetchSessionAge)
	for _, x := range s.byID {
		if x.used.Load() < since.UnixNano() && (stale == nil || x.used.Load() < stale.used.Load()) {
			stale = x
		}
		if x.made.Before(since) && x.size.Load() < size && (small == nil || x.size.Load() < small.size.Load()) {
			small = x
		}
	}
	return cmp.Or(stale, small)
}

// remove takes a session off the list.
func (s *fetchSessions) remove(x *fetchSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[x.id] == x {
		delete(s.byID, x.id)
	}
}

// fetchSession is one of a connection, whose goroutine uses it; others evict it.
type fetchSession struct {
	id     int32
	byID   bool // topics are named by their ids in it
	made   time.Time
	memory *budget.Account // of what stays for long
	wake   func()          // has the connection look
	used   atomic.Int64    // when its last request came, in nanoseconds
	size   atomic.Int64    // partitions
	gone   atomic.Bool     // it was evicted
	// waiting says that a request waits for more than it has found: it is woken by what comes to partitions that are
	// on the list already, too.
	waiting atomic.Bool

	mu        sync.Mutex // held while it is worked with, not while a request waits; guards the rest but for changed
	epoch     int32      // of the next request
	isolation int8       // of the last one
	policy    <-chan struct{}
	topics    map[topicName]*fetchTopic
	taken     int64  // of memory
	offsets   func() // ends the watching of offsetsTopic; nil: it is not watched

	changed changedParts
}

// fetchTopic is a topic of a session.
type fetchTopic struct {
	x     *fetchSession
	name  []byte // nil where it is named by its id
	id    wire.TopicID
	known *topic       // while one of parts has a partition
	parts []*fetchPart // by their numbers
}

// fetchPart is a partition of a session.
type fetchPart struct {
	of    *fetchTopic
	asked wire.FetchPartition
	// end and start are what the client was told of the log; -1: nothing that is still true.
	end, start int64
	part       *broker.Partition // nil while there is none, or it is not a queue's
	unwatch    func()
	next       *fetchPart  // in changedParts
	listed     atomic.Bool // it is in changedParts
	removed    bool        // from the session
}

// changedParts are the partitions to look at, in turn.
type changedParts struct {
	mu          sync.Mutex // a leaf: notify comes from whoever appends
	first, last *fetchPart
}

// add puts a partition at the end, unless it is there.
func (l *changedParts) add(p *fetchPart) (added bool) {
	if p.listed.Swap(true) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.first = p
	} else {
		l.last.next = p
	}
	l.last = p
	return true
}

// take returns all of them, a list by next, and its end. Each is to be unlisted before it is looked at.
func (l *changedParts) take() (first, last *fetchPart) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, last = l.first, l.last
	l.first, l.last = nil, nil
	return first, last
}

// unlist takes the first one off a list that was taken, which others may add again from now on.
func (p *fetchPart) unlist() (rest *fetchPart) {
	rest, p.next = p.next, nil
	p.listed.Store(false)
	return rest
}

// putBack puts what is left of what was taken before all others.
func (l *changedParts) putBack(first, last *fetchPart) {
	if first == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last.next = l.first
	if l.first == nil {
		l.last = last
	}
	l.first = first
}

// notify is called when something has come to the partition, or its topic is gone. It must not block.
func (p *fetchPart) notify() {
	if x := p.of.x; x.changed.add(p) || x.waiting.Load() {
		x.wake()
	}
}

// evict has the session be gone. Who works with it now ends it behind that.
func (x *fetchSession) evict() {
	x.gone.Store(true)
	x.endIfGone()
}

// endIfGone ends a session that was evicted and is not worked with.
func (x *fetchSession) endIfGone() {
	if x.gone.Load() && x.mu.TryLock() {
		x.clear()
		x.mu.Unlock()
	}
}

// clear lets go of all that the session holds. mu is held.
func (x *fetchSession) clear() {
	for _, t := range x.topics {
		for _, p := range t.parts {
			p.drop()
		}
	}
	x.topics = nil
	if x.offsets != nil {
		x.offsets()
		x.offsets = nil
	}
	x.changed.take()
	x.size.Store(0)
	x.memory.Give(x.taken)
	x.taken = 0
}

// drop takes a partition out of its session.
func (p *fetchPart) drop() {
	p.lose()
	p.removed = true
}

// lose forgets what stands behind the number of the partition.
func (p *fetchPart) lose() {
	if p.unwatch != nil {
		p.unwatch()
	}
	p.unwatch, p.part = nil, nil
}

// of is the topic that a request names, nil if the session does not have it.
func (x *fetchSession) of(t wire.FetchTopic) *fetchTopic {
	if t.Name == nil {
		return x.topics[topicName{byID: true, id: t.ID}]
	}
	return x.topics[topicName{name: string(t.Name)}]
}

// put enters a partition that a request names; one that is there already gets the new place. Nil says
// that there is no memory for it.
func (x *fetchSession) put(t wire.FetchTopic, asked wire.FetchPartition) *fetchPart {
	in := x.of(t)
	if in == nil {
		if !x.take(fetchTopicBytes + int64(len(t.Name))) {
			return nil
		}
		in = &fetchTopic{x: x, name: slices.Clone(t.Name), id: t.ID}
		x.topics[topicName{byID: t.Name == nil, name: string(t.Name), id: t.ID}] = in
	}
	at, found := in.find(asked.Index)
	if !found {
		if x.size.Load() >= wire.MaxPartitions || !x.take(fetchPartBytes) {
			return nil
		}
		x.size.Add(1)
		in.parts = slices.Insert(in.parts, at, &fetchPart{of: in, end: -1, start: -1})
	}
	p := in.parts[at]
	p.asked = asked
	x.changed.add(p)
	return p
}

// find is the place of a partition among those of the topic.
func (t *fetchTopic) find(index int32) (at int, found bool) {
	if n := len(t.parts); n > 0 && t.parts[n-1].asked.Index < index {
		return n, false // mostly they come in order
	}
	return slices.BinarySearchFunc(t.parts, index, func(p *fetchPart, index int32) int { return cmp.Compare(p.asked.Index, index) })
}

// forget takes a partition out that a request names.
func (x *fetchSession) forget(t wire.FetchTopic, index int32) {
	in := x.of(t)
	if in == nil {
		return
	}
	at, found := in.find(index)
	if !found {
		return
	}
	in.parts[at].drop()
	in.parts = slices.Delete(in.parts, at, at+1)
	x.size.Add(-1)
	x.give(fetchPartBytes)
	if len(in.parts) == 0 {
		delete(x.topics, topicName{byID: in.name == nil, name: string(in.name), id: in.id})
		x.give(fetchTopicBytes + int64(len(in.name)))
	}
}

func (x *fetchSession) take(n int64) bool {
	if x.memory.Try(n) != nil {
		return false
	}
	x.taken += n
	return true
}

func (x *fetchSession) give(n int64) {
	x.memory.Give(n)
	x.taken -= n
}

// all has every partition looked at.
func (x *fetchSession) all() {
	for _, t := range x.topics {
		for _, p := range t.parts {
			x.changed.add(p)
		}
	}
}

// openFetchSession makes a session of what the request under way names, and enters what it is answered. 0
// says that there is no place or no memory for it: the client names everything each time.
func (c *conn) openFetchSession() (id int32) {
	f := &c.fetch
	now := c.frames.Now()
	x := &fetchSession{byID: f.req.Version >= wire.IDsInFetch, made: now, memory: c.s.members, wake: f.notify, epoch: 1, isolation: f.req.Isolation,
		policy: c.session.PolicyChange(), topics: map[topicName]*fetchTopic{}}
	x.used.Store(now.UnixNano())
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range f.req.Topics {
		for i, asked := range f.req.Of(t) {
			p := x.put(t, asked)
			if p == nil {
				x.clear()
				return 0
			}
			p.tell(&f.found[t.First+i].state)
		}
	}
	if x.size.Load() == 0 || !c.s.fetchSessions.add(x, now) {
		x.clear()
		return 0
	}
	if f.sessions == nil {
		f.sessions = map[int32]*fetchSession{}
	}
	f.sessions[x.id] = x
	return x.id
}

// endFetchSession ends one of the connection's sessions, if there is one of that id.
func (c *conn) endFetchSession(id int32) {
	x := c.fetch.sessions[id]
	if x == nil {
		return
	}
	delete(c.fetch.sessions, id)
	c.s.fetchSessions.remove(x)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clear()
}

// endFetchSessions ends all of them.
func (c *conn) endFetchSessions() {
	for id := range c.fetch.sessions {
		c.endFetchSession(id)
	}
}

// enterFetchSession finds the session of a request that names one, and enters what has changed. With neither a session nor a
// code the request stands for itself.
func (c *conn) enterFetchSession() (*fetchSession, wire.Code) {
	f := &c.fetch
	id, epoch := f.req.SessionID, f.req.SessionEpoch
	if epoch == 0 || epoch == -1 {
		c.endFetchSession(id)
		return nil, wire.None
	}
	x := f.sessions[id]
	switch {
	case x == nil || x.gone.Load():
		c.endFetchSession(id)
		return nil, wire.FetchSessionIDNotFound
	case x.epoch != epoch:
		return nil, wire.InvalidFetchSessionEpoch
	case x.byID != (f.req.Version >= wire.IDsInFetch):
		return nil, wire.FetchSessionTopicIDError
	}
	if !x.update(&f.req, c.frames.Now()) {
		c.endFetchSession(id)
		return nil, wire.FetchSessionIDNotFound
	}
	if x.size.Load() == 0 {
		c.endFetchSession(id)
		return nil, wire.None
	}
	return x, wire.None
}

// update enters what a request says. False says that there is no memory for it.
func (x *fetchSession) update(q *wire.FetchRequest, now time.Time) bool {
	x.used.Store(now.UnixNano())
	x.mu.Lock()
	defer x.endIfGone()
	defer x.mu.Unlock()
	if x.gone.Load() {
		return false
	}
	for _, t := range q.Topics {
		for _, asked := range q.Of(t) {
			if x.put(t, asked) == nil {
				return false
			}
		}
	}
	for _, t := range q.Forgotten {
		for _, index := range q.ForgottenOf[t.First : t.First+t.Len] {
			x.forget(t, index)
		}
	}
	if x.isolation != q.Isolation {
		x.isolation = q.Isolation
		x.all()
	}
	if x.epoch++; x.epoch <= 0 {
		x.epoch = 1
	}
	return true
}

// lookInSession is look for the partitions of a session that have changed.
func (c *conn) lookInSession(x *fetchSession, left int) {
	x.mu.Lock()
	defer x.endIfGone()
	defer x.mu.Unlock()
	f := &c.fetch
	if x.gone.Load() {
		f.failed = true
		return
	}
	if now := c.session.PolicyChange(); now != x.policy {
		x.policy = now
		x.all()
	}
	rest, last := x.changed.take()
	for rest != nil && (f.bytes == 0 || left > 0) && c.roomForFound() {
		p := rest
		if rest = p.unlist(); p.removed {
			continue
		}
		got, again := c.lookAtPart(p, left)
		if again {
			x.changed.add(p)
		}
		if !got.news() {
			continue
		}
		left -= got.state.Records
		f.found = append(f.found, got)
	}
	x.changed.putBack(rest, last)
}

// lookAtPart reads what is there for a partition of a session; again says that it is to be looked at again, whatever happens.
func (c *conn) lookAtPart(p *fetchPart, left int) (got fetched, again bool) {
	t, err := c.stand(p)
	got = c.lookAt(t, err, wire.FetchTopic{Name: p.of.name, ID: p.of.id}, p.asked, left)
	got.of = p
	// One of which there is news is looked at once more: it leaves the list when there is none.
	return got, got.news() || t != nil && t.offsets
}

// news says whether the client is to hear of the partition.
func (g *fetched) news() bool {
	s := &g.state
	return s.Records > 0 || s.Err != wire.None || s.HighWatermark != g.of.end || s.LogStartOffset != g.of.start
}

// stand finds what stands behind a partition and has its changes noted, from before it is looked at.
func (c *conn) stand(p *fetchPart) (*topic, error) {
	in := p.of
	if p.part != nil && !p.part.Queue().Deleted() {
		return in.known, nil
	}
	p.lose()
	t, err := c.topicNamed(broker.Consume, in.name, in.id)
	if err != nil {
		return nil, err
	}
	in.known = t
	if x := in.x; t.offsets && x.offsets == nil {
		x.offsets = c.groups.OffsetLog().Watch(x.wake)
	}
	if p.part = t.partition(p.asked.Index); p.part != nil {
		p.unwatch = c.session.Watch(p.part, p.notify)
	}
	return t, nil
}

// tell notes what the client is told of the partition.
func (p *fetchPart) tell(s *wire.FetchState) {
	p.end, p.start = s.HighWatermark, s.LogStartOffset
	if s.Err != wire.None {
		p.end = -1
	}
}

// told notes what the client is told of all that was found.
func (x *fetchSession) told(found []fetched) {
	x.mu.Lock()
	defer x.endIfGone()
	defer x.mu.Unlock()
	for i := range found {
		found[i].of.tell(&found[i].state)
	}
}
