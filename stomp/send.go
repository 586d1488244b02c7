package stomp

import (
	"errors"
	"strconv"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// send is SEND.
func (c *conn) send(f *frame.Frame) *failure {
	in := &c.in
	receipt, transaction, asked, inTransaction := in.sign(f)
	p, same := in.recall()
	if p == nil {
		var err error
		if p, err = c.examine(f); err != nil {
			return asFailure(err)
		}
		receipt, transaction = nil, nil // which Unescape may have moved
		if asked {
			receipt, _ = f.Get("receipt")
		}
		if inTransaction {
			transaction, _ = f.Get("transaction")
		}
	} else if asked || inTransaction {
		var err1, err2 error
		receipt, err1 = c.unescape(receipt)
		transaction, err2 = c.unescape(transaction)
		if err := errors.Join(err1, err2); err != nil {
			return decodeFailure(err)
		}
	}
	in.SameHead = same && in.good
	if !in.SameHead {
		in.fill(p)
	}
	in.last = p
	if len(p.sig) == 0 {
		in.last = nil // its slices are another's soon
	}
	in.Body = f.Body
	c.inflow.Fed = true
	if inTransaction {
		in.good = false
		return c.sendLater(string(transaction), p, receipt, asked)
	}
	in.TimestampMs = c.rb.NowMs()
	in.Persistent, in.Ref = asked && p.persistent, 0
	if asked {
		in.Ref = uint64(len(c.asked.marks) + 1)
	}
	routed, err := c.publisher.Publish(&in.Inbound)
	if err == nil && !routed && p.again() {
		err = c.again(p, c.publisher)
	}
	in.good = err == nil
	if err != nil {
		e := asFailure(err)
		e.receipt = string(receipt)
		return e
	}
	c.toStore++
	if asked {
		c.asked.add(receipt)
	} else {
		c.plain++
	}
	return nil
}

// again says whether a message that no queue took is published again.
func (p *prepared) again() bool { return p.dest.kind == toQueue && len(p.exchange) == 0 }

// again publishes to a queue that was there when the connection first sent to it, and is not any more.
func (c *conn) again(p *prepared, to *broker.Publisher) error {
	delete(c.ensured, p.dest.key)
	if err := c.ensureQueue(p.dest.key, nil); err != nil {
		return err
	}
	c.in.SameHead = false
	_, err := to.Publish(&c.in.Inbound)
	return err
}

func (c *conn) unescape(b []byte) ([]byte, error) {
	b, err := frame.Unescape(b, c.version)
	if c.version == frame.V10 {
		b = frame.TrimLeft(b)
	}
	return b, err
}

// examine looks at headers that are not remembered: at where the message goes, and what it says of itself.
func (c *conn) examine(f *frame.Frame) (*prepared, error) {
	if err := f.Unescape(c.version); err != nil {
		return nil, decodeFailure(err)
	}
	text, ok := f.Get("destination")
	if !ok {
		return nil, fail("Missing destination", "SEND must include a 'destination' header")
	}
	d, err := destinationOf(f, string(text))
	if err != nil {
		return nil, err
	}
	in := &c.in
	p := &in.own
	*p = prepared{dest: d, exchange: []byte(d.exchange), key: []byte(d.key)}
	if len(p.key) > maxShort || len(p.exchange) > maxShort {
		return nil, fail("Invalid destination", "a name in '%s' is longer than %d bytes", clip(text), maxShort)
	}
	switch d.kind {
	case toQueue:
		err = c.ensureQueue(d.key, f)
	case toTemp:
		err = fail("Invalid destination", "'%s' is not a valid destination for 'SEND'", text)
	}
	if err != nil {
		return nil, err
	}
	delay, err := scheduled(f)
	if err != nil {
		return nil, err
	}
	if in.table, err = readProperties(f, &in.props, in.table[:0]); err != nil {
		return nil, err
	}
	props := &in.props
	if props.Flags&field.FlagUserID != 0 && string(props.UserID) != c.user.Name {
		return nil, fail("precondition_failed", "user_id property set to '%s' but authenticated user was '%s'", props.UserID, c.user.Name)
	}
	if props.Flags&field.FlagReplyTo != 0 {
		if props.ReplyTo, err = c.replyTo(props.ReplyTo); err != nil {
			return nil, err
		}
	}
	if delay > 0 {
		if err := c.delay(p, delay); err != nil {
			return nil, err
		}
	}
	ttl, passing := expires(f, c.rb.Now())
	if passing && props.Flags&field.FlagExpiration == 0 {
		props.Expiration, props.Flags = strconv.AppendInt(nil, ttl, 10), props.Flags|field.FlagExpiration
	}
	p.persistent = props.DeliveryMode == 2
	in.whole = props.Append(in.whole[:0])
	p.properties = in.whole
	if len(props.Headers) > 0 {
		p.headers = props.Headers
	}
	if passing {
		return p, nil // the same headers mean less time later
	}
	return in.remember(p), nil
}

// delay has a message go by way of an exchange that delays it.
func (c *conn) delay(p *prepared, ms int64) error {
	exchange, err := c.delaying(&p.dest)
	if err != nil {
		return err
	}
	if len(exchange) > maxShort {
		return fail("Invalid destination", "the name of the exchange '%s' is too long for messages that are delayed", clip(p.exchange))
	}
	in := &c.in
	p.exchange = []byte(exchange)
	if _, twice := field.Find(in.table, headerDelay); !twice {
		in.table = field.AppendInt(field.AppendName(in.table, headerDelay), ms)
		in.props.Headers, in.props.Flags = in.table, in.props.Flags|field.FlagHeaders
	}
	return nil
}

// endRead ends a read buffer: messages go to their logs, and their receipts wait for the disk. An error is one of
// storing, for messages that nobody would otherwise hear about.
func (c *conn) endRead() *failure {
	if c.toStore == 0 {
		return nil
	}
	if c.s.opts.Broker.Alarm() != "" {
		c.waitAlarm(c.plain > 0)
	}
	unheard := c.plain > 0
	c.published.Add(uint64(c.toStore))
	c.toStore, c.plain = 0, 0
	c.publisher.Store()
	refused := c.publisher.Refused()
	if len(c.asked.marks) == 0 {
		return asFailure(c.publisher.Commit(nil))
	}
	if len(refused) > 0 {
		c.asked.markRefused(refused)
	}
	c.outMu.Lock()
	answer := c.waiting.New()
	answer.Value, c.asked = c.asked, answer.Value
	durable := answer.Wait()
	c.waiting.Push(answer)
	c.outMu.Unlock()
	c.asked.reset()
	if err := c.publisher.Commit(durable); err != nil && unheard {
		return asFailure(err)
	}
	return nil
}
