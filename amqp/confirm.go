package amqp

import (
	"sync/atomic"

	"github.com/leveret-mq/leveret/amqp/wire"
)

// maxConfirms is how many flushes may wait for the disk before the reader stops reading.
const maxConfirms = 4096

// confirmMark is a run of publishes of one channel, numbered as the client numbers them.
type confirmMark struct {
	ch          *channel
	first, last uint64
}

// confirmBatch is one flush on its way to being durable, with what may be confirmed then. It is kept
// and used again, so that a confirm costs no allocation.
type confirmBatch struct {
	c     *conn
	marks []confirmMark
	state atomic.Uint32
	done  func(error) // bound once to this batch
}

// States of a confirmBatch.
const (
	confirmWaits uint32 = iota
	confirmDone
	confirmRefused
)

// finished is called by the store, on any goroutine.
func (b *confirmBatch) finished(err error) {
	state := confirmDone
	if err != nil {
		state = confirmRefused
		b.c.log.Refused(wire.IDBasicPublish.String(), err, advice(codeOf(err)))
	}
	b.state.Store(state)
	b.c.signal()
}

// confirmQueue is the flushes of a connection that wait, oldest first. conn.outMu guards it.
type confirmQueue struct {
	ring []*confirmBatch
	head int
	n    int
	free []*confirmBatch
}

// push gives an empty batch at the end of the queue.
func (q *confirmQueue) push(c *conn) *confirmBatch {
	var b *confirmBatch
	if n := len(q.free); n > 0 {
		b, q.free = q.free[n-1], q.free[:n-1]
	} else {
		b = &confirmBatch{c: c}
		b.done = b.finished
	}
	b.state.Store(confirmWaits)
	b.marks = b.marks[:0]
	if q.n == len(q.ring) {
		ring := make([]*confirmBatch, max(8, 2*q.n))
		for i := range q.n {
			ring[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = b
	q.n++
	return b
}

// appendDone appends the confirms of all flushes that are done, in order: runs of one channel that follow
// each other and had the same end become one basic.ack or basic.nack.
func (q *confirmQueue) appendDone(buf []byte) []byte {
	var run confirmMark
	refused := false
	for q.n > 0 {
		b := q.ring[q.head]
		state := b.state.Load()
		if state == confirmWaits {
			break
		}
		for _, m := range b.marks {
			if run.ch == m.ch && refused == (state == confirmRefused) {
				run.last = m.last
				continue
			}
			buf = appendConfirm(buf, run, refused)
			run, refused = m, state == confirmRefused
		}
		q.ring[q.head] = nil
		q.head = (q.head + 1) % len(q.ring)
		q.n--
		clear(b.marks)
		q.free = append(q.free, b)
	}
	return appendConfirm(buf, run, refused)
}

// appendConfirm appends one run. All before it were confirmed, so "multiple" means just the run.
func appendConfirm(buf []byte, m confirmMark, refused bool) []byte {
	if m.ch == nil || m.ch.gone {
		return buf
	}
	return wire.AppendConfirm(buf, m.ch.number, m.last, m.last != m.first, refused)
}

// flush ends a read buffer: verdicts go to the broker, publishes to their logs, and their confirms wait
// for the disk. An error is one of storing, for publishes that nobody would otherwise hear about.
func (c *conn) flush() error {
	c.flushSettles()
	if c.flushes == 0 {
		return nil
	}
	unheard := c.plain > 0
	c.flushes, c.plain = 0, 0
	if len(c.touched) == 0 {
		c.publisher.Flush(c.flushed)
		return c.flushErr
	}
	c.outMu.Lock()
	b := c.confirms.push(c)
	for _, ch := range c.touched {
		b.marks = append(b.marks, confirmMark{ch: ch, first: ch.confirmFirst, last: ch.confirmLast})
		ch.confirmFirst = 0
	}
	c.outMu.Unlock()
	c.touched = c.touched[:0]
	c.publisher.Flush(b.done)
	if unheard && b.state.Load() == confirmRefused {
		return refuse(wire.ResourceError, "messages could not be stored")
	}
	return nil
}
