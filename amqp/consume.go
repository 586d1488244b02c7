package amqp

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/deliver"
	"github.com/leveret-mq/leveret/internal/unacked"
)

// consumer is one basic.consume. Its subscription is used under channel.mu, by the writer to pull and by
// whoever ends it: nothing of that waits for a disk. What follows from the end and may, depart does without it.
type consumer struct {
	deliver.Lane // guarded by channel.mu
	ch           *channel
	tag          string
	noAck        bool
	enc          *wire.DeliveryEncoder
	near         unacked.Near // guarded by channel.mu
}

// answered lets the notices out that answering held back.
func (ch *channel) answered() {
	ch.answering.Store(false)
	ch.c.signal()
}

func (ch *channel) qos(m *wire.BasicQos) error {
	if m.PrefetchSize != 0 {
		return refuse(wire.NotImplemented, "prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	if m.Global {
		ch.credit().SetLimit(int(m.PrefetchCount))
		ch.shown.shared.Store(int32(m.PrefetchCount))
	} else {
		ch.prefetch = int(m.PrefetchCount)
		ch.shown.prefetch.Store(int32(m.PrefetchCount))
		ch.shown.shared.Store(0)
		ch.credit().SetLimit(0) // as on RabbitMQ: what was said last of either kind holds
	}
	return ch.reply(&wire.BasicQosOk{})
}

// credit is what all consumers of the channel share. It limits nothing before the first basic.qos with
// global, but counts, since that holds for the consumers that are there already, and for what they have.
func (ch *channel) credit() *broker.Credit {
	if ch.shared == nil {
		ch.shared = broker.NewCredit(0)
	}
	return ch.shared
}

func (ch *channel) consume(m *wire.BasicConsume) error {
	tag := m.ConsumerTag
	if tag == "" {
		tag = newConsumerTag()
	}
	ch.mu.Lock()
	_, taken := ch.consumers[tag]
	ch.mu.Unlock()
	if ofReplies := m.Queue == broker.ReplyQueue; taken || !ofReplies && ch.replies != nil && ch.replies.tag == tag {
		return refuse(wire.NotAllowed, "attempt to reuse consumer tag '%s'", tag)
	}
	if m.Queue == broker.ReplyQueue {
		return ch.consumeReplies(m, tag)
	}
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	k := &consumer{ch: ch, tag: tag, noAck: m.NoAck, enc: wire.NewDeliveryEncoder(ch.number, tag, ch.c.frameMax)}
	k.Open(&ch.c.w.Writer, k, &ch.mu)
	k.Sub, err = ch.c.session.Subscribe(name, broker.SubscribeOptions{
		Tag: tag, Channel: int(ch.number), NoAck: m.NoAck, Exclusive: m.Exclusive, Args: m.Arguments, Prefetch: ch.prefetch, Shared: ch.credit(),
		Wake: k.Look, Busy: ch.c.w.Busy, Cancelled: k.Gone, Timeout: k.timeoutChanged,
	})
	if broker.KindOf(err) == broker.LimitReached {
		return notAllowed(err, wire.IDBasicConsume)
	}
	if err != nil {
		return err
	}
	ch.mu.Lock()
	if ch.consumers == nil {
		ch.consumers = map[string]*consumer{}
	}
	ch.consumers[tag] = k
	ch.watchOverdue(k.Sub.Timeout())
	ch.c.addConsumer(k, answer(m.NoWait, &wire.BasicConsumeOk{ConsumerTag: tag}))
	ch.mu.Unlock()
	return nil
}

// timeoutChanged has the channel looked at, if it is there still: its messages are overdue after another time.
func (k *consumer) timeoutChanged(limit time.Duration) {
	k.ch.mu.Lock()
	defer k.ch.mu.Unlock()
	if k.ch.consumers[k.tag] == k {
		k.ch.watchOverdue(limit)
	}
}

func newConsumerTag() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return "amq.ctag-" + base64.RawURLEncoding.EncodeToString(b[:])
}

func (ch *channel) cancel(m *wire.BasicCancel) error {
	reply := answer(m.NoWait, &wire.BasicCancelOk{ConsumerTag: m.ConsumerTag})
	if ch.replies != nil && ch.replies.tag == m.ConsumerTag {
		ch.cancelReplies()
		return ch.reply(reply)
	}
	ch.mu.Lock()
	k := ch.consumers[m.ConsumerTag]
	if k == nil {
		ch.mu.Unlock()
		return ch.reply(reply)
	}
	delete(ch.consumers, m.ConsumerTag)
	k.Sub.Stop()
	if !k.Sub.Queue().AutoDelete {
		err := ch.reply(reply) // behind what the writer had encoded by then, and before what others get in its place
		k.Close()
		ch.mu.Unlock()
		return err
	}
	k.Close()
	ch.mu.Unlock()
	k.Sub.DeleteUnused()
	return ch.reply(reply)
}

func (ch *channel) get(m *wire.BasicGet) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	got, err := ch.c.session.Get(name, m.NoAck)
	if err != nil {
		return err
	}
	if got == nil {
		return ch.reply(&wire.BasicGetEmpty{})
	}
	ch.mu.Lock()
	var tag uint64
	if m.NoAck {
		tag = ch.unacked.Skip()
	} else {
		tag = ch.unacked.Hold(&ch.gotten, got.Lease, got.Offset)
		ch.watchOverdue(got.Lease.Timeout())
	}
	ch.mu.Unlock()
	ch.c.sendContent(ch.number, &wire.BasicGetOk{
		DeliveryTag: tag, Redelivered: got.Redelivered, Exchange: string(got.Exchange), RoutingKey: shortKey(got.Key), MessageCount: count32(got.Remaining),
	}, got.Properties, got.Body)
	if p := ch.c.session.Pacer(); p != nil {
		ch.c.rest(p, p.Left(len(got.Body), ch.c.rb.Now()))
	}
	return nil
}

// shortKey is a routing key as a method can carry it: a longer Kafka key travels in a header instead.
func shortKey(key []byte) string {
	if len(key) > wire.MaxShortStringBytes {
		return ""
	}
	return string(key)
}
