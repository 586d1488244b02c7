package amqp

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
)

// content is a message that comes frame by frame, because it does not fit the read buffer or because
// other frames stand between its own. A client may have one under way on each of its channels; together
// they may be more than memory has room for:
//
//	in memory        grows with what has come, taken from the budget, which they may fill in part
//	in the spill     when that is refused; one piece of memory is needed again when it is whole
//	failed           when the disk is full, too: the rest is dropped, and the publish fails when it is whole
type content struct {
	pending bool // basic.publish was seen
	headed  bool // the content header was seen
	pub     wire.Publish
	size    int
	got     int

	body    []byte // in memory
	taken   int64  // of conn.memory, for body
	headers int64  // of conn.memory, for the properties
	outside bool   // the body is in conn.spill
	spilled spilled
	failed  error
}

func (ch *channel) beginContent(m *wire.BasicPublish) {
	ch.content = content{pending: true, pub: wire.Publish{
		Channel: ch.number, Mandatory: m.Mandatory, Immediate: m.Immediate, Exchange: []byte(m.Exchange), Key: []byte(m.RoutingKey),
	}}
}

// keptBodyBytes is the largest body buffer that is kept for another message.
const keptBodyBytes = 1 << 20

var bodyPool sync.Pool // of *[]byte

// dropContent forgets a message that will not be finished, or is.
func (ch *channel) dropContent() {
	c, t := ch.c, &ch.content
	if t.body != nil {
		c.in.Body = nil // or it would stay for as long as no publish follows
	}
	if n := cap(t.body); n > 0 && n <= keptBodyBytes {
		body := t.body[:0]
		bodyPool.Put(&body)
	}
	c.giveBody(t)
	c.memory.Give(t.headers)
	*t = content{}
}

// giveBody gives back what holds the body.
func (c *conn) giveBody(t *content) {
	if t.taken > 0 {
		c.memory.Give(t.taken)
	}
	if t.outside {
		c.spill.give(&t.spilled)
	}
	t.body, t.taken, t.outside = nil, 0, false
}

// unexpected is about a frame that may not come where the message is, in RabbitMQ's words.
func (t *content) unexpected() *closeError {
	switch {
	case !t.pending:
		return refuse(wire.UnexpectedFrame, "expected method frame, got non method frame instead")
	case !t.headed:
		return &closeError{code: wire.UnexpectedFrame, method: wire.IDBasicPublish,
			text: fmt.Sprintf("expected content header for class %d, got non content header frame instead", wire.ClassBasic)}
	}
	return &closeError{code: wire.UnexpectedFrame, text: "expected content body, got non content body frame instead", method: wire.IDBasicPublish}
}

func (ch *channel) contentHeader(payload []byte) *closeError {
	t := &ch.content
	if !t.pending || t.headed {
		return t.unexpected()
	}
	h, err := wire.ParseContentHeader(payload)
	if err != nil {
		return decodeError(err, wire.IDBasicPublish)
	}
	if h.Class != wire.ClassBasic {
		return &closeError{code: wire.UnexpectedFrame, method: wire.IDBasicPublish,
			text: fmt.Sprintf("expected content header for class %d, got one for class %d instead", wire.ClassBasic, h.Class)}
	}
	limit := uint64(ch.c.session.MaxMessageBytes())
	if h.BodySize > limit {
		return &closeError{code: wire.PreconditionFailed, method: wire.IDBasicPublish,
			text: fmt.Sprintf("message size %d is larger than configured max size %d", h.BodySize, limit)}
	}
	t.headed = true
	t.size = int(h.BodySize)
	if t.size == 0 {
		t.pub.Properties = h.Properties
		return ch.finishContent()
	}
	if n := int64(len(h.Properties)); ch.c.roomFor(n) {
		t.headers, t.pub.Properties = n, bytes.Clone(h.Properties)
	} else {
		t.failed = spillError(nil)
	}
	return nil
}

func (ch *channel) contentBody(payload []byte) *closeError {
	t := &ch.content
	ch.c.inflow.Fed = true
	if !t.headed {
		return t.unexpected()
	}
	if len(payload) > t.size-t.got {
		return &closeError{code: wire.UnexpectedFrame, method: wire.IDBasicPublish,
			text: fmt.Sprintf("content body of %d bytes where %d are left", len(payload), t.size-t.got)}
	}
	if t.failed == nil {
		if err := ch.c.keep(t, payload); err != nil {
			ch.c.giveBody(t)
			t.failed = err
		}
	}
	if t.got += len(payload); t.got == t.size {
		return ch.finishContent()
	}
	return nil
}

