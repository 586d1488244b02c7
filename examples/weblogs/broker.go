package main

import (
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
func declare(b *demo.Broker) error {
	return b.Declare([]demo.Exchange{
		{Name: exchangeName, Kind: "topic", Args: amqp.Table{"x-kafka-topic": feedTopic}},
	}, []demo.Queue{
		// Nobody acks in this queue, so it keeps all that comes.
		{Name: allQueue, Exchange: exchangeName, Keys: []string{"#"}},
		// Acked lines stay for replay. The age counts from the record's time, which for an
		// archived line is the line's own: the retention must reach back to the oldest log.
		{Name: errorQueue, Exchange: exchangeName, Keys: []string{"*.error"}, Args: amqp.Table{"x-retention": "100Y"}},
	})
}
