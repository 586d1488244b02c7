package amqp

import (
	"bytes"
	"fmt"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/spool"
)

// content is a message that comes frame by frame, because it does not fit the read buffer or because
// other frames stand between its own. A client may have one under way on each of its channels; together
// they may be more than memory has room for:
//
//	in memory        grows with what has come, taken from the budget, which they may fill in part
//	in the spool     when that is refused; one piece of memory is needed again when it is whole
//	failed           when the disk is full, too: the rest is dropped, and the publish fails when it is whole
type content struct {
	pending bool // basic.publish was seen
	headed  bool // the content header was seen
	pub     wire.Publish
	size    int
	got     int

	body    spool.Body
	headers int64 // of conn.memory, for the properties
	failed  error
}

func (ch *channel) beginContent(m *wire.BasicPublish) {
	ch.content = content{pending: true, pub: wire.Publish{
		Channel: ch.number, Mandatory: m.Mandatory, Immediate: m.Immediate, Exchange: []byte(m.Exchange), Key: []byte(m.RoutingKey),
	}}
}

// dropContent forgets a message that will not be finished, or is.
func (ch *channel) dropContent() {
	c, t := ch.c, &ch.content
	if t.got > 0 {
		c.in.Body = nil // or it would stay for as long as no publish follows
	}
	c.spool.Drop(&t.body)
	c.memory.Give(t.headers)
	*t = content{}
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
	if n := int64(len(h.Properties)); ch.c.memory.Stand(n) {
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
		if err := ch.c.spool.Append(&t.body, payload, t.size); err != nil {
			ch.c.spool.Drop(&t.body)
			t.failed = spillError(err)
		}
	}
	if t.got += len(payload); t.got == t.size {
		return ch.finishContent()
	}
	return nil
}

func spillError(err error) error {
	return &broker.Error{Kind: broker.Full, Text: "a message that comes in pieces finds no room in memory or on disk", Err: err}
}

// finishContent publishes the message, which is whole.
func (ch *channel) finishContent() *closeError {
	defer ch.dropContent()
	t := &ch.content
	if t.failed == nil {
		var err error
		if t.pub.Body, err = ch.c.spool.Whole(&t.body, netx.Gone(ch.c.nc)); err != nil {
			t.failed = spillError(err)
		}
	}
	if t.failed != nil {
		return ch.publishFailed(t.failed)
	}
	err := ch.publish(&t.pub, false)
	ch.c.in.good = false // the next one that comes whole may be like the last that did, which was another
	return err
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