// keep holds on to a piece of a body.
func (c *conn) keep(t *content, payload []byte) error {
	if !t.outside && c.grow(t, len(payload)) {
		t.body = append(t.body, payload...)
		return nil
	}
	if !t.outside {
		t.outside = true
		if err := c.spill.append(c.s.opts.Broker, &t.spilled, t.body); err != nil {
			return spillError(err)
		}
		c.memory.Give(t.taken)
		t.body, t.taken = nil, 0
	}
	if err := c.spill.append(c.s.opts.Broker, &t.spilled, payload); err != nil {
		return spillError(err)
	}
	return nil
}

func spillError(err error) error {
	return &broker.Error{Kind: broker.Full, Text: "a message that comes in pieces finds no room in memory or on disk", Err: err}
}

// grow makes room for n more bytes of a body in memory, or says that there is none. Memory follows what
// has arrived, at four times its size at most, not what was announced.
func (c *conn) grow(t *content, n int) bool {
	need := t.got + n
	if need <= cap(t.body) {
		return true
	}
	grown := newBody(max(need, min(t.size, max(4*need, 64<<10))))
	if !c.roomFor(int64(cap(grown))) {
		return false
	}
	grown = append(grown, t.body...)
	c.memory.Give(t.taken)
	t.body, t.taken = grown, int64(cap(grown))
	return true
}

// newBody is an empty body with room for n bytes, one that was used before if there is.
func newBody(n int) []byte {
	if n <= keptBodyBytes {
		if b, ok := bodyPool.Get().(*[]byte); ok && cap(*b) >= n {
			return *b
		}
	}
	return make([]byte, 0, n)
}

// littleBytes is what a connection may hold for unfinished messages when they have their part of all.
const littleBytes = 64 << 10

// roomFor takes memory for unfinished messages. They may hold a part of all: who holds such memory waits for
// a client, who may wait for ever, and the rest must do for those that are finished.
func (c *conn) roomFor(n int64) bool {
	if c.memory.Try(n) != nil {
		return false
	}
	if c.memory.Held() <= littleBytes {
		return true
	}
	if b := c.s.opts.Budget; b.Stats().Used > b.Standing() {
		c.memory.Give(n)
		return false
	}
	return true
}

// finishContent publishes the message, which is whole.
func (ch *channel) finishContent() *closeError {
	defer ch.dropContent()
	t := &ch.content
	if t.failed == nil && t.outside {
		t.failed = ch.c.recall(t)
	}
	if t.failed != nil {
		return ch.publishFailed(t.failed)
	}
	t.pub.Body = t.body
	err := ch.publish(&t.pub, false)
	ch.c.in.good = false // the next one that comes whole may be like the last that did, which was another
	return err
}

// recall reads a spilled body back, as soon as there is memory for it.
func (c *conn) recall(t *content) error {
	gone := netx.Gone(c.nc)
	// One that is larger than anybody's share takes all of it.
	need := min(int64(t.size), max(c.memory.Share()-c.memory.Held(), 0))
	if err := c.memory.Await(need, gone); err != nil {
		return spillError(err)
	}
	t.taken = need
	t.body = make([]byte, t.size)
	if err := c.spill.read(&t.spilled, t.body); err != nil {
		return spillError(err)
	}
	return nil
}

// publishFailed ends a publish that could not be taken: a negative confirm for who asked for one, else an
// error of the channel.
func (ch *channel) publishFailed(err error) *closeError {
	c := ch.c
	c.tellBlocked()
	if !ch.confirm {
		e := asClose(err, wire.IDBasicPublish)
		e.code = wire.PreconditionFailed // it is about one message, and not worth the connection
		return e
	}
	if err := c.endRead(); err != nil { // confirms keep the order of their publishes
		return asClose(err, wire.IDBasicPublish)
	}
	ch.confirmLast++
	c.outMu.Lock()
	refused := c.confirms.New()
	refused.Value = append(refused.Value, confirmMark{ch: ch, first: ch.confirmLast, last: ch.confirmLast})
	done := refused.Wait()
	c.confirms.Push(refused)
	c.outMu.Unlock()
	done(err)
	return nil
}
