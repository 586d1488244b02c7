package main

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Names on the broker.
const (
	exchangeName   = "images"
	workQueue      = "images-work"      // jobs, the most urgent first
	originalsQueue = "images-originals" // every picture as it came, once
	albumQueue     = "images-album"     // what was taken and what is finished, in order
	reportGroup    = "images-report"
	squareGroup    = "images-square"
)

// Routing keys: a job is job.SIZE, a finished picture done.SIZE.
const (
	takenKey  = "taken"
	jobPrefix = "job."
	donePfx   = "done."
)

// Headers of messages. Kafka clients see them under the same names.
const (
	idHeader     = "id"
	nameHeader   = "name"
	sizeHeader   = "size"
	widthHeader  = "width"
	heightHeader = "height"
	queuedHeader = "queued-ms" // when the job was published, milliseconds since 1970
	waitedHeader = "waited-ms" // until a worker had it
	tookHeader   = "took-ms"   // the work itself
	workerHeader = "worker"
	errorHeader  = "error" // why there is no picture
)

// Size is one of those that are made of every picture.
type Size struct {
	Name     string
	Edge     int   // the longer side in pixels; a smaller picture keeps its size
	Priority uint8 // the higher the sooner
	Square   bool  // cut to a square
}

var sizes = []Size{
	{Name: "thumb", Edge: 160, Priority: 3},
	{Name: "medium", Edge: 640, Priority: 2},
	{Name: "large", Edge: 1200, Priority: 1},
}

// square is the size that somebody thinks of later.
var square = Size{Name: "square", Edge: 200, Square: true}

func sizeNamed(name string) (Size, bool) {
	for _, s := range sizes {
		if s.Name == name {
			return s, true
		}
	}
	return Size{}, false
}

// declare makes the exchange and the queues; what an earlier run left is removed first.
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
		keys []string
		args amqp.Table
	}{
		{workQueue, []string{jobPrefix + "*"}, amqp.Table{"x-max-priority": int32(sizes[0].Priority)}},
		// Each picture is in three jobs, of which one leads here. Nobody acks in this queue
		// and the next, so they keep all that comes.
		{originalsQueue, []string{jobPrefix + sizes[0].Name}, nil},
		{albumQueue, []string{takenKey, donePfx + "*"}, nil},
	}
	for _, q := range queues {
		if _, err := ch.QueueDelete(q.name, false, false, false); err != nil {
			return fmt.Errorf("delete queue %s: %w", q.name, err)
		}
	}
	if err := ch.ExchangeDelete(exchangeName, false, false); err != nil {
		return fmt.Errorf("delete exchange: %w", err)
	}
	if err := ch.ExchangeDeclare(exchangeName, "topic", true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchangeName, err)
	}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, q.args); err != nil {
			return fmt.Errorf("declare queue %s: %w", q.name, err)
		}
		for _, key := range q.keys {
			if err := ch.QueueBind(q.name, key, exchangeName, false, nil); err != nil {
				return fmt.Errorf("bind queue %s: %w", q.name, err)
			}
		}
	}
	return nil
}
