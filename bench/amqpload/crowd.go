package amqpload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Crowd is many consumers of one queue, over one connection or several, which acknowledge
// each message by itself. Each consumer must get its messages in rising order, and all of
// them together every message once.
type Crowd struct {
	run     *Run
	members []*crowdConn
	seen    []atomic.Uint64 // a bit for each message
	got     atomic.Int64
	want    atomic.Int64 // -1 until the publisher has ended
}

// crowdConn is one connection of a crowd; its fields are its own goroutine's.
type crowdConn struct {
	crowd *Crowd
	conn  *Conn
	first int      // number of its first consumer
	last  []uint64 // by consumer: the latest message's number, plus 1
	to    int      // consumer of the delivery that is being read
	tag   uint64
	left  int // body bytes still to come
	begun bool
	acks  []byte
	late  *measure.Latencies
	end   time.Duration
}

// OpenCrowd declares the load's queue anew and opens a publisher and so many consumers,
// spread over so many connections.
func (l Load) OpenCrowd(ctx context.Context, consumers, conns int) (*Crowd, error) {
	run, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	c := &Crowd{run: run, seen: make([]atomic.Uint64, l.Messages/64+1)}
	c.want.Store(-1)
	for i := range conns {
		if err := c.join(ctx, i*consumers/conns, (i+1)*consumers/conns); err != nil {
			c.Close()
			return nil, fmt.Errorf("consumers on connection %d: %w", i, err)
		}
	}
	return c, nil
}

// join opens a connection with the consumers of these numbers.
func (c *Crowd) join(ctx context.Context, from, to int) error {
	conn, err := Dial(ctx, c.run.load.Address)
	if err != nil {
		return err
	}
	m := &crowdConn{crowd: c, conn: conn, first: from, last: make([]uint64, to-from), late: measure.NewLatencies()}
	c.members = append(c.members, m)
	l := &c.run.load
	if _, err := conn.Call(method(basicQos).u32(0).u16(uint16(l.Prefetch)).u8(0), basicQosOk); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		if _, err := conn.Call(method(basicConsume).u16(0).short(l.Name).short(strconv.Itoa(i)).u8(0).u32(0), basicConsumeOk); err != nil {
			return err
		}
	}
	return nil
}

// PublishAndConsume publishes the load and consumes all of it.
func (c *Crowd) PublishAndConsume(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, c.abort)
	defer stop()
	epoch := time.Now()
	var consuming sync.WaitGroup
	for _, m := range c.members {
		consuming.Go(func() { failWith(cancel, m.consume(epoch)) })
	}
	p := c.run.publishers[0]
	failWith(cancel, p.run(epoch, c.run.load.Messages, c.run.load.For))
	lost := time.AfterFunc(2*measure.StallLimit, func() {
		cancel(fmt.Errorf("%d messages were published, %d delivered", p.sent.Load(), c.got.Load()))
	})
	c.want.Store(p.sent.Load())
	c.knock()
	consuming.Wait()
	lost.Stop()
	if err := context.Cause(ctx); err != nil {
		return Result{}, err
	}
	r := Result{Published: p.sent.Load(), Confirmed: p.confirmed.Load(), Delivered: c.got.Load(), Latency: measure.NewLatencies(), Confirm: p.confirm}
	for _, m := range c.members {
		r.Latency.Merge(m.late)
		r.Elapsed = max(r.Elapsed, m.end)
	}
	return r, c.check(r.Published)
}

// check makes sure that every message came once.
func (c *Crowd) check(published int64) error {
	var distinct int64
	for i := range c.seen {
		distinct += int64(bits.OnesCount64(c.seen[i].Load()))
	}
	if got := c.got.Load(); distinct != published || got != published {
		return fmt.Errorf("%d messages were published, %d delivered, %d of them different", published, got, distinct)
	}
	return nil
}

// CheckEmpty makes sure that nothing is left in the queue; it ends the consumers.
func (c *Crowd) CheckEmpty() error {
	for _, m := range c.members {
		m.conn.Shut()
	}
	c.members = nil
	return c.run.CheckEmpty()
}

// Close deletes the queue and ends the connections.
func (c *Crowd) Close() {
	for _, m := range c.members {
		m.conn.Close()
	}
	c.run.Close()
}

func (c *Crowd) abort() {
	c.run.abort()
	for _, m := range c.members {
		m.conn.Close()
	}
}

