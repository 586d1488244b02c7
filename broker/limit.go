package broker

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A queue may be limited in what is ready in it, by x-max-length in messages and by
// x-max-length-bytes in bytes of bodies. Beyond that its oldest messages go (drop-head), or
// what is published is refused. Both are exact to a message, also with several publishers:
// they take turns at a limited log, over a look at its length and what follows of it.
//
//	drop-head       append ─► deal out ─► count ─► the first ones too many leave
//	reject-publish  deal out ─► count ─► append those for which there is room
//
// What consumers hold does not count, nor does what one that is free would be handed:
// that is dealt to it before anybody counts. What came back and waits (retry.go) counts as
// what is ready, but is not dropped. What stands behind an open transaction: undecided.go.

// Overflow says what a queue does that is at its limit.
type Overflow uint8

// The ways.
const (
	DropHead      Overflow = iota // drop the oldest
	RejectPublish                 // refuse what is published
	RejectToDead                  // refuse it, and make it a dead letter
)

var overflows = map[string]Overflow{"drop-head": DropHead, "reject-publish": RejectPublish, "reject-publish-dlx": RejectToDead}

// noLimit is a length that no queue has.
const noLimit = math.MaxInt64

// limited says whether there is a limit at all.
func (s *Settings) limited() bool { return s.MaxLength != noLimit || s.MaxLengthBytes != noLimit }

// refuses says whether publishes may be refused.
func (s *Settings) refuses() bool { return s.limited() && s.Overflow != DropHead }

// limiter is what a limited log has beside others.
type limiter struct {
	stale   atomic.Bool  // what is known of bytes and names is to be found anew
	settled atomic.Bool  // nothing came back since the last look
	looking atomic.Bool  // that look is under way: what is too many may be there still
	sent    atomic.Bool  // an errand is to look
	mu      sync.Mutex   // a turn
	bytes   []readyBytes // of the queue's logs
	waits   int64        // messages that wait, of those counted last
	sizes   []int64      // of a batch's bodies; scratch
	runs    []consumer.Run
	names   distinct // with x-message-deduplication

	keylessTold time.Time   // when somebody was told of messages without a key, of a compacted topic
	heldTold    time.Time   // or that too much is undecided
	held        []heldBytes // of the queue's logs

	searching sync.Mutex   // guards search; a leaf
	search    *queueSearch // for names and bytes, under way
}

// dropRun is how many messages leave in one turn of a queue that is far beyond its limit.
const dropRun = 1 << 16

// limiter is the log's, made if there is none; nil if nothing limits it.
func (p *Partition) limiter() *limiter {
	if !p.q.Settings().limited() {
		return nil
	}
	return p.turns()
}

// turns are of those who append to a log that looks at each message, made if there are none.
func (p *Partition) turns() *limiter {
	a := p.q.Partitions()[0].active() // one for all levels of a queue with priorities
	if l := a.limiter.Load(); l != nil {
		return l
	}
	a.limiter.CompareAndSwap(nil, new(limiter))
	return a.limiter.Load()
}

// length is what is ready, or waits to be again, after consumers that are free were dealt theirs. The turn is the
// caller's.
func (l *limiter) length(p *Partition, s *Settings) (messages, bytes int64, err error) {
	l.waits = 0
	l.refresh()
	for _, part := range p.q.inTurn() {
		c, err := part.work()
		if err != nil {
			return 0, 0, err
		}
		c.DealOut()
		waits := c.Retrying()
		messages += c.Ready() + waits
		l.waits += waits
		part.leftWithStart(c)
		if s.MaxLengthBytes != noLimit {
			n, err := l.bytesOf(part).count(part, c)
			if err != nil {
				return 0, 0, err
			}
			bytes += n
		}
		if err := c.Err(); err != nil {
			return 0, 0, err
		}
	}
	return messages, bytes, nil
}

// bytesOf counts the bytes of one of the queue's logs.
func (l *limiter) bytesOf(p *Partition) *readyBytes {
	for len(l.bytes) <= int(p.index) {
		l.bytes = append(l.bytes, readyBytes{})
	}
	return &l.bytes[p.index]
}

