package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// The consumers of a stream read its log by offset, each for itself: nothing is taken from
// anybody, no work cursor is made, and an ack is room for another message and no more.
//
//	Subscribe ─► begin (streambegin.go) ─► Pull ─► serve, for which there is credit ─► end of the log
//	                                        ▲                   │ not in memory               │
//	            settled: credit again ──────┼───── errand ◄─────┘          an append ◄────────┘
//	                                        └───────────────────────────────────┘
//
// A streamConsumer belongs to whoever has its subscription, but for what is atomic.
type streamConsumer struct {
	q       *Queue
	wake    func() // never nil
	limit   int64  // messages that may be unacked
	filter  *streamFilter
	out     atomic.Int64 // messages that are unacked
	starved atomic.Bool  // it found no credit since the last settlement
	parts   []*streamPart
	turn    int    // whose turn it is among parts
	heads   uint64 // of Delivery.Head, given out last

	// What is left to be looked at in this turn.
	look      message.Offset
	lookBytes int
}

// streamPart is a stream's consumer on one partition: of a stream the only one.
type streamPart struct {
	Lease
	c       *streamConsumer
	next    message.Offset // the first that the consumer was not given
	last    message.Offset // up to which there is no gap; below next: not known
	sinceMs int64          // what is older is left out, until something is not; 0: nothing is
	waits   atomic.Bool    // at the end of the log, for an append
	unwatch func()
	errand  *errand       // what the consumer waits for; nil: nothing
	found   *consumer.Run // what came of it, if it looks for a run
	src     source
	reader  reader
	window  int64 // how much to read at a time where little is wanted of it

	// Of the read under way.
	room    int // how many messages there is credit for
	got     int
	size    int
	looked  int            // bytes of bodies that were looked at
	full    bool           // there was one more,
	refused message.Offset // which was this one

	// The properties of the last message, with its offset in their headers.
	head   uint64 // its Delivery.Head; 0: none
	props  []byte
	digits []byte // of props, where the offset stands
}

// headerOffset tells each consumer of a stream which message it has.
const headerOffset = "x-stream-offset"

const (
	// streamLook is how many messages are looked at in a turn if few of them are wanted.
	streamLook = 1 << 16
	// streamLookBytes is how much of bodies is.
	streamLookBytes = 16 << 20
	// streamWindow is the most that are read at a time.
	streamWindow = 1 << 12
)

// pull is Subscription.Pull.
func (c *streamConsumer) pull(max, maxBytes int, emit func(*Delivery)) (n int, err error) {
	for _, p := range c.q.Partitions()[len(c.parts):] { // that came since
		c.add(p, beginning{}).errand = p.active().errands.send(c.wake, func(*errand) error {
			_, _, err := p.log.Bounds()
			return err
		})
	}
	room, first := maxBytes, c.turn
	c.look, c.lookBytes = streamLook, streamLookBytes
	for i := 0; i < len(c.parts) && n < max && room > 0 && err == nil; i++ {
		p := c.parts[(first+i)%len(c.parts)]
		var got, size int
		got, size, err = p.serve(max-n, room, emit)
		tired := c.tired()
		if got > 0 || err != nil || tired {
			c.turn = (first + i + 1) % len(c.parts)
		}
		n += got
		room -= size
		if tired { // others have their turn
			c.wake()
			break
		}
	}
	if n > 0 {
		counters := &c.q.vhost.b.counters
		counters.Delivered.Add(uint64(n))
		counters.DeliveredBytes.Add(uint64(maxBytes - room))
		c.q.countDelivered(n, false, 0)
	}
	return n, err
}

// tired says that enough was looked at in this turn.
func (c *streamConsumer) tired() bool { return c.look <= 0 || c.lookBytes <= 0 }

// subscribeStream is Subscribe of a stream. That a consumer wants to be alone means nothing: it
// takes nothing from others.
func (s *Session) subscribeStream(sub *Subscription) (*Subscription, error) {
	q, o := sub.q, &sub.o
	switch {
	case o.Prefetch <= 0:
		return nil, fail(Precondition, "consumer prefetch count is not set for stream queue '%s' in vhost '%s'", q.Name, q.vhost.Name)
	case o.NoAck:
		return nil, fail(Unsupported, "automatic acknowledgement not supported by stream queue '%s' in vhost '%s'", q.Name, q.vhost.Name)
	case o.Shared.Limited():
		return nil, fail(Unsupported, "queue '%s' in vhost '%s' does not support global qos", q.Name, q.vhost.Name)
	}
	if err := q.answers(); err != nil {
		return nil, err
	}
	parts := q.Partitions()
	places, err := inTime(q, s.givenUp, func(func() bool) (places []beginning, err error) {
		for _, p := range parts {
			at, err := p.begin(o.from)
			if err != nil {
				return nil, err
			}
			places = append(places, at)
		}
		return places, nil
	})
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted.Load() {
		return nil, fail(NotFound, "no queue '%s' in vhost '%s'", q.Name, q.vhost.Name)
	}
	c := &streamConsumer{q: q, wake: sub.wakeUp, limit: int64(o.Prefetch), filter: o.filter}
	for i, p := range parts {
		c.add(p, places[i])
	}
	sub.stream = c
	if q.subs == nil {
		q.subs = map[*Subscription]struct{}{}
	}
	q.subs[sub] = struct{}{}
	return sub, nil
}

