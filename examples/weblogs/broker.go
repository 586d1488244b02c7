package main

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Names on the broker.
const (
	exchangeName = "weblogs"
	feedTopic    = "weblogs-in"     // what a Kafka producer writes into the exchange through
	allQueue     = "weblogs-all"    // bound to #; read as a topic
	errorQueue   = "weblogs-errors" // bound to *.error; worked on and kept
	reportGroup  = "weblogs-report"
)

// declare makes the exchange, its topic for Kafka producers, and the two queues.
// What an earlier run left behind is removed first.
func declare(b *demo.Broker) error {
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for _, q := range []string{allQueue, errorQueue} {
		if _, err := ch.QueueDelete(q, false, false, false); err != nil {
			return fmt.Errorf("delete queue %s: %w", q, err)
		}
	}
	if err := ch.ExchangeDelete(exchangeName, false, false); err != nil {
		return fmt.Errorf("delete exchange: %w", err)
	}
	if err := ch.ExchangeDeclare(exchangeName, "topic", true, false, false, false, amqp.Table{"x-kafka-topic": feedTopic}); err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchangeName, err)
	}
	for _, q := range []struct {
		name, key string
		args      amqp.Table
	}{
		// Nobody acks in this queue, so it keeps all that comes.
		{allQueue, "#", nil},
		// Acked lines stay for replay. The age counts from the record's time, which for an
		// archived line is the line's own: the retention must reach back to the oldest log.
		{errorQueue, "*.error", amqp.Table{"x-retention": "100Y"}},
	} {
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, q.args); err != nil {
			return fmt.Errorf("declare queue %s: %w", q.name, err)
		}
		if err := ch.QueueBind(q.name, q.key, exchangeName, false, nil); err != nil {
			return fmt.Errorf("bind queue %s: %w", q.name, err)
		}
	}
	return nil
}