// refresh forgets what was not kept up to date, names not in the middle of a batch. The turn is
// the caller's.
func (l *limiter) refresh() {
	if !l.stale.Load() || !l.stale.Swap(false) {
		return
	}
	l.bytes = nil
	if len(l.names.batch) > 0 {
		l.stale.Store(true)
		return
	}
	l.names = distinct{listed: l.names.listed}
}

// limitsChanged has what is known of bytes and names found anew, since for a while it was or will be
// of no use, and not kept.
func (p *Partition) limitsChanged() {
	if c := p.cursor.Load(); c != nil && p.q.Settings().MaxLengthBytes == noLimit {
		c.UntrackReadiness()
	}
	if a := p.q.Partitions()[0].inUse.Load(); a != nil {
		if l := a.limiter.Load(); l != nil {
			l.stale.Store(true)
		}
	}
}

// settingsCame sees to what was appended beside a change of the settings.
func (p *Partition) settingsCame() {
	if p.q.Settings().MessageTTL >= 0 {
		p.expects(true)
	}
	p.cameBack()
}

// trimInTurns is trim that lets others have theirs in between.
func (p *Partition) trimInTurns() {
	for more := true; more; {
		more = p.trimOnce()
	}
}

func (p *Partition) trimOnce() (more bool) {
	l := p.limiter()
	if l == nil || p.q.Settings().Overflow != DropHead {
		return false
	}
	if err := l.beginTrim(p.q); err != nil {
		l.cantTrim(p, err)
		return false
	}
	defer l.mu.Unlock()
	l.looking.Store(true)
	defer l.looking.Store(false)
	l.settled.Store(true)
	more, err := l.trim(p)
	if err != nil {
		l.cantTrim(p, err)
	}
	if more {
		l.settled.Store(false) // who counts now has the rest trimmed
	}
	return more
}

// overfull says whether a queue with those settings holds too much.
func (s *Settings) overfull(messages, bytes int64) bool {
	return messages > s.MaxLength || bytes > s.MaxLengthBytes
}

// trim has the oldest messages leave that are too many, if that is what the queue does. It
// may wait for a disk.
func (p *Partition) trim() {
	if l := p.limiter(); l != nil {
		if err := l.beginTrim(p.q); err != nil {
			l.cantTrim(p, err)
			return
		}
		defer l.mu.Unlock()
		l.looking.Store(true)
		defer l.looking.Store(false)
		l.settled.Store(true) // what comes back from here on is seen the next time
		if p.q.Settings().Overflow == DropHead {
			l.trimAll(p)
		}
	}
}

// cameBack has the limit looked after behind everybody's back, since something is ready
// again.
func (p *Partition) cameBack() {
	l := p.limiter()
	if l == nil {
		return
	}
	l.settled.Store(false)
	if !l.sent.Swap(true) {
		p.active().errands.send(nil, func(*errand) error {
			l.sent.Store(false)
			return p.trimNow(true)
		})
	}
}

// trimNow is trim for who counts: unless nothing came back since the last one, nor since a
// start, after which what consumers held is ready. It is ErrNotYet when it may not wait.
func (p *Partition) trimNow(wait bool) error {
	l := p.limiter()
	switch {
	case l == nil || l.settled.Load() && !l.looking.Load():
		return nil
	case !wait:
		return store.ErrNotYet
	}
	p.trim()
	return nil
}

// trim drops up to dropRun messages, and says whether there may be more to drop. Of a queue
// with priorities the highest go first: they are its head.
func (l *limiter) trim(p *Partition) (more bool, err error) {
	if p.removed.Load() {
		return false, nil
	}
	s := p.q.Settings()
	messages, bytes, err := l.length(p, s)
	if err != nil || !s.overfull(messages, bytes) {
		return false, err
	}
	for _, part := range p.q.inTurn() {
		c, err := part.work()
		if err != nil {
			return false, err
		}
		n := max(messages-s.MaxLength, 0)
		if over := bytes - s.MaxLengthBytes; over > 0 {
			first, err := l.bytesOf(part).first(part, c, over, dropRun)
			if err != nil {
				return false, err
			}
			n = max(n, first)
		}
		if l.runs = c.HoldFirst(min(n, dropRun), l.runs[:0]); len(l.runs) > 0 {
			d := departure{part: part, cursor: c, why: LengthLimit, runs: l.runs}
			d.end()
			return true, nil
		}
	}
	return false, nil
}

