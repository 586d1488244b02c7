package broker

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Messages expire at the head of their queue, consumer or not: when the queue's time to
// live (x-message-ttl) or their own expiration is over, the lesser of the two, counted
// from their arrival. There is no timer and no memory for a message: one goroutine looks
// at the heads of the queues that got a message that expires, when the head is due or may
// be another than before, and has a run of expired ones leave at once. Whoever asks for a
// count has it done first.
//
//	publish of what expires ─► expects ─► list ─► run, every SaveEvery ─► expireHead ─► retire
//	a start, from the arguments or the mark in the definitions ─┘  ready ─────┘
//
// Only the head counts, as in RabbitMQ: behind a message that lives, others wait.
//
// What came while a consumer was free is that consumer's, as if it had been handed over
// at once: its time does not run out on the short way there, of which a time to live of 0
// would otherwise see nothing arrive.

// expiry is what a log whose messages may expire has beside others.
type expiry struct {
	listed  atomic.Bool               // looked at: something in the log may expire
	seen    atomic.Bool               // and did, or will
	moved   atomic.Bool               // the head may be another than the one looked at last
	due     atomic.Int64              // when the head expires, in ms; never when it does not
	restMs  atomic.Int64              // the disk failed, and nobody looks before that time unasked
	looking sync.Mutex                // held over a look
	steps   atomic.Pointer[[]ttlStep] // of messages that have another time to live than the queue; nil: none
	slow    atomic.Bool               // a looker is to look, or does
	called  atomic.Bool               // a look is to come soon; see punctual
	look    *look                     // punctual.mu guards it
}

// headMoved notes that the head of the log may be another.
func (e *expiry) headMoved(p *Partition) {
	if !e.moved.Load() {
		e.moved.Store(true)
	}
	if p.q.Settings().DeadLetterExchange != nil {
		e.soon(p)
	}
}

const (
	never = math.MaxInt64
	// headRun is how many messages are looked at before those of them that expired leave.
	headRun = 1 << 14
	// lookInterval is when a log is looked at again that could not be read.
	lookInterval = time.Minute
	// longest is more ms than any message lives, and few enough to be added to a time.
	longest = 1 << 50
	// transitMs is how long a message may be on its way to a consumer that was free.
	transitMs = 1000
)

