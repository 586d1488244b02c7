package main

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Names on the broker.
const (
	exchangeName    = "video"
	resultsExchange = "video-results" // lets each video's result through once
	jobQueue        = "video-jobs"
	logQueue        = "video-log"    // what workers tell
	doneQueue       = "video-done"   // one message a video
	failedQueue     = "video-failed" // jobs that no worker could do
	reportGroup     = "video-report"
)

// Routing keys. All but the first and the last are what workers tell.
const (
	jobKey      = "job"
	begunKey    = "begun"
	progressKey = "progress"
	finishedKey = "finished"
	brokenKey   = "broken"  // ffmpeg can't read it; the job is rejected
	droppedKey  = "dropped" // the worker's connection had ended, and the job was another's
	failedKey   = "failed"
)

// Headers of messages. Kafka clients see them under the same names.
const (
	idHeader      = "id"
	workerHeader  = "worker"
	attemptHeader = "attempt" // 1 for the first worker that got the job
	percentHeader = "percent"
	tookHeader    = "took-ms"
	reasonHeader  = "reason"
	onceHeader    = "x-deduplication-header"
	countHeader   = "x-delivery-count"
)

// returns is how often a job may come back: a video that kills its worker each time
// must not kill them all.
const returns = 3

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
		name, exchange string
		keys           []string
		args           amqp.Table
	}{
		{jobQueue, exchangeName, []string{jobKey}, amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(returns),
			"x-dead-letter-exchange": exchangeName, "x-dead-letter-routing-key": failedKey}},
		// Nobody acks in these, so they keep all that comes.
		{logQueue, exchangeName, []string{begunKey, progressKey, finishedKey, brokenKey, droppedKey}, nil},
		{doneQueue, resultsExchange, []string{""}, nil},
		{failedQueue, exchangeName, []string{failedKey}, nil},
	}
	for _, q := range queues {
		if _, err := ch.QueueDelete(q.name, false, false, false); err != nil {
			return fmt.Errorf("delete queue %s: %w", q.name, err)
		}
	}
	for _, x := range []struct {
		name, kind string
		args       amqp.Table
	}{
		{exchangeName, "topic", nil},
		{resultsExchange, "x-message-deduplication", amqp.Table{"x-cache-size": int32(1_000_000), "x-cache-ttl": int32(7 * 24 * 3600 * 1000)}},
	} {
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
		for _, key := range q.keys {
			if err := ch.QueueBind(q.name, key, q.exchange, false, nil); err != nil {
				return fmt.Errorf("bind queue %s: %w", q.name, err)
			}
		}
	}
	return nil
}
