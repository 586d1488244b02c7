package xmpp

import (
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/unacked"
)

const (
	// pullMessages is the most that one consumer gets in a turn, so that others get theirs.
	pullMessages = 256
	// readRetry is when a consumer whose queue could not be read tries again.
	readRetry = time.Second
	// defaultPrefetch is how many messages a consumer may hold that says nothing.
	defaultPrefetch = 200
)

// ConsumerOptions say how a client consumes a queue.
type ConsumerOptions struct {
	Queue string
	// Session is who consumes; nil is the client, with the session that it has at the time.
	Session *broker.Session
	// Prefetch is how many messages may be held; 0 is 200.
	Prefetch int
	// Args are what broker.SubscribeOptions.Args are.
	Args []byte
	// ByHand says that messages are settled with Settle. Without, one is settled when the client acknowledges the
	// stanza that carries it, by stream management; on a stream without that, as soon as it is handed to the writer.
	ByHand bool
	// Append appends the stanza of a message to buf; tag is what Settle takes. It runs under a lock of the client's
	// and calls nothing of it. What it appends nothing for is settled.
	Append func(buf []byte, d *broker.Delivery, tag uint64) []byte
	// Cancelled is called, on a goroutine of its own, when the consumer has lost its queue or the right to it.
	Cancelled func(*Consumer)
}

// Consumer is a subscription to a queue on behalf of a client: one of the queue's competing consumers.
type Consumer struct {
	k *Client
	o ConsumerOptions

	ready     atomic.Bool // it is listed for the writer
	retrying  atomic.Bool
	cancelled atomic.Bool

	// Guarded by Client.mu.
	sub     *broker.Subscription // nil while the stream is broken
	closed  bool
	unacked unacked.Set
	near    unacked.Near
	dirty   bool
	emit    func(*broker.Delivery)
	handed  uint64 // messages
}

// Consume begins a consumer. It belongs to who handles a stanza of the client's.
func (k *Client) Consume(o ConsumerOptions) (*Consumer, error) {
	if o.Prefetch == 0 {
		o.Prefetch = defaultPrefetch
	}
	q := &Consumer{k: k, o: o}
	q.emit = q.deliver
	q.unacked.Failed = func(err error) {
		k.s.opts.Logger.Error("can't settle messages", "listener", "xmpp", "queue", o.Queue, "error", err)
	}
	sub, err := q.subscribe(k.Session())
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	if k.gone {
		k.mu.Unlock()
		sub.Close()
		return nil, errGone
	}
	q.sub = sub
	if k.consumers == nil {
		k.consumers = map[*Consumer]struct{}{}
	}
	k.consumers[q] = struct{}{}
	k.mu.Unlock()
	q.look()
	return q, nil
}

func (q *Consumer) subscribe(s *broker.Session) (*broker.Subscription, error) {
	if q.o.Session != nil {
		s = q.o.Session
	}
	return s.Subscribe(q.o.Queue, broker.SubscribeOptions{
		Prefetch: q.o.Prefetch, Args: q.o.Args, Wake: q.look, Busy: q.busy,
		Cancelled: func() { q.cancelled.Store(true); q.look() },
	})
}

// Queue is the name of what it consumes.
func (q *Consumer) Queue() string { return q.o.Queue }

// Settle acks a message, or with back gives it back to its queue; false says that the consumer does not hold it.
func (q *Consumer) Settle(tag uint64, back bool) bool {
	q.k.mu.Lock()
	defer q.k.mu.Unlock()
	v := unacked.Ack
	if back {
		v = unacked.Requeue
	}
	ok := q.unacked.Settle(tag, v)
	q.unacked.Tell()
	return ok
}

// Close ends the consumer. What the client holds of it goes back to its queue, but for what was sent on a stream
// with stream management: the client may acknowledge that still.
func (q *Consumer) Close() {
	q.k.mu.Lock()
	sub := q.leave()
	q.closed = true
	delete(q.k.consumers, q)
	if q.o.ByHand {
		q.unacked.SettleAll(unacked.Fail)
		q.unacked.Tell()
	}
	q.k.mu.Unlock()
	if sub != nil {
		sub.DeleteUnused()
	}
}

// leave takes it off its queue. DeleteUnused of what it returns must follow, without a lock. Client.mu is held.
func (q *Consumer) leave() *broker.Subscription {
	sub := q.sub
	q.sub = nil
	if sub != nil {
		sub.Leave()
		sub.Release()
	}
	return sub
}

// acked notes that the client has acknowledged a message; tell must follow. Client.mu is held.
func (q *Consumer) acked(tag uint64) {
	q.unacked.Settle(tag, unacked.Ack)
	if !q.dirty {
		q.dirty = true
		q.k.dirty = append(q.k.dirty, q)
	}
}

// tell hands verdicts to the broker, and lets consumers go on that waited for room. mu is held.
func (k *Client) tell() {
	for i, q := range k.dirty {
		q.dirty = false
		q.unacked.Tell()
		k.dirty[i] = nil
	}
	k.dirty = k.dirty[:0]
	k.unpark()
}

