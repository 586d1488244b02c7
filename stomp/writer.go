package stomp

import (
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/deliver"
	"github.com/leveret-mq/leveret/internal/websocket"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// writeTimeout is how long a write may stand still before the peer's own traffic is looked at.
const writeTimeout = 30 * time.Second

// writer is the goroutine that owns the socket's write side.
type writer struct {
	c *conn
	deliver.Writer
	control []byte // taken from the outbox, being written
}

func (w *writer) run() {
	c := w.c
	defer close(c.writerDone)
	var beat <-chan time.Time
	if c.beat > 0 {
		tick := time.NewTicker(c.beat / 3)
		defer tick.Stop()
		beat = tick.C
	}
	for {
		select {
		case <-c.wake:
		case <-beat:
			if !w.Wrote {
				if w.write(c.seal([]byte{'\n'}, 0)) != nil {
					c.nc.Close()
					return
				}
			}
			w.Wrote = false
		}
		ended, err := w.turns()
		w.Rest()
		if ended || err != nil {
			if err != nil {
				c.nc.Close() // the read loop ends, too
			}
			return
		}
	}
}

// turns writes until there is nothing to write. ended is true when the connection is over.
func (w *writer) turns() (ended bool, err error) {
	c := w.c
	for {
		finish := w.collect()
		if len(w.control) > 0 {
			if err := w.write(w.control); err != nil {
				return false, err
			}
			if cap(w.control) > maxOutboxBytes {
				w.control = nil
			}
		}
		if finish {
			return true, nil
		}
		more, err := w.Deliver(c.session)
		if err != nil {
			return false, err
		}
		if !c.receiptsDue() && !more {
			return false, nil
		}
	}
}

// collect takes what is in the outbox; at the end, all that ever will be.
func (w *writer) collect() (finish bool) {
	c := w.c
	c.outMu.Lock()
	if c.finish || c.lastWord {
		c.out = c.appendReceipts(c.out)
	}
	w.control, c.out = c.appendPong(c.out), w.control[:0]
	if c.finish || c.lastWord {
		w.control = c.appendClose(w.control)
	}
	w.Take()
	finish = c.finish || c.lastWord
	c.outMu.Unlock()
	select {
	case c.drained <- struct{}{}:
	default:
	}
	return finish
}

// Held implements deliver.Consumer: receipts hold nothing up.
func (k *subscription) Held() bool { return false }

// Deliver implements deliver.Consumer.
func (k *subscription) Deliver(d *broker.Delivery) {
	w := &k.c.w
	tag := k.unacked.Last() + 1
	if !k.enc.Knows(d.Head) {
		k.enc.Headers(d.Head, func(buf []byte) []byte { return k.appendHeaders(buf, d) })
	}
	at := len(w.Turn.Buf)
	if len(d.Body) < deliver.InPlaceBytes {
		w.Turn.Buf = k.c.seal(k.enc.Append(w.Turn.Buf, tag, d.Redelivered, d.Body), at)
	} else {
		w.Turn.Buf = k.enc.AppendHead(w.Turn.Buf, tag, d.Redelivered, len(d.Body))
		if k.c.web != nil {
			w.Turn.Buf = websocket.Seal(w.Turn.Buf, at, d.Body, frame.End)
		}
		k.Lend(d.Body)
		w.Turn.Buf = frame.AppendEnd(w.Turn.Buf)
	}
	w.Frames++
	w.Sized(d.Body)
	if k.noAck {
		k.unacked.Skip()
	} else {
		k.unacked.Hold(&k.near, d.Lease, d.Offset)
	}
}

// appendHeaders appends the headers of a message that are its own.
func (k *subscription) appendHeaders(buf []byte, d *broker.Delivery) []byte {
	buf = appendDestination(append(buf, "destination:"...), d.Exchange, d.Key)
	buf = append(buf, '\n')
	return appendProperties(buf, k.c.version, d.Properties)
}

func (w *writer) write(b []byte) error {
	w.Wrote = true
	return w.Write(b)
}

// patience decides about a client that does not read. As long as it sends, if only heart-beats, or promised none, it
// may take its time: it holds up nobody but itself.
func (c *conn) patience() bool {
	c.outMu.Lock()
	finish := c.finish || c.lastWord
	c.outMu.Unlock()
	return !finish && (c.silence == 0 || time.Since(c.rb.Seen()) <= max(writeTimeout, c.silence))
}

// Cancelled implements deliver.Consumer: it ends a connection one of whose subscriptions has lost its queue, or the
// right to it. As on RabbitMQ its client hears which.
func (k *subscription) Cancelled() (told bool) {
	c := k.c
	c.mu.Lock()
	closed := k.Closed()
	c.mu.Unlock()
	if closed {
		return true
	}
	e := fail("Server cancelled subscription", "The server has canceled a subscription.\nNo more messages will be delivered for '%s'.", k.key[2:])
	e.subscription = k.key[2:]
	e.what, e.advice = "subscription", "the queue '"+k.queue+"' was deleted, or the user may not read it any more"
	c.refused(e)
	c.cut(e)
	return true
}