// lesser is after how many ms the first of two times is over; negative is never.
func lesser(a, b int64) int64 {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// over says whether a message with a time to live, of a queue or its own, has expired at
// an age. Nobody who is not there at once gets one of 0, whatever the clock says.
func over(ageMs, ttl int64) bool { return ttl == 0 || ttl > 0 && ageMs > ttl }

// expirer looks at the queues whose messages may expire.
type expirer struct {
	b    *Broker
	mu   sync.Mutex // guards list
	list []*Partition
}

// expects notes that messages that expire were put into the log; seen is false when
// nobody knows whether there are any. Those of a stream stay as long as the others.
func (p *Partition) expects(seen bool) {
	if p.q.Settings().kind == stream {
		return
	}
	e := p.expiring()
	if seen && !e.seen.Load() {
		e.seen.Store(true)
	}
	e.headMoved(p)
	if e.listed.Load() || e.listed.Swap(true) {
		return
	}
	x := &p.q.vhost.b.expirer
	x.mu.Lock()
	x.list = append(x.list, p)
	x.mu.Unlock()
}

// expiring is the log's expiry, made if there is none.
func (p *Partition) expiring() *expiry {
	if e := p.expiry.Load(); e != nil {
		return e
	}
	p.expiry.CompareAndSwap(nil, new(expiry))
	return p.expiry.Load()
}

// run looks at what is due until the broker closes.
func (x *expirer) run() {
	t := time.NewTicker(x.b.opts.SaveEvery)
	defer t.Stop()
	for {
		select {
		case <-x.b.stop:
			x.mu.Lock()
			list := x.list
			x.mu.Unlock()
			x.mark(list)
			return
		case <-t.C:
			x.sweep(x.b.opts.Now().UnixMilli())
			x.b.lookers.relieve()
		}
	}
}

// sweep looks at the listed logs that are due, and lists on those in which something is left.
func (x *expirer) sweep(nowMs int64) {
	x.mu.Lock()
	list := x.list
	x.list = nil
	x.mu.Unlock()
	x.mark(list)
	kept := list[:0]
	for _, p := range list {
		if p.removed.Load() || !p.stillExpires(nowMs) {
			continue
		}
		kept = append(kept, p)
	}
	x.mu.Lock()
	x.list = append(x.list, kept...)
	x.mu.Unlock()
}

// stillExpires looks at the head if it is due, and says whether the log must be looked
// at again. One that holds nothing any more is not, until it expects something.
func (p *Partition) stillExpires(nowMs int64) bool {
	e := p.expiry.Load()
	if e.rests(nowMs) {
		return true
	}
	if err := p.expireIfDue(nowMs, false); err != nil {
		if errors.Is(err, store.ErrNotYet) {
			p.q.vhost.b.lookers.call(p)
			return true
		}
		p.cantLook(e, nowMs, err)
		return true
	}
	if !p.drained() {
		return true
	}
	e.listed.Store(false)
	return !p.drained() && !e.listed.Swap(true) // who appended before that saw it listed
}

// cantLook notes that the head could not be looked at: after a failure that stays, nobody
// looks for a while.
func (p *Partition) cantLook(e *expiry, nowMs int64, err error) {
	if store.Retryable(err) {
		return
	}
	if !p.removed.Load() && !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrFenced) { // another process looks
		p.q.vhost.b.opts.Log.Error("can't look for expired messages; it is tried again in a minute", "queue", p.q.Name, "error", err)
	}
	e.restMs.Store(nowMs + lookInterval.Milliseconds())
}

// rests says whether it is too early to look again where the disk failed.
func (e *expiry) rests(nowMs int64) bool { return nowMs < e.restMs.Load() }

// drained says that nothing is left in the log for its cursor, nor will be once transactions are decided.
func (p *Partition) drained() bool {
	c := p.cursor.Load()
	if c == nil {
		return false
	}
	floor, _ := c.Progress()
	_, end, err := p.log.Bounds()
	return err == nil && floor >= end
}

// expireIfDue has what has expired at the head leave, if it may be due. When it may not
// wait and would have to, it is ErrNotYet.
func (p *Partition) expireIfDue(nowMs int64, wait bool) error {
	e := p.expiry.Load()
	if e == nil || !e.moved.Load() && e.due.Load() > nowMs {
		return nil
	}
	if p.q.Topic && p.cursor.Load() == nil {
		return nil // nobody works on it: its records are kept by time and bytes alone
	}
	switch {
	case wait:
		e.looking.Lock()
	case !e.looking.TryLock():
		return store.ErrNotYet
	}
	defer e.looking.Unlock()
	for !p.removed.Load() { // of a queue that is gone nothing leaves any more
		e.moved.Store(false) // what moves the head from here on is seen the next time
		n, due, err := p.expireHead(nowMs, wait)
		if err != nil {
			e.moved.Store(true)
			return err
		}
		if n == 0 {
			e.due.Store(due)
			return nil
		}
	}
	return nil
}

