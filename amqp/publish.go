package amqp

import (
	"bytes"
	"hash/maphash"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

// inbound is the publish under way and what is remembered of earlier ones' properties: most publishers
// send the same bytes again and again, or a few by turns, which then need no second look.
type inbound struct {
	broker.Inbound
	props      wire.Properties
	last       *goodProperties     // those of the publish before, if they are remembered
	known      [32]*goodProperties // each in the place of its hash
	persistent bool
	rewritten  []byte // properties without BCC, or with the address of who asks
	asks       bool   // it is a request with direct reply-to
	good       bool   // the last publish was found good, and its like need no look at all
}

// goodProperties are some that were found good.
type goodProperties struct {
	raw        []byte // our own copy
	persistent bool
	headers    wire.Table // lies in raw
}

// maxKnownBytes is the longest property list that is remembered.
const maxKnownBytes = 512

// knownSeed places properties in inbound.known.
var knownSeed = maphash.MakeSeed()

// publish routes one whole message and hands it to the publisher; what is in p stays the read buffer's.
// sameHead says that all but the body is as in the publish before.
func (ch *channel) publish(p *wire.Publish, sameHead bool) *closeError {
	c := ch.c
	if c.parting && ch.confirm {
		return nil // its client hears of nothing any more
	}
	in := &c.in
	in.SameHead = sameHead && in.good
	if in.SameHead {
		in.Body = p.Body
	} else if err := ch.examine(p); err != nil {
		return err
	}
	in.TimestampMs = c.rb.NowMs()
	publisher := c.publisher
	if ch.tx != nil {
		publisher = ch.tx.publisher
	}
	in.Persistent, in.Ref = (ch.confirm || ch.tx != nil) && in.persistent, 0
	if ch.confirm {
		in.Ref = ch.ref(ch.confirmLast + 1)
	}
	routed, err := publisher.Publish(&in.Inbound)
	if err != nil {
		in.good = false
		return asClose(err, wire.IDBasicPublish)
	}
	if ch.uncounted++; ch.uncounted == 1 {
		c.publishing = append(c.publishing, ch)
	}
	if ch.tx != nil {
		return ch.heldBack(routed, p)
	}
	if !routed && p.Mandatory {
		c.session.CountReturned(1)
		c.sendContent(ch.number, notRouted(p), in.Properties, p.Body)
		c.waitOutbox() // one read can make many bodies whole, of as many channels
	}
	c.toStore++
	if !ch.confirm {
		c.plain++
		return nil
	}
	ch.confirmLast++
	if ch.confirmFirst == 0 {
		ch.confirmFirst = ch.confirmLast
		c.touched = append(c.touched, ch)
	}
	return nil
}

// notRouted is the method of a message that comes back.
func notRouted(p *wire.Publish) *wire.BasicReturn {
	return &wire.BasicReturn{ReplyCode: wire.NoRoute, ReplyText: "NO_ROUTE", Exchange: string(p.Exchange), RoutingKey: string(p.Key)}
}

// endRead ends a read buffer: verdicts go to the broker, publishes to their logs, and their confirms wait
// for the disk. An error is one of storing, for publishes that nobody would otherwise hear about.
func (c *conn) endRead() error {
	c.tellSettles()
	if c.toStore+c.heldBack == 0 {
		return nil
	}
	c.inflow.Fed = true
	if c.s.opts.Broker.Alarm() != "" {
		c.tellBlocked()
		c.waitAlarm(c.plain > 0)
	}
	c.heldBack = 0
	if c.toStore == 0 {
		return nil
	}
	unheard := c.plain > 0
	c.toStore, c.plain = 0, 0
	c.publisher.Store()
	refused := c.publisher.Refused()
	if len(c.touched) == 0 {
		err := c.publisher.Commit(nil)
		if err != nil {
			c.tellBlocked()
		}
		return err
	}
	confirmed := -len(refused)
	c.outMu.Lock()
	answer := c.confirms.New()
	for _, ch := range c.touched {
		answer.Value = ch.appendMarks(answer.Value, ch.confirmFirst, ch.confirmLast, refused)
		confirmed += int(ch.confirmLast - ch.confirmFirst + 1)
		ch.confirmFirst = 0
	}
	durable := answer.Wait()
	c.confirms.Push(answer)
	c.outMu.Unlock()
	c.touched = c.touched[:0]
	c.session.CountConfirmed(max(0, confirmed))
	if err := c.publisher.Commit(durable); unheard && err != nil {
		return refuse(wire.ResourceError, "messages could not be stored")
	}
	return nil
}

// examine takes over all that the message says, after checking it.
func (ch *channel) examine(p *wire.Publish) *closeError {
	in := &ch.c.in
	in.good = false
	if p.Immediate {
		return &closeError{code: wire.NotImplemented, text: "immediate=true", method: wire.IDBasicPublish}
	}
	if err := in.take(p, ch.c.user.Name); err != nil {
		return asClose(err, wire.IDBasicPublish)
	}
	if in.asks {
		if err := ch.ownReplyTo(); err != nil {
			return asClose(err, wire.IDBasicPublish)
		}
	}
	return nil
}

// take fills in everything that the message itself says, and checks its properties.
func (in *inbound) take(p *wire.Publish, user string) error {
	in.Exchange, in.Key, in.Body = p.Exchange, p.Key, p.Body
	in.Properties = p.Properties
	in.MoreKeys = nil
	if in.last == nil || !bytes.Equal(in.last.raw, p.Properties) {
		place := &in.known[maphash.Bytes(knownSeed, p.Properties)%uint64(len(in.known))]
		if in.last = *place; in.last == nil || !bytes.Equal(in.last.raw, p.Properties) {
			in.last = nil
			return in.examine(p, user, place)
		}
	}
	in.Headers, in.persistent, in.asks = in.last.headers, in.last.persistent, false
	in.good = true
	return nil
}

// examine checks properties that are not remembered; place is where they will be.
func (in *inbound) examine(p *wire.Publish, user string, place **goodProperties) error {
	if err := p.Properties.Parse(&in.props); err != nil {
		return decodeError(err, wire.IDBasicPublish)
	}
	props := &in.props
	in.persistent = props.DeliveryMode == 2
	in.Headers = props.Headers
	if props.Flags&wire.FlagUserID != 0 && string(props.UserID) != user {
		return refuse(wire.PreconditionFailed, "user_id property set to '%s' but authenticated user was '%s'", props.UserID, user)
	}
	if props.Flags&wire.FlagExpiration != 0 {
		if err := broker.CheckExpiration(props.Expiration); err != nil {
			return err
		}
	}
	in.asks = string(props.ReplyTo) == broker.ReplyQueue
	if len(props.Headers) > 0 {
		if err := in.moreKeys(p); err != nil {
			return err
		}
	}
	if in.MoreKeys == nil && !in.asks && len(p.Properties) <= maxKnownBytes {
		in.remember(p.Properties, place)
	}
	return nil
}

// remember keeps a copy of properties that need no second look.
func (in *inbound) remember(raw wire.RawProperties, place **goodProperties) {
	if *place == nil {
		*place = new(goodProperties)
	}
	g := *place
	g.raw, g.persistent, g.headers = append(g.raw[:0], raw...), in.persistent, nil
	if len(in.props.Headers) > 0 {
		g.headers = wire.RawProperties(g.raw).HeadersOf(&in.props)
	}
	in.last, in.good = g, true
}

// replyTo gives a message that was examined an address for replies.
func (in *inbound) replyTo(address string) {
	in.props.ReplyTo = []byte(address)
	in.props.Headers = in.Headers // which may be without BCC
	in.rewritten = in.props.Append(in.rewritten[:0])
	in.Properties = in.rewritten
}

// moreKeys reads the headers CC and BCC, and takes BCC out of the message.
func (in *inbound) moreKeys(p *wire.Publish) error {
	blind := false
	for t := in.props.Headers; ; {
		name, field, rest, ok := t.Next()
		if !ok {
			break
		}
		t = rest
		isBlind := string(name) == "BCC"
		if !isBlind && string(name) != "CC" {
			continue
		}
		blind = blind || isBlind
		if err := in.addKeys(string(name), field); err != nil {
			return err
		}
	}
	if blind {
		headers := in.props.Headers.AppendWithout(nil, "BCC")
		in.rewritten = p.Properties.AppendWithHeaders(in.rewritten[:0], &in.props, headers)
		in.Properties, in.Headers = in.rewritten, headers
	}
	return nil
}

// addKeys takes the strings of a list of keys; what else is in it is nobody's key.
func (in *inbound) addKeys(name string, f wire.Field) error {
	if f.Tag != 'A' {
		return refuse(wire.PreconditionFailed, "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name, f.TypeName())
	}
	if in.MoreKeys == nil {
		in.MoreKeys = [][]byte{} // not nil, even if empty: such a route is not for the cache
	}
	for array := f.Value; len(array) > 0; {
		key, rest, ok := wire.NextElement(array)
		if !ok {
			break // can't be: the table was checked
		}
		if key.Tag == 'S' {
			in.MoreKeys = append(in.MoreKeys, key.Value)
		}
		array = rest
	}
	return nil
}