// add stands the consumer at a place of a partition.
func (c *streamConsumer) add(part *Partition, at beginning) *streamPart {
	p := &streamPart{Lease: Lease{part: part, stream: c}, c: c, src: source{part: part, log: part.log}, next: at.next, last: at.next - 1, sinceMs: at.sinceMs}
	p.reader = reader{part: part, lease: &p.Lease, heads: &c.heads, late: true} // what expires elsewhere does not here
	p.unwatch = part.log.Watch(func() {
		if p.waits.Load() && p.waits.Swap(false) {
			c.wake()
		}
	})
	c.parts = append(c.parts, p)
	return p
}

// credit is how many of n messages may be handed out; when it is none the next
// settlement wakes the consumer.
func (c *streamConsumer) credit(n int) int {
	if room := c.limit - c.out.Load(); room > 0 {
		return int(min(room, int64(n)))
	}
	c.starved.Store(true)
	return int(min(max(c.limit-c.out.Load(), 0), int64(n))) // some may have come before the mark
}

// settled gives credit back, whatever the verdict was.
func (c *streamConsumer) settled(n int64) {
	c.out.Add(-n)
	if c.starved.Load() && c.starved.Swap(false) {
		c.wake()
	}
}

// serve hands out what the partition has, within the limits. What it would have to wait
// for it has done, and comes back when that wakes it.
func (p *streamPart) serve(max, maxBytes int, emit func(*Delivery)) (n, size int, err error) {
	if ok, err := p.served(); !ok {
		return 0, 0, err
	}
	for n < max && size < maxBytes && !p.c.tired() {
		room := p.c.credit(max - n)
		if room == 0 {
			return n, size, nil
		}
		if ok, err := p.find(); !ok || p.part.removed.Load() {
			return n, size, err
		}
		before := p.next
		err = p.read(room, maxBytes-size, emit)
		p.c.look -= p.next - before
		p.c.lookBytes -= p.looked
		n += p.got
		size += p.size
		switch {
		case err == nil:
		case p.part.removed.Load():
			return n, size, nil // nothing more comes
		case errors.Is(err, store.ErrNotYet):
			p.errand = p.part.fetch(p.c.wake, p.next, p.reader.viewBytes(int64(room)))
			return n, size, nil
		default:
			return n, size, err
		}
	}
	return n, size, nil
}

// served takes over what the consumer has waited for; ok is false while it waits, and when
// it waited in vain.
func (p *streamPart) served() (ok bool, err error) {
	e := p.errand
	if e == nil {
		return true, nil
	}
	if !e.done() {
		return false, nil
	}
	found := p.found
	p.errand, p.found = nil, nil
	switch {
	case e.reads:
		p.reader.fetched = e
	case e.err != nil:
		return false, p.failed(e.err)
	case found != nil:
		p.stand(*found)
	}
	return true, nil
}

// find says whether there is something to be read: next up to last, which are messages
// without a gap. If not, an append or an errand wakes the consumer.
func (p *streamPart) find() (ok bool, err error) {
	for marked := false; ; {
		start, end, err := p.part.bounds()
		if err != nil {
			return false, p.failed(err)
		}
		p.passed(start)
		switch {
		case p.next <= p.last:
			return true, nil
		case p.next >= end && marked:
			return false, nil
		case p.next >= end:
			p.waits.Store(true)
			marked = true // and look once more, at what came before the mark
			continue
		}
		src, from := &p.src, p.next
		run, err := src.after(from, end, false)
		if errors.Is(err, consumer.ErrWait) {
			found := new(consumer.Run)
			p.found = found
			p.errand = p.part.active().errands.send(p.c.wake, func(*errand) (err error) {
				*found, err = src.after(from, end, true)
				return err
			})
			return false, nil
		}
		if err != nil {
			return false, p.failed(err)
		}
		p.stand(run)
	}
}

// stand has the consumer go on at a run. What is missing before it may be a gap, or what
// retention took while it was looked for.
func (p *streamPart) stand(run consumer.Run) {
	if run.First > p.next {
		if start, _, err := p.part.log.Bounds(); err == nil {
			p.passed(min(start, run.First))
		}
	}
	p.next, p.last = run.First, run.Last
}

// after is the first run of messages from an offset on. If there is none before end it is
// empty, and begins there.
func (s *source) after(from, end message.Offset, wait bool) (consumer.Run, error) {
	first, last, ok, err := s.Next(from, wait)
	if err == nil && !ok {
		first, last = end, end-1
	}
	return consumer.Run{First: first, Last: last}, err
}

