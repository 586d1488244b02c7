package broker

import (
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// Reason says why messages left their queue.
type Reason uint8

// The reasons.
const (
	Acked         Reason = iota // a consumer acked them, or wanted no acks and was sent them
	Expired                     // their time was over
	Rejected                    // a consumer refused them for good
	LengthLimit                 // the queue was full
	DeliveryLimit               // they came back too often
	Purged                      // somebody emptied the queue
	Retention                   // the log's start passed them
	Damaged                     // they can't be read any more
	Redriven                    // dead letters went back to where they came from
	Compacted                   // a later one has their key

	Reasons // how many there are
)

var reasonNames = [Reasons]string{"acked", "expired", "rejected", "length_limit", "delivery_limit", "purged", "retention", "damaged", "redriven", "compacted"}

// String is the reason's name in metrics.
func (r Reason) String() string { return reasonNames[r] }

// departure is messages on their way out of their queue for one reason. Until leave
// they are on hold: delivered to nobody, counted against nobody's prefetch, but in
// their queue, also after a crash. A copy elsewhere is made and committed before it.
type departure struct {
	part   *Partition
	cursor *consumer.Cursor
	why    Reason
	runs   []consumer.Run
}

// depart puts the messages first..last on hold: those that a consumer holds, all of
// them, or without one those that are still ready.
func (p *Partition) depart(k *consumer.Consumer, first, last message.Offset, why Reason) (departure, error) {
	if k == nil {
		d := departure{part: p, cursor: p.cursor.Load(), why: why}
		if d.cursor != nil { // or another process has it
			d.runs = d.cursor.HoldReady(first, last, nil)
		}
		return d, nil
	}
	d := departure{part: p, cursor: k.Cursor(), why: why}
	if err := k.Hold(first, last); err != nil {
		return d, p.notHeld(first, last, err)
	}
	d.runs = []consumer.Run{{First: first, Last: last}}
	return d, nil
}

// leave ends the messages and says how many they were.
func (d *departure) leave() (n int64) {
	for _, r := range d.runs {
		d.cursor.Free(r.First, r.Last)
		n += r.Len()
	}
	if n > 0 {
		d.part.left(d.why, n)
		d.part.progress()
	}
	return n
}

// retire is the one way out of a queue other than an ack; see depart for which of
// the messages it ends, and says how many they were. Those that are dead letters leave
// when their copies are committed; see deadletters.go.
func (p *Partition) retire(k *consumer.Consumer, first, last message.Offset, why Reason) (int64, error) {
	if p.removed.Load() {
		return 0, nil // the queue is gone, and its messages with it
	}
	d, err := p.depart(k, first, last, why)
	if err != nil {
		return 0, err
	}
	return d.end(), nil
}

// end has the messages leave: at once, or as dead letters when they are copied. It says how
// many they are.
func (d *departure) end() int64 {
	if d.part.q.Settings().copied(d.why) {
		return d.die()
	}
	return d.leave()
}

// purge ends all messages that are ready, if that is still wanted when they are counted.
func (p *Partition) purge(wanted func() bool) (int64, error) {
	c, err := p.work()
	if err != nil {
		return 0, err
	}
	c.DealOut() // what a consumer is free for is its own
	if err := p.expireIfDue(p.q.vhost.b.opts.Now().UnixMilli(), true); err != nil {
		return 0, err // what has expired is a dead letter, and not counted
	}
	n := c.Purge(wanted)
	p.left(Purged, n)
	p.progress()
	return n, nil
}

// left counts messages that have left.
func (p *Partition) left(why Reason, n int64) {
	if n == 0 {
		return
	}
	p.q.vhost.b.counters.Left[why].Add(uint64(n))
	if why == DeliveryLimit && !p.q.Settings().copied(why) {
		p.active().spent.Add(n)
	}
}

// leftWithStart counts the ready messages that went with the log's start.
func (p *Partition) leftWithStart(c *consumer.Cursor) { p.left(Retention, c.Lost()) }

func (p *Partition) notHeld(first, last message.Offset, err error) error {
	return &Error{Kind: Precondition, Text: fmt.Sprintf("queue '%s', offsets %d to %d", p.q.Name, first, last), Err: err}
}

// tellEvery is the time between two lines of the log about one queue's messages.
const tellEvery = 10 * time.Second

// tellSpent says how many messages left for their delivery limit since it said so
// last. It belongs to the saver, which comes again while there is more to be told.
func (p *Partition) tellSpent(now time.Time) {
	a := p.active()
	n := a.spent.Load()
	if n == 0 {
		return
	}
	if ms := now.UnixMilli(); ms-a.spentTold >= tellEvery.Milliseconds() {
		a.spentTold = ms
		a.spent.Add(-n)
		p.q.vhost.b.opts.Log.Warn("messages came back too often and are dropped: a consumer can't cope with them",
			"queue", p.q.Name, "messages", n, "delivery_limit", p.q.Settings().DeliveryLimit)
		return
	}
	p.q.vhost.b.markDirty(p)
}