// unpark lets consumers go on that waited for room, if there is some now. mu is held.
func (k *Client) unpark() bool {
	if len(k.parked) == 0 || k.isFull() {
		return false
	}
	for i, q := range k.parked {
		q.look()
		k.parked[i] = nil
	}
	k.parked = k.parked[:0]
	return true
}

// look has the writer look at a consumer, for which there may be something to do. It takes no lock but a leaf.
func (q *Consumer) look() {
	if q.ready.Load() || q.ready.Swap(true) {
		return
	}
	k := q.k
	k.noteMu.Lock()
	k.ready = append(k.ready, q)
	k.noteMu.Unlock()
	if c := k.live.Load(); c != nil {
		c.signal()
	}
}

func (q *Consumer) busy() bool {
	c := q.k.live.Load()
	return c == nil || c.w.busy()
}

// pull encodes what consumers may have now, and says if there may be more. It waits for no disk. mu is held.
func (k *Client) pull() (more bool) {
	for {
		k.noteMu.Lock()
		if len(k.ready) == 0 {
			k.noteMu.Unlock()
			return more
		}
		q := k.ready[0]
		k.ready[0] = nil
		if k.ready = k.ready[1:]; len(k.ready) == 0 {
			k.ready = nil
		}
		k.noteMu.Unlock()
		q.ready.Store(false)
		switch {
		case q.closed:
			continue
		case q.cancelled.Load():
			q.cancelled.Store(false)
			go q.lost()
			continue
		case q.sub == nil:
			continue
		case k.isFull():
			k.parked = append(k.parked, q)
			continue
		}
		room := max(writeBytes-len(k.out), 1)
		n, err := q.sub.Pull(pullMessages, room, q.emit)
		q.sub.Release()
		q.unacked.Tell()
		k.count()
		if err != nil {
			k.s.opts.Logger.Error("can't read messages", "listener", "xmpp", "queue", q.o.Queue, "error", err)
			q.retryLater()
		}
		if n == pullMessages || len(k.out) >= writeBytes {
			q.look()
			more = true
		}
		if len(k.out) >= writeBytes {
			return true
		}
	}
}

// deliver encodes one message of a pull. Client.mu is held.
func (q *Consumer) deliver(d *broker.Delivery) {
	k := q.k
	k.buffer()
	start := len(k.out)
	tag := q.unacked.Hold(&q.near, d.Lease, d.Offset)
	k.out = q.o.Append(k.out, d, tag)
	q.handed++
	k.delivered++
	switch {
	case len(k.out) == start:
		q.unacked.Settle(tag, unacked.Ack)
		return
	case q.o.ByHand:
	case k.sm == nil:
		q.unacked.Settle(tag, unacked.Ack)
	}
	as := entry{}
	if k.sm != nil {
		if !q.o.ByHand {
			as.consumer, as.tag = q, tag
		}
		k.sm.push(k.out[start:], as)
	}
	if k.conn != nil {
		k.conn.written.Add(1)
	}
}

// retryLater looks again in a while, however often it is asked to.
func (q *Consumer) retryLater() {
	if !q.retrying.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(readRetry, func() {
		q.retrying.Store(false)
		q.look()
	})
}

// lost ends a consumer whose queue is gone, or the right to it.
func (q *Consumer) lost() {
	q.Close()
	if q.o.Cancelled != nil {
		q.o.Cancelled(q)
	}
}

// suspend takes all consumers off their queues while the stream is broken; what they hold they hold on to.
func (k *Client) suspend() {
	k.mu.Lock()
	var left []*broker.Subscription
	for q := range k.consumers {
		if sub := q.leave(); sub != nil {
			left = append(left, sub)
		}
	}
	k.mu.Unlock()
	for _, sub := range left {
		sub.DeleteUnused()
	}
}

// revive has the consumers go on with a new session after the stream was resumed.
func (k *Client) revive() {
	k.mu.Lock()
	list := make([]*Consumer, 0, len(k.consumers))
	for q := range k.consumers {
		list = append(list, q)
	}
	k.mu.Unlock()
	for _, q := range list {
		sub, err := q.subscribe(k.Session())
		if err != nil {
			go q.lost()
			continue
		}
		k.mu.Lock()
		if q.closed || q.sub != nil {
			k.mu.Unlock()
			sub.Close()
			continue
		}
		q.sub = sub
		k.mu.Unlock()
		q.look()
	}
}

// drop ends all consumers and gives back what they hold. mu is held; what it returns is to be told DeleteUnused
// without.
func (k *Client) drop() (left []*broker.Subscription) {
	for q := range k.consumers {
		if q.sub != nil {
			q.sub.Stop()
		}
	}
	for q := range k.consumers {
		q.closed = true
		q.unacked.SettleAll(unacked.Fail) // before one who waits for its turn gets it
		q.unacked.Tell()
		if sub := q.leave(); sub != nil {
			left = append(left, sub)
		}
	}
	k.consumers, k.parked = nil, nil
	return left
}
