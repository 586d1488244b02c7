package broker

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// An exchange of the type x-message-deduplication routes as a fanout exchange, and each name
// once: until its time is over, or x-cache-size others came since.
//
//	publish ─► walk ─► pass: in ids? ─ yes ─► routed nowhere
//	                         └ no ─► ids, under a naming ─► queues ─► stored, committed
//	                                                         ─► seenLog ─► ring ─► confirmed
//
// A name that was taken is under the naming of its publisher until its message is stored as
// its confirm says. Only then is it written down and remembered: what could not be stored, or
// was refused, can be published again. A duplicate that comes in between is confirmed when
// that is decided, and as that is.
type seen struct {
	b       *Broker
	x       *Exchange
	size    int
	ttlMs   int64      // negative: for ever
	lasting bool       // names are on disk
	log     *Partition // where; nil: they are in memory only

	gone atomic.Bool // the exchange is deleted

	mu     sync.Mutex // guards the rest; held over the first read of the log
	loaded bool
	ids    nameMap[remembered]
	listed bool  // it is among the broker's tidiers
	ring   slots // names that are remembered, in the order of the log
	noted  message.Offset
	bad    int // records that could not be read
}

// remembered is a name that was taken.
type remembered struct {
	dueMs int64   // when it is free again
	under *naming // not decided yet; nil: remembered
}

const typeDistinct = "x-message-deduplication"

// newSeen reads the arguments of an exchange. What is wrong with them is said in the plugin's
// words.
func newSeen(x *Exchange, b *Broker) (*seen, error) {
	s := &seen{b: b, x: x, ttlMs: -1, lasting: x.Durable}
	size, given := cacheNumber(x.Args, argCacheSize)
	switch {
	case !given || size <= 0:
		return nil, fail(Precondition, "Missing or invalid argument, '%s' must be an integer greater than 0", argCacheSize)
	case size > maxCacheSize:
		return nil, fail(Precondition, "Invalid argument, '%s' must be at most %d", argCacheSize, maxCacheSize)
	}
	s.size = int(size)
	if ttl, given := cacheNumber(x.Args, argCacheTTL); given {
		if ttl <= 0 || ttl > longest {
			return nil, fail(Precondition, "Invalid argument, '%s' must be an integer greater than 0", argCacheTTL)
		}
		s.ttlMs = ttl
	}
	if f, ok := field.Find(x.Args, argCachePersistence); ok {
		word := string(f.Text())
		if f.Tag() != field.TagString || word != "disk" && word != "memory" {
			return nil, fail(Precondition, "Invalid argument, '%s' must be either 'disk' or 'memory'", argCachePersistence)
		}
		s.lasting = s.lasting && word == "disk"
	}
	return s, nil
}

// end ends it with its exchange.
func (s *seen) end() {
	s.gone.Store(true)
	if s.log != nil {
		s.log.removed.Store(true)
	}
}

// cacheNumber reads a number that may be a text; what is none is 0.
func cacheNumber(table []byte, name string) (n int64, given bool) {
	f, ok := field.Find(table, name)
	if !ok {
		return 0, false
	}
	if n, ok := f.Int(); ok {
		return n, true
	}
	if f.Tag() == field.TagString {
		n, _ = strconv.ParseInt(string(f.Text()), 10, 64)
	}
	return n, true
}

// due is when a message's name is free again. 0 is at once.
func (s *seen) due(headers []byte, nowMs int64) (int64, error) {
	ttl := s.ttlMs
	if f, ok := field.Find(headers, headerCacheTTL); ok {
		n, isInt := f.Int()
		if !isInt {
			var err error
			if n, err = strconv.ParseInt(string(f.Text()), 10, 64); err != nil {
				return 0, fail(Precondition, "invalid %s '%.64s': no integer", headerCacheTTL, argValue(&f))
			}
		}
		ttl = min(max(n, 0), longest)
	}
	if ttl < 0 {
		return never, nil
	}
	return nowMs + ttl, nil
}

