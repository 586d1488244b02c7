package stomp

import (
	"bytes"

	"github.com/leveret-mq/leveret/internal/unacked"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// verdict is what an ACK or NACK says.
type verdict struct {
	k       *subscription
	tag     uint64
	verdict unacked.Verdict
}

// settle is ACK and NACK. The read loop keeps mu for a run of them.
func (c *conn) settle(f *frame.Frame) *failure {
	if !c.settling {
		c.mu.Lock()
		c.settling = true
	}
	v, e := c.readVerdict(f)
	if e != nil {
		return e
	}
	if name, ok := f.Get("transaction"); ok {
		e = c.settleLater(string(name), v)
	} else {
		e = c.conclude(v)
	}
	if e != nil {
		return e
	}
	if id, ok := f.Get("receipt"); ok {
		c.settled() // which the receipt promises
		c.receipt(id)
	}
	return nil
}

// readVerdict finds the message that an ACK or NACK is about.
func (c *conn) readVerdict(f *frame.Frame) (v verdict, e *failure) {
	name := "message-id"
	if c.version == frame.V12 {
		name = "id"
	}
	id, ok := f.Get(name)
	if !ok {
		return v, fail("Missing header", "%s must include the '%s' header", f.Command, name)
	}
	number, rest, ok1 := bytes.Cut(id, []byte(frame.Separator))
	session, tag, ok2 := bytes.Cut(rest, []byte(frame.Separator))
	n, ok3 := decimal(number)
	v.tag, ok = decimal(tag)
	if !ok || !ok1 || !ok2 || !ok3 || string(session) != c.id {
		return v, fail("Invalid header", "%s must include a valid '%s' header: '%s' is of no message of this connection", f.Command, name, clip(id))
	}
	if v.k = c.byNumber[n]; v.k == nil {
		return v, fail("Message not found", "unknown delivery tag %d", v.tag)
	}
	if f.Command == frame.Nack {
		v.verdict = unacked.Requeue
		if !flag(f, "requeue", true) {
			v.verdict = unacked.Reject
		}
	}
	return v, nil
}

// decimal reads digits.
func decimal(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	for _, ch := range b {
		if ch < '0' || ch > '9' {
			return 0, false
		}
		n = 10*n + uint64(ch-'0')
	}
	return n, true
}

// conclude takes a verdict. mu is held.
func (c *conn) conclude(v verdict) *failure {
	known := false
	if v.k.upTo {
		known = v.k.unacked.SettleUpTo(v.tag, v.verdict)
	} else {
		known = v.k.unacked.Settle(v.tag, v.verdict)
	}
	if !known {
		return fail("Message not found", "unknown delivery tag %d", v.tag)
	}
	if !v.k.isDirty {
		v.k.isDirty = true
		c.dirty = append(c.dirty, v.k)
	}
	return nil
}

// settled ends a run of acks: the broker is told.
func (c *conn) settled() {
	if c.settling {
		c.tellBroker()
		c.settling = false
		c.mu.Unlock()
	}
}

// tellBroker hands all verdicts to the broker. mu is held.
func (c *conn) tellBroker() {
	for i, k := range c.dirty {
		k.unacked.Tell()
		k.isDirty = false
		c.forget(k)
		c.dirty[i] = nil
	}
	c.dirty = c.dirty[:0]
}
