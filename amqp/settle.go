package amqp

import (
	"slices"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
)

// verdict is what becomes of a message that was delivered.
type verdict uint8

const (
	ack verdict = iota
	requeue
	reject
)

// holder is one lease under which the channel holds messages, and the range of offsets that was settled
// under it but not told to the broker yet.
type holder struct {
	lease       *broker.Lease
	live        int // unacked entries that name it
	waiting     bool
	verdict     verdict
	first, last message.Offset
}

// holderOf gives the number of a lease. mu is held.
func (ch *channel) holderOf(lease *broker.Lease) uint32 {
	if n, ok := ch.byLease[lease]; ok {
		return n
	}
	if ch.byLease == nil {
		ch.byLease = map[*broker.Lease]uint32{}
	}
	n := -1
	if len(ch.holders) > 16+2*len(ch.consumers) {
		n = ch.sweepHolders()
	}
	if n < 0 {
		n = len(ch.holders)
		ch.holders = append(ch.holders, holder{})
	}
	ch.holders[n] = holder{lease: lease}
	ch.byLease[lease] = uint32(n)
	return uint32(n)
}

// sweepHolders forgets leases under which nothing is held any more, and gives a free number or -1.
func (ch *channel) sweepHolders() int {
	free := -1
	for i := range ch.holders {
		h := &ch.holders[i]
		if h.live == 0 && !h.waiting {
			delete(ch.byLease, h.lease)
			h.lease = nil
			free = i
		}
	}
	return free
}

// takeSettles handles the acks, nacks and rejects of one channel that stand together at the front of the
// read buffer; conn.settle holds the first.
func (c *conn) takeSettles(ch *channel) *closeError {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for {
		n := wire.ParseSettle(c.rb.bytes(), &c.settle)
		if n == 0 || c.settle.Channel != ch.number {
			return nil
		}
		c.rb.advance(n)
		if err := ch.settleLocked(&c.settle); err != nil {
			err.method = c.settle.Method
			return err
		}
	}
}

// settle is the way of a frame that did not come by takeSettles.
func (ch *channel) settle(s *wire.Settle) error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if err := ch.settleLocked(s); err != nil {
		return err
	}
	return nil
}

func (ch *channel) settleLocked(s *wire.Settle) *closeError {
	v := ack
	if s.Method != wire.IDBasicAck {
		v = reject
		if s.Requeue {
			v = requeue
		}
	}
	if !s.Multiple {
		e, ok := ch.unacked.take(s.Tag)
		if !ok {
			return refuse(wire.PreconditionFailed, "unknown delivery tag %d", s.Tag)
		}
		ch.note(e, v)
		return nil
	}
	upTo := s.Tag
	if upTo == 0 {
		upTo = ch.unacked.last
	} else if i := ch.unacked.find(upTo); i < 0 || ch.unacked.at(i).holder == settled {
		return refuse(wire.PreconditionFailed, "unknown delivery tag %d", s.Tag)
	}
	ch.popAll(upTo, v)
	return nil
}

func (ch *channel) popAll(upTo uint64, v verdict) {
	for {
		e, ok := ch.unacked.pop(upTo)
		if !ok {
			return
		}
		ch.note(e, v)
	}
}

// requeueAll returns everything that is unacked. mu is held.
func (ch *channel) requeueAll() { ch.popAll(ch.unacked.last, requeue) }

// note adds one verdict to its holder's range, or begins a new range.
func (ch *channel) note(e unackedEntry, v verdict) {
	h := &ch.holders[e.holder]
	h.live--
	if h.waiting {
		switch {
		case h.verdict == v && e.offset == h.last+1:
			h.last = e.offset
			return
		case h.verdict == v && e.offset == h.first-1:
			h.first = e.offset
			return
		}
		ch.tell(h)
	} else {
		ch.settling = append(ch.settling, e.holder)
		if !ch.isDirty {
			ch.isDirty = true
			ch.c.dirty = append(ch.c.dirty, ch)
		}
	}
	h.waiting, h.verdict, h.first, h.last = true, v, e.offset, e.offset
}

// tell hands a holder's range to the broker. Its errors mean that the queue or its disk is gone, which
// other verbs report; the message is not ours any more either way.
func (ch *channel) tell(h *holder) {
	var err error
	switch h.verdict {
	case ack:
		err = h.lease.Ack(h.first, h.last)
	case requeue:
		err = h.lease.Requeue(h.first, h.last)
	case reject:
		err = h.lease.Reject(h.first, h.last)
	}
	if err != nil {
		ch.c.s.opts.Logger.Error("can't settle messages", "listener", "amqp", "first", h.first, "last", h.last, "error", err)
	}
}

// tellBroker hands all waiting ranges to the broker. mu is held.
func (ch *channel) tellBroker() {
	for _, n := range ch.settling {
		h := &ch.holders[n]
		h.waiting = false
		ch.tell(h)
	}
	ch.settling = ch.settling[:0]
	if ch.isDirty {
		ch.isDirty = false
		if i := slices.Index(ch.c.dirty, ch); i >= 0 {
			ch.c.dirty = slices.Delete(ch.c.dirty, i, i+1)
		}
	}
}

// flushSettles ends a read buffer's acknowledgements.
func (c *conn) flushSettles() {
	for len(c.dirty) > 0 {
		ch := c.dirty[len(c.dirty)-1]
		ch.mu.Lock()
		ch.tellBroker()
		ch.mu.Unlock()
	}
}

// recover returns everything that is unacked to its queue.
func (ch *channel) recover(again bool, reply wire.Method) error {
	if !again {
		return refuse(wire.NotImplemented, "requeue=false")
	}
	ch.mu.Lock()
	ch.requeueAll()
	ch.tellBroker()
	ch.mu.Unlock()
	return ch.reply(reply)
}