// pass says whether a message that comes to the exchange is the first of its name.
func (p *Publisher) pass(s *seen, m *Inbound) (bool, error) {
	id, ok := idOf(m.Headers)
	if !ok {
		return true, nil
	}
	nowMs := p.v.b.opts.Now().UnixMilli()
	dueMs, err := s.due(m.Headers, nowMs)
	if err != nil {
		return false, err
	}
	if p.naming == nil {
		p.naming = new(naming)
	}
	before, ok, err := s.take(id, remembered{dueMs, p.naming}, nowMs)
	switch {
	case err != nil:
		return false, fail(Unavailable, "exchange '%s': %v", s.x.Name, err)
	case ok:
		p.naming.names = append(p.naming.names, newName{s, id, dueMs, m.Ref})
		return true, nil
	}
	p.v.b.counters.Duplicates.Add(1)
	if before.under != nil && before.under != p.naming {
		p.awaited = append(p.awaited, before.under)
	}
	return false, nil
}

// passOr is pass for a walk: what does not pass goes to the alternate exchange, as on RabbitMQ.
func (p *Publisher) passOr(x *Exchange, m *Inbound) (ok bool, decider exchange.Decider, err error) {
	if ok, err = p.pass(x.seen, m); !ok && err == nil {
		p.visitAlternate(x)
	}
	return ok, exchange.Chance, err
}

// take takes a name, or says who has it.
func (s *seen) take(id messageID, r remembered, nowMs int64) (before remembered, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(nowMs); err != nil {
		return before, false, err
	}
	if before, ok = s.ids.get(id); ok && (before.under != nil || nowMs < before.dueMs) {
		return before, false, nil
	}
	s.ids.set(id, r)
	return before, true, nil
}

// free gives a name back that was taken under a naming.
func (s *seen) free(id messageID, under *naming) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, _ := s.ids.get(id); r.under == under {
		s.ids.remove(id)
	}
}

// keep remembers names that are written down from an offset on.
func (s *seen) keep(names []newName, under *naming, base message.Offset, nowMs int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range names {
		if r, _ := s.ids.get(n.id); r.under == under {
			s.remember(slot{n.id, n.dueMs, base + message.Offset(i)}, nowMs)
		}
	}
}

// remember puts a name into the ring, and forgets a few of those whose time is over and those that
// are too many, the oldest first. mu is held.
func (s *seen) remember(n slot, nowMs int64) {
	s.ids.set(n.id, remembered{dueMs: n.dueMs})
	s.ring.push(n)
	s.forget(nowMs, tidyNames)
	if !s.listed && n.dueMs != never && s.ring.n > 0 {
		s.listed = true
		s.b.tidying.add(s)
	}
}

// forget lets names go that are too many, and a few whose time is over. mu is held.
func (s *seen) forget(nowMs int64, few int) (more bool) {
	for ; s.ring.n > 0; few-- {
		first := s.ring.first()
		if s.ring.n <= s.size && (few <= 0 || first.dueMs > nowMs) {
			return first.dueMs <= nowMs
		}
		if r, _ := s.ids.get(first.id); r.under == nil && r.dueMs == first.dueMs {
			s.ids.remove(first.id)
		}
		s.ring.pop()
	}
	return false
}

// forgetAtOnce is how many names are forgotten before others have their turn.
const forgetAtOnce = 1 << 12

// tidy forgets names whose time is over though no others come.
func (s *seen) tidy(now time.Time) bool {
	for until := time.Now().Add(tidyTime); time.Now().Before(until); {
		if s.gone.Load() {
			return false
		}
		if !s.mu.TryLock() {
			return true
		}
		more := s.forget(now.UnixMilli(), forgetAtOnce)
		s.listed = s.ring.n > 0 && s.ring.first().dueMs != never
		keep := s.listed
		s.mu.Unlock()
		if !more {
			s.noteForgotten()
			return keep
		}
	}
	return true
}

// slot is one name in the ring.
type slot struct {
	id     messageID
	dueMs  int64
	offset message.Offset // in the log
}

// slots are names, first in, first out, in pieces of which each is let go of when it was
// gone through.
type slots struct {
	pieces [][]slot
	head   int // in the first piece
	n      int
}

const slotPiece = 1024

func (r *slots) push(n slot) {
	if last := len(r.pieces) - 1; last < 0 || len(r.pieces[last]) == slotPiece {
		r.pieces = append(r.pieces, make([]slot, 0, slotPiece))
	}
	last := &r.pieces[len(r.pieces)-1]
	*last = append(*last, n)
	r.n++
}

func (r *slots) first() *slot { return &r.pieces[0][r.head] }

func (r *slots) pop() {
	r.n--
	if r.head++; r.head == len(r.pieces[0]) {
		r.pieces[0] = nil
		r.pieces, r.head = r.pieces[1:], 0
	}
}