// expireHead retires the expired messages of the first ready run, at most headRun,
// and says how many left. Otherwise it says when the head is due.
func (p *Partition) expireHead(nowMs int64, wait bool) (n, due int64, err error) {
	c := p.cursor.Load()
	if c == nil {
		if !wait {
			return 0, never, store.ErrNotYet
		}
		if c, err = p.work(); err != nil {
			return 0, never, err
		}
	}
	run, ok, known := consumer.Run{}, false, true
	if wait {
		run, ok = c.Head(headRun)
	} else if run, ok, known = c.HeadNow(headRun); !known {
		return 0, never, store.ErrNotYet
	}
	if !ok {
		return 0, never, c.Err()
	}
	s := headScan{next: run.First, last: run.Last, nowMs: nowMs, due: never, ttlNow: p.q.Settings().MessageTTL}
	s.steps = p.ttlSteps()
	if !run.Redelivered && c.Wanted() {
		s.spareMs = transitMs
	}
	if err := s.read(p.log, wait); err != nil {
		return 0, never, err
	}
	if s.due < never || s.next > run.First {
		p.expiry.Load().seen.Store(true)
	}
	why := Expired
	switch {
	case s.next > run.First:
	case s.lost > 0:
		s.next, why = run.First+s.lost, Damaged
	default:
		return 0, s.due, nil
	}
	n, err = p.retire(nil, run.First, s.next-1, why)
	return max(n, 1), never, err // none are left of them, also if others took them meanwhile
}

// headScan walks a run of messages as far as they have expired.
type headScan struct {
	next, last message.Offset // next is the first that has not, or was not looked at
	nowMs      int64
	ttlNow     int64 // the queue's own time to live; negative: none
	steps      []ttlStep
	queueTTL   int64          // what it was when the batch came
	spareMs    int64          // those whose time is over for no longer are on their way to a consumer
	due        int64          // when next expires
	lost       message.Offset // so many from next on are not in the log any more
	done       bool

	headers []byte // of the record before, our own copy
	ttl     int64  // what they say
}

func (s *headScan) read(l store.Log, wait bool) error {
	for !s.done && s.next <= s.last {
		from := s.next
		read := l.Read
		if !wait {
			read = l.ReadNow
		}
		v, err := read(from, 64<<10) // what is on its way is looked at the next time
		if errors.Is(err, store.ErrOutOfRange) {
			return nil // retention took the head; the next look sees another
		}
		if err != nil {
			return err
		}
		err = v.Use(s.batches)
		v.Done()
		if err != nil {
			return err
		}
		if s.next == from {
			return nil
		}
	}
	return nil
}

func (s *headScan) batches(data []byte) error {
	for len(data) > 0 && !s.done && s.next <= s.last {
		var b batch.Batch
		var err error
		if b, data, err = batch.Next(data); err != nil {
			return err
		}
		if message.Offset(b.LastOffset()) < s.next || b.IsControl() {
			continue
		}
		if base := message.Offset(b.BaseOffset()); base > s.next {
			s.lost, s.done = min(base, s.last+1)-s.next, true
			return nil
		}
		if err := s.batch(b); err != nil {
			return err
		}
	}
	return nil
}

// batch walks the records of one batch, unless its header says that all of them have
// outlived the queue's time. What a Kafka producer compressed expires by the queue's time
// only, and as a whole; what can't be decoded is left to who reads it, unless the disk is
// to blame, which the store has to hear of.
func (s *headScan) batch(b batch.Batch) error {
	base := message.Offset(b.BaseOffset())
	s.queueTTL = ttlAt(s.steps, base, s.ttlNow)
	if s.gone(b.MaxTimestamp(), s.queueTTL) {
		s.next = min(message.Offset(b.LastOffset()), s.last) + 1
		return nil
	}
	if b.Codec() != message.CodecNone {
		s.done = true
		s.dueAt(b.MaxTimestamp(), s.queueTTL)
		return nil
	}
	baseMs, appendTime := b.BaseTimestamp(), b.Attributes()&batch.LogAppendTime != 0
	if appendTime {
		baseMs = b.MaxTimestamp()
	}
	records := message.NewRecords(b.Records())
	var rec message.Record
	for s.next <= s.last {
		more, err := records.Next(&rec)
		if err != nil {
			s.done = true
			return b.Check()
		}
		if !more {
			return nil
		}
		o := base + message.Offset(rec.OffsetDelta)
		if o < s.next {
			continue
		}
		ms := baseMs
		if !appendTime {
			ms += rec.TimestampDelta
		}
		ttl := lesser(s.queueTTL, s.expiration(&rec))
		if o > s.next || !s.gone(ms, ttl) {
			s.done = true
			if o == s.next {
				s.dueAt(ms, ttl)
			}
			return nil
		}
		s.next = o + 1
	}
	return nil
}

