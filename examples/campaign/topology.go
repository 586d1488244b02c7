package main

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Names on the broker.
const (
	startQueue       = "campaign-start"    // templates that are to be sent
	onceExchange     = "campaign"          // takes each mail once, however often it is published
	scheduleExchange = "campaign-schedule" // keeps mails until they are due
	mailQueue        = "campaign-mail"
	deadExchange     = "campaign-dead"
	deadQueue        = "campaign-dead"
	sentQueue        = "campaign-sent"
	reportGroup      = "campaign-report"
)

// Headers of messages. Kafka clients see them under the same names.
const (
	recipientHeader = "recipient"
	segmentHeader   = "segment"
	attemptHeader   = "attempt"
	onceHeader      = "x-deduplication-header"
	delayHeader     = "x-delay"
	countHeader     = "x-delivery-count"
	reasonHeader    = "x-first-death-reason"
)

// Why a mail is dead, in the broker's words.
const (
	reasonExpired  = "expired"        // too late
	reasonRejected = "rejected"       // the mail server will never take it
	reasonTooOften = "delivery_limit" // it would not take it in any of the attempts
)

// returns is how often a mail may come back before it is dead: one attempt more.
const returns = 4

// declare makes everything; what an earlier run left behind is removed first.
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
	queues := []struct {
		name string
		args amqp.Table
	}{
		{startQueue, nil},
		{mailQueue, amqp.Table{
			// A rejected mail with requeue comes back after 300 ms, then 600, 900, 1200; then it is dead.
			"x-queue-type": "quorum", "x-delivery-limit": int32(returns),
			"x-delayed-retry-type": "failed", "x-delayed-retry-min": int32(300), "x-delayed-retry-max": int32(3000),
			"x-dead-letter-exchange": deadExchange,
		}},
		// What was redriven stays readable: the report wants to know of all deaths.
		{deadQueue, amqp.Table{"x-retention": "30D"}},
		// Nobody acks in this queue, so it keeps all that comes.
		{sentQueue, nil},
	}
	for _, q := range queues {
		if _, err := ch.QueueDelete(q.name, false, false, false); err != nil {
			return fmt.Errorf("delete queue %s: %w", q.name, err)
		}
	}
	exchanges := []struct {
		name, kind string
		args       amqp.Table
	}{
		{onceExchange, "x-message-deduplication", amqp.Table{"x-cache-size": int32(1_000_000), "x-cache-ttl": int32(24 * 3600 * 1000)}},
		{scheduleExchange, "x-delayed-message", amqp.Table{"x-delayed-type": "fanout"}},
		{deadExchange, "fanout", nil},
	}
	for _, x := range exchanges {
		if err := ch.ExchangeDelete(x.name, false, false); err != nil {
			return fmt.Errorf("delete exchange %s: %w", x.name, err)
		}
		if err := ch.ExchangeDeclare(x.name, x.kind, true, false, false, false, x.args); err != nil {
			return fmt.Errorf("declare exchange %s: %w", x.name, err)
		}
	}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, q.args); err != nil {
			return fmt.Errorf("declare queue %s: %w", q.name, err)
		}
	}
	if err := ch.ExchangeBind(scheduleExchange, "", onceExchange, false, nil); err != nil {
		return fmt.Errorf("bind exchange %s: %w", scheduleExchange, err)
	}
	for queue, exchange := range map[string]string{mailQueue: scheduleExchange, deadQueue: deadExchange} {
		if err := ch.QueueBind(queue, "", exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s: %w", queue, err)
		}
	}
	return nil
}
