package main

import (
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

// declare makes the exchanges and the queues.
func declare(b *demo.Broker) error {
	return b.Declare([]demo.Exchange{
		{Name: onceExchange, Kind: "x-message-deduplication", Args: amqp.Table{"x-cache-size": int32(1_000_000), "x-cache-ttl": int32(24 * 3600 * 1000)}},
		{Name: scheduleExchange, Kind: "x-delayed-message", Args: amqp.Table{"x-delayed-type": "fanout"}, From: onceExchange},
		{Name: deadExchange, Kind: "fanout"},
	}, []demo.Queue{
		{Name: startQueue},
		{Name: mailQueue, Exchange: scheduleExchange, Keys: []string{""}, Args: amqp.Table{
			// A rejected mail with requeue comes back after 300 ms, then 600, 900, 1200; then it is dead.
			"x-queue-type": "quorum", "x-delivery-limit": int32(returns),
			"x-delayed-retry-type": "failed", "x-delayed-retry-min": int32(300), "x-delayed-retry-max": int32(3000),
			"x-dead-letter-exchange": deadExchange,
		}},
		// What was redriven stays readable: the report wants to know of all deaths.
		{Name: deadQueue, Exchange: deadExchange, Keys: []string{""}, Args: amqp.Table{"x-retention": "30D"}},
		// Nobody acks in this queue, so it keeps all that comes.
		{Name: sentQueue},
	})
}