// admit says which of a batch's messages there is room for: sizes are those of their
// bodies, and of the others it makes -1, as they are of those that are refused anyhow. It
// returns how many they are.
func (l *limiter) admit(p *Partition, sizes []int64) (n int, err error) {
	if _, err := p.work(); err != nil {
		return 0, err
	}
	s := p.q.Settings()
	messages, bytes, err := l.length(p, s)
	if err != nil {
		return 0, err
	}
	held, heldBytes, err := l.undecided(p, s)
	if err != nil {
		return 0, err
	}
	appetite := int64(0)
	for _, part := range p.q.inTurn() {
		if c := part.cursor.Load(); c != nil && messages == l.waits {
			appetite = max(appetite, c.Appetite())
		}
	}
	messages, bytes = messages+held, bytes+heldBytes
	if held > 0 {
		appetite = 0 // nobody is handed what comes behind it
	}
	for i, size := range sizes {
		switch {
		case size < 0:
			continue // is refused already
		case messages >= s.MaxLength || bytes+size > s.MaxLengthBytes:
			sizes[i] = -1
			continue
		case appetite > 0:
			appetite--
		default:
			messages++
			bytes += size
		}
		n++
	}
	return n, nil
}

// take appends a Kafka producer's batch within the limits, as a whole or not at all.
func (l *limiter) take(p *Partition, b batch.Batch) (store.Position, error) {
	s, err := l.beginAppend(p.q, nil)
	if err != nil {
		return store.Position{}, err
	}
	defer l.mu.Unlock()
	if s.Overflow == DropHead {
		if full, err := l.heldUp(p, s); err != nil {
			return store.Position{}, err
		} else if full {
			return store.Position{}, fail(LimitReached, "queue '%s' in vhost '%s' is beyond its maximum length, and what waits there for the end of a transaction can't be dropped: end it first", p.q.Name, p.q.vhost.Name)
		}
		at, err := p.log.Append(b)
		if err == nil {
			l.appended(p)
		}
		return at, err
	}
	sizes, err := l.bodySizes(p, b)
	if err != nil {
		return store.Position{}, err
	}
	n, err := l.admit(p, sizes)
	switch {
	case err != nil:
		return store.Position{}, err
	case n < len(sizes):
		return store.Position{}, fail(LimitReached, "queue '%s' in vhost '%s' has reached its maximum length", p.q.Name, p.q.vhost.Name)
	}
	at, err := p.log.Append(b)
	if err == nil {
		l.appended(p)
	}
	return at, err
}

// trimAll is trim of one who has the turn. What fails is tried again by the next one, and
// whoever reads the log hears of it.
func (l *limiter) trimAll(p *Partition) {
	for more := true; more; {
		var err error
		if more, err = l.trim(p); err != nil {
			l.cantTrim(p, err)
			return
		}
	}
}

func (l *limiter) cantTrim(p *Partition, err error) {
	if !store.Retryable(err) && !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrFenced) && !p.removed.Load() { // another process does it
		p.q.vhost.b.opts.Log.Error("can't drop messages of a queue that is over its limit", "queue", p.q.Name, "error", err)
	}
}

// bodySizes are the sizes of a batch's bodies.
func (l *limiter) bodySizes(p *Partition, b batch.Batch) ([]int64, error) {
	l.sizes = l.sizes[:0]
	raw := b.Records()
	if b.Codec() != message.CodecNone {
		var err error
		if raw, err = p.q.vhost.b.unpacking.unpack(b.Codec(), raw); err != nil {
			return nil, err
		}
	}
	records := message.NewRecords(raw)
	var rec message.Record
	for {
		more, err := records.Next(&rec)
		if err != nil {
			return nil, err
		}
		if !more {
			return l.sizes, nil
		}
		l.sizes = append(l.sizes, int64(len(rec.Value)))
	}
}
