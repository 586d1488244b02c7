package amqp

import (
	"slices"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/unacked"
)

// settleFailed is told of verdicts that the broker did not take. That means that the queue or its disk is
// gone, which other verbs report.
func (ch *channel) settleFailed(err error) {
	ch.c.log.Error("can't settle messages", "error", err)
}

// takeSettles handles the acks, nacks and rejects of one channel that stand together at the front of the
// read buffer; conn.settle holds the first.
func (c *conn) takeSettles(ch *channel) *closeError {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for {
		n := wire.ParseSettle(c.rb.Unread(), &c.settle)
		if n == 0 || c.settle.Channel != ch.number {
			return nil
		}
		c.rb.Advance(n)
		c.frames++
		if err := ch.settleLocked(&c.settle); err != nil {
			err.method = c.settle.Method
			return err
		}
	}
}

// settle takes a frame that did not come by takeSettles.
func (ch *channel) settle(s *wire.Settle) error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if err := ch.settleLocked(s); err != nil {
		return err
	}
	return nil
}

func (ch *channel) settleLocked(s *wire.Settle) *closeError {
	v := unacked.Ack
	if s.Method != wire.IDBasicAck {
		v = unacked.Reject
		switch {
		case s.Requeue && s.Method == wire.IDBasicReject:
			v = unacked.Fail // as RabbitMQ has it since 4.3; a nack says nothing of the message
		case s.Requeue:
			v = unacked.Requeue
		}
	}
	known := true
	switch {
	case ch.tx != nil:
		known = ch.propose(s, v)
	case !s.Multiple:
		known = ch.unacked.Settle(s.Tag, v)
	case s.Tag == 0:
		ch.unacked.SettleAll(v)
	default:
		known = ch.unacked.SettleUpTo(s.Tag, v)
	}
	if !known {
		return refuse(wire.PreconditionFailed, "unknown delivery tag %d", s.Tag)
	}
	if !ch.isDirty && ch.unacked.Waiting() {
		ch.isDirty = true
		ch.c.dirty = append(ch.c.dirty, ch)
	}
	return nil
}

// propose has a verdict wait for tx.commit.
func (ch *channel) propose(s *wire.Settle, v unacked.Verdict) (known bool) {
	switch {
	case !s.Multiple:
		return ch.unacked.Propose(s.Tag, v)
	case s.Tag == 0:
		ch.unacked.ProposeAll(v)
		return true
	}
	return ch.unacked.ProposeUpTo(s.Tag, v)
}

// tellBroker hands all verdicts to the broker. mu is held.
func (ch *channel) tellBroker() {
	ch.unacked.Tell()
	if ch.isDirty {
		ch.isDirty = false
		if i := slices.Index(ch.c.dirty, ch); i >= 0 {
			ch.c.dirty = slices.Delete(ch.c.dirty, i, i+1)
		}
	}
}

// tellSettles ends a read buffer's acknowledgements.
func (c *conn) tellSettles() {
	for len(c.dirty) > 0 {
		ch := c.dirty[len(c.dirty)-1]
		ch.mu.Lock()
		ch.tellBroker()
		ch.mu.Unlock()
	}
}

// requeueAll returns everything that is unacked to its queue. mu is held.
func (ch *channel) requeueAll() {
	ch.unacked.Rollback()
	ch.unacked.SettleAll(unacked.Fail)
	ch.tellBroker()
}

// recover is basic.recover.
func (ch *channel) recover(requeue bool, reply wire.Method) error {
	if !requeue {
		return refuse(wire.NotImplemented, "requeue=false")
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if reply != nil {
		ch.sendFirst(reply)
	}
	ch.unacked.SettleRest(unacked.Requeue) // what was acked in a transaction is not the client's to get
	ch.tellBroker()
	return nil
}

// sendFirst puts an answer into the outbox that leaves before anything that is delivered on the channel from
// then on. mu is held.
func (ch *channel) sendFirst(m wire.Method) {
	c := ch.c
	ch.unsaid++
	c.outMu.Lock()
	c.out = wire.AppendMethod(c.out, ch.number, m)
	c.unsaid = append(c.unsaid, ch)
	c.outMu.Unlock()
	c.signal()
}
