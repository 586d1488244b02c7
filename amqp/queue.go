package amqp

import (
	"math"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

// queueName is the name a client means: an empty one stands for the queue that the channel declared last.
func (ch *channel) queueName(name string) (string, error) {
	if name != "" {
		return cleanName(name), nil
	}
	if ch.lastQueue == "" {
		return "", refuse(wire.NotFound, "no previously declared queue")
	}
	return ch.lastQueue, nil
}

func (ch *channel) queueDeclare(m *wire.QueueDeclare) error {
	if name := cleanName(m.Queue); broker.OfReplies(name) {
		return ch.declareReplies(name, m.NoWait)
	}
	var q *broker.Queue
	var err error
	if m.Passive {
		q, err = ch.c.session.LookAt(cleanName(m.Queue)) // an empty name stands for none here
	} else {
		q, err = ch.c.session.DeclareQueue(cleanName(m.Queue), broker.QueueOptions{
			Durable: m.Durable, AutoDelete: m.AutoDelete, Exclusive: m.Exclusive, Args: m.Arguments,
		})
	}
	if err != nil {
		return err
	}
	ch.lastQueue = q.Name
	if m.NoWait {
		return nil
	}
	ready, err := ch.c.session.Count(q)
	if err != nil {
		return err
	}
	return ch.reply(&wire.QueueDeclareOk{Queue: q.Name, MessageCount: count32(ready), ConsumerCount: count32(int64(q.Consumers()))})
}

// count32 is a count as far as the protocol's 32 bits go.
func count32(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

func (ch *channel) queueBind(m *wire.QueueBind) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	err = ch.c.session.Bind(broker.Binding{Source: cleanName(m.Exchange), Dest: name, Key: ch.bindingKey(m.Queue, m.RoutingKey), Args: m.Arguments})
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.QueueBindOk{}))
}

// bindingKey is the routing key of a binding: when both queue and key are left empty, the last declared
// queue's name (section 1.7.2.3 of the specification, queue.bind's routing-key).
func (ch *channel) bindingKey(queue, key string) string {
	if queue == "" && key == "" {
		return ch.lastQueue
	}
	return key
}

func (ch *channel) queueUnbind(m *wire.QueueUnbind) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	err = ch.c.session.Unbind(broker.Binding{Source: cleanName(m.Exchange), Dest: name, Key: ch.bindingKey(m.Queue, m.RoutingKey), Args: m.Arguments})
	if err != nil {
		return err
	}
	return ch.reply(&wire.QueueUnbindOk{})
}

func (ch *channel) queuePurge(m *wire.QueuePurge) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	n, err := ch.c.session.Purge(name)
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.QueuePurgeOk{MessageCount: count32(n)}))
}

func (ch *channel) queueDelete(m *wire.QueueDelete) error {
	ch.answering.Store(true)
	defer ch.answered()
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	n, err := ch.c.session.DeleteQueue(name, m.IfUnused, m.IfEmpty)
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.QueueDeleteOk{MessageCount: count32(n)}))
}
