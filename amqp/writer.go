package amqp

import (
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/deliver"
)

// writeTimeout is how long a write may stand still before the peer's own traffic is looked at.
const writeTimeout = 30 * time.Second

// writer is the goroutine that owns the socket's write side.
type writer struct {
	c *conn
	deliver.Writer
	control    []byte     // taken from the outbox, being written
	replyTags  []replyTag // to be filled in there
	replyBytes int        // of replies in control
}

func (w *writer) run() {
	c := w.c
	defer close(c.writerDone)
	var beat <-chan time.Time
	if c.heartbeat > 0 {
		tick := time.NewTicker(c.heartbeat / 2)
		defer tick.Stop()
		beat = tick.C
	}
	for {
		select {
		case <-c.wake:
		case <-beat:
			w.heartbeat()
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

// heartbeat tells the client that we live, unless more than that was written since the last time.
func (w *writer) heartbeat() {
	if !w.Wrote {
		w.c.outMu.Lock()
		w.c.out = wire.AppendHeartbeat(w.c.out)
		w.c.outMu.Unlock()
	}
	w.Wrote = false
}

// turns writes until there is nothing to write. ended is true when the connection is over.
func (w *writer) turns() (ended bool, err error) {
	c := w.c
	for {
		finish := w.collect()
		if len(w.control) > 0 {
			w.tagReplies()
			w.Frames += wire.CountFrames(w.control)
			if err := w.write(w.control); err != nil {
				return false, err
			}
			if cap(w.control) > maxOutboxBytes {
				w.control = nil
			}
			c.repliesLeft(w.replyBytes)
		}
		if finish {
			return true, nil
		}
		more, err := w.Deliver(c.session)
		if err != nil {
			return false, err
		}
		if !more {
			return false, nil
		}
	}
}

// collect takes what is in the outbox, and the confirms that are due behind it.
func (w *writer) collect() (finish bool) {
	c := w.c
	c.outMu.Lock()
	c.out = c.appendConfirms(c.out)
	w.control, c.out = c.out, w.control[:0]
	w.replyTags, w.replyBytes = c.replies.take(w.replyTags)
	w.Take()
	finish = c.finish
	said := c.unsaid
	c.unsaid = nil
	c.outMu.Unlock()
	for _, ch := range said {
		ch.mu.Lock()
		ch.unsaid--
		ch.mu.Unlock()
	}
	select {
	case c.drained <- struct{}{}:
	default:
	}
	return finish
}

// Held implements deliver.Consumer. Behind connection.close nothing is delivered.
func (k *consumer) Held() bool { return k.ch.unsaid > 0 || k.ch.c.told.Load() }

// Deliver implements deliver.Consumer.
func (k *consumer) Deliver(d *broker.Delivery) {
	ch := k.ch
	w := &ch.c.w
	tag := ch.unacked.Last() + 1
	var ok bool
	if len(d.Body) < deliver.InPlaceBytes {
		w.Turn.Buf, ok = k.enc.AppendSameHead(w.Turn.Buf, tag, d.Redelivered, d.Head, d.Body)
	}
	if ok {
		w.Frames += wire.SameHeadFrames
	} else {
		k.encode(w, tag, d)
		w.Frames += k.enc.Frames(len(d.Body))
	}
	w.Sized(d.Body)
	if k.noAck {
		ch.unacked.Skip()
	} else {
		ch.unacked.Hold(&k.near, d.Lease, d.Offset)
	}
}

// encode puts a delivery with another head than the last one into the turn's buffer, or its body beside it.
func (k *consumer) encode(w *writer, tag uint64, d *broker.Delivery) {
	content := wire.Content{Exchange: d.Exchange, Key: d.Key, Properties: d.Properties, Body: d.Body, Head: d.Head}
	if len(content.Key) > wire.MaxShortStringBytes {
		content.Key = nil
	}
	if len(d.Body) < deliver.InPlaceBytes {
		w.Turn.Buf = k.enc.Append(w.Turn.Buf, tag, d.Redelivered, &content)
		return
	}
	w.Turn.Buf = k.enc.AppendHead(w.Turn.Buf, tag, d.Redelivered, &content)
	for body, first := d.Body, true; len(body) > 0; first = false {
		n := min(len(body), k.enc.MaxPartBytes())
		w.Turn.Buf = k.enc.AppendBodyBorder(w.Turn.Buf, n, first)
		k.Lend(body[:n])
		body = body[n:]
	}
	w.Turn.Buf = append(w.Turn.Buf, wire.FrameEnd)
}

func (w *writer) write(b []byte) error {
	if len(b) > wire.FrameOverheadBytes { // more than a heartbeat
		w.Wrote = true
	}
	return w.Write(b)
}

// patience decides about a client that does not read. As long as it sends, if only heartbeats, or did
// not want heartbeats, it may take its time: it holds up nobody but itself.
func (c *conn) patience() bool {
	c.outMu.Lock()
	finish := c.finish
	c.outMu.Unlock()
	return !finish && (c.heartbeat == 0 || time.Since(c.rb.Seen()) <= max(writeTimeout, 2*c.heartbeat))
}

// Cancelled implements deliver.Consumer: it ends a consumer whose queue was deleted, once the answer of the method that
// did it stands in the outbox.
func (k *consumer) Cancelled() (told bool) {
	ch := k.ch
	if ch.answering.Load() {
		return false // answered wakes us
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if k.Closed() {
		return true
	}
	k.Close()
	delete(ch.consumers, k.tag)
	if k.Sub.Last() && !k.Sub.Queue().Deleted() { // it was not the queue that went, but the right to it
		go k.Sub.DeleteUnused() // which waits for the disk
	}
	if ch.c.caps.cancelNotify && !ch.c.told.Load() { // or it would come behind connection.close
		ch.c.send(ch.number, &wire.BasicCancel{ConsumerTag: k.tag, NoWait: true})
	}
	return true
}
