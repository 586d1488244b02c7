package demo

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Exchange is one that an example declares, durable. It takes what comes through another, if it names one.
type Exchange struct {
	Name, Kind string
	Args       amqp.Table
	From       string
}

// Queue is one that an example declares, durable, and bound to an exchange with each of the keys; without an exchange it is not.
type Queue struct {
	Name, Exchange string
	Keys           []string
	Args           amqp.Table
}

// Declare makes exchanges and queues; what an earlier run left behind is removed first.
func (b *Broker) Declare(exchanges []Exchange, queues []Queue) error {
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for _, q := range queues {
		if _, err := ch.QueueDelete(q.Name, false, false, false); err != nil {
			return fmt.Errorf("delete queue %s: %w", q.Name, err)
		}
	}
	for _, x := range exchanges {
		if err := ch.ExchangeDelete(x.Name, false, false); err != nil {
			return fmt.Errorf("delete exchange %s: %w", x.Name, err)
		}
		if err := ch.ExchangeDeclare(x.Name, x.Kind, true, false, false, false, x.Args); err != nil {
			return fmt.Errorf("declare exchange %s: %w", x.Name, err)
		}
		if x.From != "" {
			if err := ch.ExchangeBind(x.Name, "", x.From, false, nil); err != nil {
				return fmt.Errorf("bind exchange %s: %w", x.Name, err)
			}
		}
	}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q.Name, true, false, false, false, q.Args); err != nil {
			return fmt.Errorf("declare queue %s: %w", q.Name, err)
		}
		for _, key := range q.Keys {
			if err := ch.QueueBind(q.Name, key, q.Exchange, false, nil); err != nil {
				return fmt.Errorf("bind queue %s: %w", q.Name, err)
			}
		}
	}
	return nil
}
