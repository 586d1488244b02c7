package broker

import (
	"math"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A queue with x-message-deduplication takes no message whose name one has that is in it,
// ready or unacked; what it does not take is refused as what a full queue refuses. It knows
// what is in it from its own log: with the first publish after a start the headers of what
// is left there are read (queuesearch.go), and nothing else is written down for it.
//
// What leaves the queue tells nobody. Instead a name that is met again is looked up in the
// work cursor, and each new name has a few others looked up, of which those go that left, or
// whose time is over. While there are many, the saver looks through all of them now and then.
//
//	publish ─► turn (limit.go) ─► mark: names ─► in seen, and does the cursor hold it? ─► refused
//	                                  └─ else ─► append ─► keep: seen
type distinct struct { // guarded by the limiter's turn
	known bool // seen has what an earlier start left
	seen  nameMap[inQueue]
	batch []newID // names in the batch under way

	turn    int       // whose turn it is in seen to be looked at
	listed  bool      // it is among the broker's tidiers
	swept   int       // how much of seen was looked through
	removed int       // in that
	rest    time.Time // nothing more is looked through before
}

// inQueue is where a message of a name is.
type inQueue struct {
	offset message.Offset
	level  uint8
	under  bool  // in the batch under way
	dueMs  int64 // when its name is free again in any case
}

// newID is the name of a message in a batch.
type newID struct {
	id    messageID
	at    int
	dueMs int64
}

// tidyNames is how many names are looked at for each new one.
const tidyNames = 3

// duplicate is the size of a message that the queue has already; others that are refused have
// another negative one.
const duplicate = -2

// mark says which of a batch's messages the queue has already: their sizes it makes duplicate.
func (d *distinct) mark(p *Partition, b batch.Batch, sizes []int64) {
	d.batch = d.batch[:0]
	nowMs := p.q.vhost.b.opts.Now().UnixMilli()
	records := message.NewRecords(b.Records())
	var rec message.Record
	duplicates := uint64(0)
	for i := range sizes {
		if more, err := records.Next(&rec); err != nil || !more {
			break // can't be: it is our own
		}
		n, ok := nameOf(p.q.Settings(), p.q.Settings().MessageTTL, &rec, b.BaseTimestamp()+rec.TimestampDelta)
		if !ok {
			continue
		}
		if d.has(p.q, n.id, nowMs) {
			sizes[i] = duplicate
			duplicates++
			continue
		}
		n.at = i
		d.batch = append(d.batch, n)
		d.seen.set(n.id, inQueue{under: true})
	}
	p.q.vhost.b.counters.Duplicates.Add(duplicates)
}

// nameOf is the name of a message that came at a time.
func nameOf(s *Settings, ttl int64, rec *message.Record, ms int64) (n newID, ok bool) {
	e, ok := rec.Envelope()
	if !ok {
		return n, false // of a Kafka producer
	}
	var props field.Properties
	if props.Parse(e.Properties) != nil {
		return n, false
	}
	if n.id, ok = idOf(props.Headers); !ok {
		return n, false
	}
	n.dueMs = never
	if ttl := lesser(lesser(ttl, expirationOf(e.Properties)), s.CacheTTL); ttl >= 0 {
		n.dueMs = ms + ttl
	}
	return n, true
}

// has says whether a message of that name is in the queue.
func (d *distinct) has(q *Queue, id messageID, nowMs int64) bool {
	at, ok := d.seen.get(id)
	return ok && (at.under || at.stays(q, nowMs))
}

// stays says whether a message is still in the queue, and its name not free.
func (at inQueue) stays(q *Queue, nowMs int64) bool {
	c := q.Partitions()[at.level].cursor.Load()
	return nowMs < at.dueMs && (c == nil || c.Holds(at.offset, at.offset)) // without a cursor nothing has left
}

// keep notes where those messages of the batch under way are that were not refused.
func (d *distinct) keep(p *Partition, sizes []int64, base message.Offset) {
	s := p.q.Settings()
	nowMs := p.q.vhost.b.opts.Now().UnixMilli()
	taken, next := message.Offset(0), 0 // so many of those before next
	for _, n := range d.batch {
		for ; next < n.at; next++ {
			if sizes[next] >= 0 {
				taken++
			}
		}
		d.seen.remove(n.id)
		if sizes[n.at] >= 0 {
			d.add(p.q, n.id, inQueue{offset: base + taken, level: uint8(p.index), dueMs: n.dueMs}, nowMs, s.CacheSize)
		}
	}
	d.batch = d.batch[:0]
}

// stored is keep for an append whose place may have to be waited for.
func (d *distinct) stored(p *Partition, sizes []int64, at store.Position) error {
	base, ok := at.Known()
	if !ok {
		ctx, cancel := asking()
		defer cancel()
		var err error
		if base, err = at.Base(ctx); err != nil {
			return err
		}
	}
	d.keep(p, sizes, base)
	return nil
}

// drop forgets the batch under way, which is not stored.
func (d *distinct) drop() {
	for _, n := range d.batch {
		d.seen.remove(n.id)
	}
	d.batch = d.batch[:0]
}

// add remembers a name. Of a few others those go whose messages left, and some where there
// are as many as may be.
func (d *distinct) add(q *Queue, id messageID, at inQueue, nowMs int64, most int) {
	d.seen.sweep(d.turn, min(tidyNames, most-1), func(at inQueue) bool { return at.left(q, nowMs) })
	for d.turn++; d.seen.n >= most; d.turn++ {
		d.seen.sweep(d.turn, 1, func(inQueue) bool { return true })
	}
	d.seen.set(id, at)
}

// left says whether a name may be forgotten.
func (at inQueue) left(q *Queue, nowMs int64) bool { return !at.under && !at.stays(q, nowMs) }

// nameTidier has the names of a queue tidied up.
type nameTidier struct {
	l *limiter
	q *Queue
}

// listNames has a queue's names looked after while they are many. The turn is the caller's.
func (l *limiter) listNames(q *Queue) {
	if d := &l.names; !d.listed && d.seen.n > fewNames {
		d.listed = true
		q.vhost.b.tidying.add(nameTidier{l, q})
	}
}

// restNames is how long names are left alone of which hardly any had gone.
const restNames = 30 * time.Second

// tidy looks through some of the names, between the turns of publishers, who look after them
// as well.
func (t nameTidier) tidy(now time.Time) bool {
	for until := time.Now().Add(tidyTime); time.Now().Before(until); {
		if !t.l.mu.TryLock() {
			return true
		}
		keep, more := t.l.tidyNames(t.q, now)
		t.l.mu.Unlock()
		if !more {
			return keep
		}
	}
	return true
}

// tidyNames looks through one of the maps. The turn is the caller's.
func (l *limiter) tidyNames(q *Queue, now time.Time) (keep, more bool) {
	d := &l.names
	if d.seen.n <= fewNames || q.deleted.Load() {
		d.listed = false
		return false, false
	}
	if now.Before(d.rest) {
		return true, false
	}
	if q.drained() {
		d.seen = nameMap[inQueue]{}
		d.listed = false
		return false, false
	}
	nowMs := now.UnixMilli()
	d.removed += d.seen.sweep(d.swept, math.MaxInt, func(at inQueue) bool { return at.left(q, nowMs) })
	if d.swept++; d.swept%nameShards > 0 {
		return true, true
	}
	rests := d.removed < d.seen.n/16
	if d.removed = 0; rests {
		d.rest = now.Add(restNames)
	}
	return true, !rests
}

// drained says that nothing is left in any log of a queue.
func (q *Queue) drained() bool {
	for _, part := range q.inTurn() {
		if !part.drained() {
			return false
		}
	}
	return true
}