// failed is the error of a log, nil if it is gone with its queue.
func (p *streamPart) failed(err error) error {
	if p.part.removed.Load() {
		return nil
	}
	return fmt.Errorf("queue '%s': %w", p.part.q.Name, err)
}

// passed has the consumer go on where the log begins, if it is behind that.
func (p *streamPart) passed(start message.Offset) {
	if p.next >= start {
		return
	}
	p.missed(start - p.next)
	p.next = start
}

// missed tells of messages that retention took before the consumer had them.
func (p *streamPart) missed(n message.Offset) {
	b := p.c.q.vhost.b
	b.counters.Passed.Add(uint64(n))
	p.part.active().missed.Add(int64(n))
	p.part.tellMissed(b.opts.Now())
}

// missedOf tells what retention took of the messages that a read left out. It may have taken them in the
// middle of the read, which finds a gap there then.
func (p *streamPart) missedOf(list []gone) {
	for _, g := range list {
		switch start, _, err := p.part.log.Bounds(); {
		case g.why == Retention:
			p.missed(g.last - g.first + 1)
		case err == nil && g.why == Damaged && g.first < start:
			p.missed(min(g.last, start-1) - g.first + 1)
		}
	}
}

// tellMissed says now and then, for all of a stream's consumers, how many messages they missed; what
// is left over, the saver does.
func (p *Partition) tellMissed(now time.Time) {
	a := p.active()
	if a.missed.Load() == 0 {
		return
	}
	b := p.q.vhost.b
	told := a.missedTold.Load()
	if now.UnixMilli()-told < tellEvery.Milliseconds() || !a.missedTold.CompareAndSwap(told, now.UnixMilli()) {
		b.markDirty(p)
		return
	}
	b.opts.Log.Warn("a stream's consumers are slower than its retention and go on where the stream begins",
		"queue", p.q.Name, "missed", a.missed.Swap(0))
}

// read hands out what is wanted from next up to last, room messages at most.
func (p *streamPart) read(room, maxBytes int, emit func(*Delivery)) error {
	r := &p.reader
	window := max(p.window, int64(room))
	p.room, p.got, p.size, p.full = room, 0, 0, false
	views, props := len(r.views), len(r.props)
	next, _, looked, err := r.read(p.next, min(p.last, p.next+message.Offset(window)-1), maxBytes, func(d *Delivery) { p.take(d, emit) })
	p.missedOf(r.gone)
	r.gone = r.gone[:0]
	p.looked = looked
	if p.next = next; p.full {
		p.next = p.refused
	}
	p.c.out.Add(int64(p.got))
	if p.window = 0; p.got > 0 {
		return err
	}
	for _, v := range r.views[views:] { // nothing of it was wanted
		v.Done()
	}
	clear(r.views[views:])
	r.views, r.props = r.views[:views], r.props[:props]
	p.window = min(2*window, streamWindow)
	return err
}

// take hands on one message if it is wanted, with its offset.
func (p *streamPart) take(d *Delivery, emit func(*Delivery)) {
	if p.full || d.TimestampMs < p.sinceMs {
		return
	}
	p.sinceMs = 0
	if f := p.c.filter; f != nil && !f.wants(d) {
		return
	}
	if p.got == p.room {
		p.full, p.refused = true, d.Offset
		return
	}
	head, props := d.Head, d.Properties
	if head != p.head {
		p.head = 0 // it may be that they can't be read
		p.props, p.digits = appendOffset(p.props[:0], props)
		p.head = head
	}
	binary.BigEndian.PutUint64(p.digits, uint64(d.Offset))
	p.c.heads++ // no two are alike
	d.Head, d.Properties = p.c.heads, p.props
	emit(d)
	d.Head, d.Properties = head, props // the reader goes by them
	p.got++
	p.size += len(d.Body)
}

// appendOffset appends properties with an offset in their headers, and says where to
// write it.
func appendOffset(dst, props []byte) (out, digits []byte) {
	if len(props) == 0 {
		props = []byte{0, 0}
	}
	var zero [9]byte
	zero[0] = field.TagInt64
	at := len(dst)
	out = field.AppendWithHeader(dst, props, headerOffset, zero[:])
	flags := binary.BigEndian.Uint16(out[at:])
	at += 2
	for _, text := range []uint16{field.FlagContentType, field.FlagContentEncoding} {
		if flags&text != 0 {
			at += 1 + int(out[at])
		}
	}
	at += 4 + 1 + len(headerOffset) + 1 // it is the first of the headers
	return out, out[at : at+8]
}

// leave ends what the consumer waits for.
func (c *streamConsumer) leave() {
	for _, p := range c.parts {
		if p.unwatch != nil {
			p.unwatch()
			p.unwatch = nil
		}
		p.errand.drop()
		p.reader.fetched.drop()
		p.errand, p.reader.fetched, p.found = nil, nil, nil
	}
}

// release ends the borrowing of what was emitted.
func (c *streamConsumer) release(left bool) {
	for _, p := range c.parts {
		p.reader.release()
		if left {
			p.reader.unpacked = nil
		}
	}
}
