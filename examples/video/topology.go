package main

import (
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

// declare makes the exchanges and the queues.
func declare(b *demo.Broker) error {
	return b.Declare([]demo.Exchange{
		{Name: exchangeName, Kind: "topic"},
		{Name: resultsExchange, Kind: "x-message-deduplication", Args: amqp.Table{"x-cache-size": int32(1_000_000), "x-cache-ttl": int32(7 * 24 * 3600 * 1000)}},
	}, []demo.Queue{
		{Name: jobQueue, Exchange: exchangeName, Keys: []string{jobKey}, Args: amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(returns),
			"x-dead-letter-exchange": exchangeName, "x-dead-letter-routing-key": failedKey}},
		// Nobody acks in these, so they keep all that comes.
		{Name: logQueue, Exchange: exchangeName, Keys: []string{begunKey, progressKey, finishedKey, brokenKey, droppedKey}},
		{Name: doneQueue, Exchange: resultsExchange, Keys: []string{""}},
		{Name: failedQueue, Exchange: exchangeName, Keys: []string{failedKey}},
	})
}
