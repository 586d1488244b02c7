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

// openQueue finds a queue that the connection may use.
func (ch *channel) openQueue(name string) (*broker.Queue, error) {
	name, err := ch.queueName(name)
	if err != nil {
		return nil, err
	}
	return ch.c.vhost.Access(ch.c.session, name)
}

func (ch *channel) queueDeclare(m *wire.QueueDeclare) error {
	var q *broker.Queue
	var err error
	if m.Passive {
		q, err = ch.openQueue(m.Queue)
	} else {
		q, err = ch.c.vhost.DeclareQueue(ch.c.session, cleanName(m.Queue), broker.QueueOptions{
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
	return ch.reply(&wire.QueueDeclareOk{Queue: q.Name, MessageCount: count32(q.Ready()), ConsumerCount: count32(int64(q.Consumers()))})
}

// count32 is a count as far as the protocol's 32 bits go.
func count32(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

func (ch *channel) queueBind(m *wire.QueueBind) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	err = ch.c.vhost.Bind(ch.c.session, broker.Binding{Source: cleanName(m.Exchange), Dest: name, Key: ch.bindingKey(m.Queue, m.RoutingKey), Args: m.Arguments})
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
	err = ch.c.vhost.Unbind(ch.c.session, broker.Binding{Source: cleanName(m.Exchange), Dest: name, Key: ch.bindingKey(m.Queue, m.RoutingKey), Args: m.Arguments})
	if err != nil {
		return err
	}
	return ch.reply(&wire.QueueUnbindOk{})
}

func (ch *channel) queuePurge(m *wire.QueuePurge) error {
	q, err := ch.openQueue(m.Queue)
	if err != nil {
		return err
	}
	n, err := q.Purge()
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.QueuePurgeOk{MessageCount: count32(n)}))
}

func (ch *channel) queueDelete(m *wire.QueueDelete) error {
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	n, err := ch.c.vhost.DeleteQueue(ch.c.session, name, m.IfUnused, m.IfEmpty)
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.QueueDeleteOk{MessageCount: count32(n)}))
}