// knock makes every consumer look whether all is there.
func (c *Crowd) knock() {
	for _, m := range c.members {
		_ = m.conn.SetReadDeadline(time.Now())
	}
}

func (c *Crowd) complete() bool {
	want := c.want.Load()
	return want >= 0 && c.got.Load() >= want
}

func (m *crowdConn) consume(epoch time.Time) error {
	for !m.crowd.complete() {
		if err := m.conn.fill(); err != nil {
			if !isTimeout(err) {
				return fmt.Errorf("consumers from %d on: %w", m.first, err)
			}
			_ = m.conn.SetReadDeadline(time.Time{}) // it was a knock
			continue
		}
		if err := m.buffered(time.Since(epoch)); err != nil {
			return fmt.Errorf("consumers from %d on: %w", m.first, err)
		}
		if m.crowd.complete() {
			m.crowd.knock()
		}
	}
	return nil
}

// buffered takes every whole frame that was read, and acknowledges what they completed.
func (m *crowdConn) buffered(now time.Duration) error {
	c := m.conn
	var done int64
	for {
		kind, p, n, err := splitFrame(c.buf[c.start:c.end])
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		c.start += n
		complete, err := m.frame(kind, p, now)
		if err != nil {
			return err
		}
		if complete {
			done++
		}
	}
	if done == 0 {
		return nil
	}
	m.end = now
	// Acknowledged first: who sees the count complete may look at the queue.
	_, err := c.Write(m.acks)
	m.acks = m.acks[:0]
	m.crowd.got.Add(done)
	return err
}

// frame takes one frame and tells whether it ended a delivery.
func (m *crowdConn) frame(kind byte, p []byte, now time.Duration) (complete bool, err error) {
	switch kind {
	case frameMethod:
		return false, m.method(p)
	case frameHeader:
		if len(p) < 12 {
			return false, errors.New("content header cut short")
		}
		m.left, m.begun = int(binary.BigEndian.Uint64(p[4:])), false
		if m.left != m.crowd.run.load.BodyBytes {
			return false, fmt.Errorf("body of %d bytes, %d were published", m.left, m.crowd.run.load.BodyBytes)
		}
	case frameBody:
		if len(p) > m.left {
			return false, errors.New("more body than its header says")
		}
		if !m.begun {
			if err := m.message(p, now); err != nil {
				return false, err
			}
		}
		m.begun = true
		if m.left -= len(p); m.left == 0 {
			b := append(m.acks, frameMethod, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80)
			m.acks = append(binary.BigEndian.AppendUint64(b, m.tag), 0, frameEnd)
			return true, nil
		}
	}
	return false, nil
}

func (m *crowdConn) method(p []byte) error {
	if len(p) < 4 || args(p).id() != basicDeliver {
		if len(p) < 4 {
			return errors.New("method frame cut short")
		}
		return closed(args(p).id(), p[4:])
	}
	if len(p) < 14 || len(p) < 14+int(p[4]) {
		return errors.New("delivery cut short")
	}
	at := 5 + int(p[4])
	to, err := strconv.Atoi(string(p[5:at]))
	if err != nil || to < m.first || to >= m.first+len(m.last) {
		return fmt.Errorf("delivery to a consumer %q, which is not here", p[5:at])
	}
	tag := binary.BigEndian.Uint64(p[at:])
	if tag != m.tag+1 || p[at+8] != 0 {
		return fmt.Errorf("delivery tag %d after %d, redelivered %d", tag, m.tag, p[at+8])
	}
	m.to, m.tag = to-m.first, tag
	return nil
}

// message checks what begins a body.
func (m *crowdConn) message(p []byte, now time.Duration) error {
	if len(p) < measure.StampBytes {
		return errors.New("first body frame too short for its stamp")
	}
	seq, at := measure.Stamp(p)
	if seq >= uint64(len(m.crowd.seen))*64 {
		return fmt.Errorf("a message %d, which was never published", seq)
	}
	if seq < m.last[m.to] {
		return fmt.Errorf("consumer %d got message %d after %d", m.first+m.to, seq, m.last[m.to]-1)
	}
	m.last[m.to] = seq + 1
	if bit := uint64(1) << (seq % 64); m.crowd.seen[seq/64].Or(bit)&bit != 0 {
		return fmt.Errorf("message %d came twice", seq)
	}
	m.late.Add(measure.Micros(now), at)
	return nil
}