// gone says whether a message that came at a time is to leave.
func (s *headScan) gone(ms, ttl int64) bool {
	if ms == message.NoTime {
		return false
	}
	age := s.nowMs - ms
	return over(age, ttl) && (s.spareMs == 0 || age > ttl+s.spareMs)
}

// dueAt notes when the head expires that came at a time.
func (s *headScan) dueAt(ms, ttl int64) {
	if ttl >= 0 && ms != message.NoTime {
		s.due = ms + ttl + 1
	}
}

// expiration is after how many ms the record's message expires, -1 for never. Most
// records have the same headers as the one before.
func (s *headScan) expiration(rec *message.Record) int64 {
	if s.headers != nil && bytes.Equal(rec.Headers.Raw, s.headers) {
		return s.ttl
	}
	s.ttl = -1
	if e, ok := rec.Envelope(); ok {
		s.ttl = expirationOf(e.Properties)
	}
	s.headers = append(s.headers[:0], rec.Headers.Raw...)
	return s.ttl
}

// mayExpire says whether AMQP property bytes have an expiration.
func mayExpire(properties []byte) bool {
	return len(properties) > 0 && properties[0]&(field.FlagExpiration>>8) != 0
}

// expirationOf is after how many ms a message with these properties expires, -1 for never.
func expirationOf(properties []byte) int64 {
	var p field.Properties
	if !mayExpire(properties) || p.Parse(properties) != nil {
		return -1
	}
	ttl, err := strconv.ParseInt(string(p.Expiration), 10, 64)
	if err != nil || ttl < 0 {
		return -1 // a Kafka producer's own lv.a: AMQP publishers are checked
	}
	return min(ttl, longest)
}

// expiryDef is the mark of a queue without a time to live that got a message with an
// expiration. With it a start knows which queues to look at, and opens no other.
type expiryDef struct {
	VHost string `json:"vhost"`
	Queue string `json:"queue"`
}

func (q *Queue) expiryKey() string { return store.Key(prefixExpiry, q.vhost.Name, q.Name) }

// mark writes down which of the queues expect messages that expire, once for each.
func (x *expirer) mark(list []*Partition) {
	var c change
	var marked []*Queue
	for _, p := range list {
		if q := p.q; p.expiry.Load().seen.Load() && q.Settings().MessageTTL < 0 && q.lives() && !q.Deleted() && !q.expires.Load() {
			if c.put(q.expiryKey(), expiryDef{VHost: q.vhost.Name, Queue: q.Name}) != nil {
				continue
			}
			q.expires.Store(true)
			marked = append(marked, q)
		}
	}
	if len(c.entries) == 0 {
		return
	}
	if err := x.b.putDef(c.entries...); err != nil {
		for _, q := range marked {
			q.expires.Store(false) // again the next time
		}
		x.b.opts.Log.Error("can't note which queues hold messages that expire", "queues", len(marked), "error", err)
	}
}

// restoreTTL has a log of an earlier start looked at if its queue has a time to live, and
// the log may hold something.
func (p *Partition) restoreTTL() {
	if p.q.Settings().MessageTTL < 0 {
		return
	}
	if f := p.log.Figures(); !f.Certain || f.Waiting > 0 {
		p.expects(true)
	}
}

// restoreExpiry takes up a mark; ok is false for one of a queue that is gone.
func (b *Broker) restoreExpiry(d expiryDef) (ok bool) {
	v := b.vhosts[d.VHost]
	if v == nil {
		return false
	}
	q, err := v.Queue(d.Queue)
	if err != nil {
		return false
	}
	q.expires.Store(true)
	for _, p := range q.inTurn() {
		p.expects(true)
	}
	return true
}
