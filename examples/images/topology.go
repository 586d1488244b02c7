package main

import (
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

// declare makes the exchange and the queues.
func declare(b *demo.Broker) error {
	return b.Declare([]demo.Exchange{{Name: exchangeName, Kind: "topic"}}, []demo.Queue{
		{Name: workQueue, Exchange: exchangeName, Keys: []string{jobPrefix + "*"}, Args: amqp.Table{"x-max-priority": int32(sizes[0].Priority)}},
		// Each picture is in three jobs, of which one leads here. Nobody acks in this queue
		// and the next, so they keep all that comes.
		{Name: originalsQueue, Exchange: exchangeName, Keys: []string{jobPrefix + sizes[0].Name}},
		{Name: albumQueue, Exchange: exchangeName, Keys: []string{takenKey, donePfx + "*"}},
	})
}
