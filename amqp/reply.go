package amqp

import (
	"encoding/binary"
	"errors"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

// maxReplyBytes is what may wait of direct replies to be read by one client, unless it is a single one. It
// is not read any more than others for that (see waitOutbox), so it can make room at any time.
const maxReplyBytes = 16 << 20

var errReplies = errors.New("replies are dropped: too many wait to be read")

// replyConsumer is a channel's consumer of direct reply-to: no queue stands behind it. Whoever publishes to
// its address puts the reply into this connection's outbox.
//
//	another connection's read loop ── Publisher.Publish ─► deliver ─► outbox ─► this connection's writer
type replyConsumer struct {
	ch      *channel
	tag     string
	address *broker.ReplyAddress

	// Guarded by conn.outMu.
	enc    *wire.DeliveryEncoder
	closed bool
}

// replyBox is what stands of replies in an outbox. conn.outMu guards it.
type replyBox struct {
	tags  []replyTag
	bytes int // of frames, in the outbox
	held  int // of these and of what the writer has and has not written
}

// replyTag is a delivery whose tag the writer fills in: tags follow the order in which messages leave.
type replyTag struct {
	ch *channel
	at int // in the outbox
}

// consumeReplies is basic.consume of direct reply-to.
func (ch *channel) consumeReplies(m *wire.BasicConsume, tag string) error {
	switch {
	case !m.NoAck:
		return refuse(wire.PreconditionFailed, "reply consumer cannot acknowledge")
	case ch.replies != nil:
		return refuse(wire.PreconditionFailed, "reply consumer already set")
	}
	k := &replyConsumer{ch: ch, tag: tag, enc: wire.NewDeliveryEncoder(ch.number, tag, ch.c.frameMax)}
	k.address = ch.c.session.AwaitReplies(k.deliver)
	ch.mu.Lock()
	ch.replies = k
	ch.mu.Unlock()
	// Nobody was told the address yet: no reply can come before the answer.
	return ch.reply(answer(m.NoWait, &wire.BasicConsumeOk{ConsumerTag: tag}))
}

// declareReplies is queue.declare of a name of direct reply-to, which is passive whatever it says: responders
// look this way whether a requester is still there.
func (ch *channel) declareReplies(name string, noWait bool) error {
	if err := ch.c.session.LookAtReplies(name); err != nil {
		return err
	}
	ch.lastQueue = name
	return ch.reply(answer(noWait, &wire.QueueDeclareOk{Queue: name, ConsumerCount: 1}))
}

// ownReplyTo puts the channel's own address into a request that asks for replies by direct reply-to.
func (ch *channel) ownReplyTo() error {
	if ch.replies == nil {
		return refuse(wire.PreconditionFailed, "fast reply consumer does not exist")
	}
	ch.c.in.replyTo(ch.replies.address.Name)
	return nil
}

// cancelReplies ends the consumer, if there is one. What it has got stands before the answer in the outbox.
func (ch *channel) cancelReplies() {
	k := ch.replies
	if k == nil {
		return
	}
	k.address.Close()
	ch.c.outMu.Lock()
	k.closed = true
	ch.c.outMu.Unlock()
	ch.mu.Lock()
	ch.replies = nil
	ch.mu.Unlock()
}

// deliver puts a reply into the outbox. It is called on the goroutine of whoever publishes it.
func (k *replyConsumer) deliver(m *broker.Inbound) (taken bool) {
	c := k.ch.c
	if taken = k.put(&wire.Content{Key: m.Key, Properties: m.Properties, Body: m.Body}); taken {
		c.signal()
	} else {
		c.log.Refused(wire.IDBasicDeliver.String(), errReplies, "have the client read while it waits for replies, or send them to a queue", "channel", k.ch.number)
	}
	return taken
}

// put is deliver without the notices. A requester who is gone needs no room.
func (k *replyConsumer) put(m *wire.Content) (taken bool) {
	c := k.ch.c
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if k.closed {
		return true
	}
	n := k.enc.HeadBytes(m) + len(m.Body) + int(k.enc.Frames(len(m.Body))-2)*wire.FrameOverheadBytes
	if held := c.replies.held; held > 0 && held+n > maxReplyBytes || !c.memory.Stand(replyCost(n)) {
		return false
	}
	c.replies.tags = append(c.replies.tags, replyTag{k.ch, len(c.out) + k.enc.TagAt()})
	c.out = k.enc.Append(c.out, 0, false, m)
	c.replies.bytes += n
	c.replies.held += n
	return true
}

// replyCost is the memory that so many bytes of replies take: the outbox grows by doubling.
func replyCost(n int) int64 { return 2 * int64(n) }

// take hands what is in the outbox on to the writer.
func (b *replyBox) take(tags []replyTag) (_ []replyTag, bytes int) {
	tags, b.tags = b.tags, tags[:0]
	bytes, b.bytes = b.bytes, 0
	return tags, bytes
}

// tagReplies gives the replies in control their delivery tags.
func (w *writer) tagReplies() {
	for _, r := range w.replyTags {
		r.ch.mu.Lock()
		binary.BigEndian.PutUint64(w.control[r.at:], r.ch.unacked.Skip())
		r.ch.mu.Unlock()
	}
	clear(w.replyTags)
}

// repliesLeft gives back the memory of replies that were written, or never will be.
func (c *conn) repliesLeft(n int) {
	if n == 0 {
		return
	}
	c.outMu.Lock()
	c.replies.held -= n
	c.outMu.Unlock()
	c.memory.Give(replyCost(n))
}
