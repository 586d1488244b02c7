package broker

import (
	"fmt"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// Lease is a consumer's hold on messages of one partition. What it was handed is
// settled with it, also after its subscription was closed. It is safe for concurrent use.
type Lease struct {
	part   *Partition
	member *consumer.Consumer
}

// Partition is where the messages lie.
func (l *Lease) Partition() *Partition { return l.part }

// Ack ends the messages in [first, last], all of which were handed out under the
// lease. Call it with whole runs: the cost is one of a run, not of a message.
func (l *Lease) Ack(first, last message.Offset) error {
	err := l.settle(first, last, (*consumer.Consumer).Ack)
	if err == nil {
		l.part.q.vhost.b.counters.Acked.Add(uint64(last-first) + 1)
	}
	return err
}

// Requeue gives the messages in [first, last] back to their places.
func (l *Lease) Requeue(first, last message.Offset) error {
	return l.settle(first, last, (*consumer.Consumer).Requeue)
}

// Reject drops the messages in [first, last], which no consumer did.
func (l *Lease) Reject(first, last message.Offset) error {
	return l.settle(first, last, (*consumer.Consumer).Drop)
}

func (l *Lease) settle(first, last message.Offset, how func(*consumer.Consumer, message.Offset, message.Offset) error) error {
	if l.part.removed.Load() {
		return nil // the queue is gone, and its messages with it
	}
	if err := how(l.member, first, last); err != nil {
		return &Error{Kind: Precondition, Text: fmt.Sprintf("queue '%s', offsets %d to %d", l.part.q.Name, first, last), Err: err}
	}
	l.part.progress()
	return nil
}
