package broker

import (
	"cmp"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// Lease is a consumer's hold on messages of one partition. What it was handed is
// settled with it, also after its subscription was closed. It is safe for concurrent use.
type Lease struct {
	part    *Partition
	member  *consumer.Consumer
	timeout time.Duration   // of the consumer's own; 0: the queue's holds
	stream  *streamConsumer // of a stream, where a verdict is credit; nil: of another queue
}

// Timeout is how long a message may be held under the lease; 0 is for ever. Who keeps
// the messages gives those back that are held for longer.
func (l *Lease) Timeout() time.Duration {
	return cmp.Or(l.timeout, l.part.q.Settings().ConsumerTimeout)
}

// Partition is where the messages lie.
func (l *Lease) Partition() *Partition { return l.part }

// Ack ends the messages in [first, last], all of which were handed out under the
// lease. Call it with whole runs: the cost is one of a run, not of a message.
func (l *Lease) Ack(first, last message.Offset) error {
	if l.stream != nil {
		l.stream.settled(int64(last-first) + 1)
		return nil
	}
	if l.part.removed.Load() {
		return nil // the queue is gone, and its messages with it
	}
	if err := l.member.Ack(first, last); err != nil {
		return l.part.notHeld(first, last, err)
	}
	l.part.left(Acked, int64(last-first)+1)
	l.part.q.countSettled(int64(last-first) + 1)
	l.part.progress()
	return nil
}

// Requeue gives the messages in [first, last] back to their places, except for those
// that came back as often as their queue allows. Where the queue wants that, they wait a while.
func (l *Lease) Requeue(first, last message.Offset) error { return l.giveBack(first, last, false) }

// Fail is Requeue of messages with which something went wrong.
func (l *Lease) Fail(first, last message.Offset) error { return l.giveBack(first, last, true) }

func (l *Lease) giveBack(first, last message.Offset, failed bool) error {
	if l.stream != nil {
		return l.Ack(first, last)
	}
	s := l.part.q.Settings()
	if s.DeliveryLimit < 0 || l.part.removed.Load() {
		return l.requeue(first, last, s.retries(failed))
	}
	for _, spent := range l.member.Cursor().Spent(first, last, s.DeliveryLimit, nil) {
		if err := l.requeue(first, spent.First-1, s.retries(failed)); err != nil {
			return err
		}
		if _, err := l.part.retire(l.member, spent.First, spent.Last, DeliveryLimit); err != nil {
			return err
		}
		first = spent.Last + 1
	}
	return l.requeue(first, last, s.retries(failed))
}

func (l *Lease) requeue(first, last message.Offset, later bool) error {
	if last < first || l.part.removed.Load() {
		return nil
	}
	requeue := l.member.Requeue
	if later {
		requeue = l.requeueLater
	}
	if err := requeue(first, last); err != nil {
		return l.part.notHeld(first, last, err)
	}
	l.part.progress()
	l.part.cameBack()
	return nil
}

// Reject ends the messages in [first, last], which no consumer did what they ask for.
func (l *Lease) Reject(first, last message.Offset) error {
	if l.stream != nil {
		return l.Ack(first, last)
	}
	_, err := l.part.retire(l.member, first, last, Rejected)
	return err
}
