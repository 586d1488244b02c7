package amqp

import (
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
)

const (
	// writeBytes is how much a turn gathers before it is written.
	writeBytes = netx.GatherBytes
	// inPlaceBytes is the body size from which the log's own bytes are written instead of a copy.
	inPlaceBytes = 16 << 10
	// pullMessages is the most that one consumer gets in a turn, so that others get theirs. Of messages
	// whose frames are longer it gets what writeBytes holds, but always pullFewest.
	pullMessages = 1024
	pullFewest   = 16
	// smallTurnBytes is what makes a turn not worth its system call: before the next one the writer lets
	// others run once, so that more acks and publishes can join it.
	smallTurnBytes = 16 << 10
	// writeTimeout is how long a write may stand still before the peer's own traffic is looked at.
	writeTimeout = 30 * time.Second
	// readRetry is when a consumer whose queue could not be read tries again.
	readRetry = time.Second
)

// writer is the goroutine that owns the socket's write side.
type writer struct {
	c             *conn
	control       []byte        // taken from the outbox, being written
	replyTags     []replyTag    // to be filled in there
	replyBytes    int           // of replies in control
	turn          netx.Gathered // deliveries
	net           *netx.Writer
	frames        uint64                // written, or to be written by this turn
	framesWritten atomic.Uint64         // the same, for others
	ready         netx.Turns[*consumer] // consumers for which there may be something to do
	lenders       []*consumer
	writing       atomic.Bool // a write is under way, and takes as long as the client lets it
	outflow       broker.Outflow
	wrote         bool // since the last tick
	sized         int  // bytes of the turn's bodies
	small         bool // the last deliveries were few
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
		w.framesWritten.Store(w.frames)
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
	if !w.wrote {
		w.c.outMu.Lock()
		w.c.out = wire.AppendHeartbeat(w.c.out)
		w.c.outMu.Unlock()
	}
	w.wrote = false
}

// turns writes until there is nothing to write. ended is true when the connection is over.
func (w *writer) turns() (ended bool, err error) {
	c := w.c
	for {
		finish := w.collect()
		if len(w.control) > 0 {
			w.tagReplies()
			w.frames += wire.CountFrames(w.control)
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
		if w.small && w.ready.Len() > 0 {
			runtime.Gosched()
		}
		more, err := w.deliveries()
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
	w.ready.Add(c.ready...)
	clear(c.ready)
	c.ready = c.ready[:0]
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

// deliveries gives each consumer that may have something a turn, and writes what comes of it. more says
// that there may be more already.
func (w *writer) deliveries() (more bool, err error) {
	late := w.outflow.Late(w.c.session.Pacer())
	if late {
		w.passOn()
	}
	for range w.ready.Len() {
		k := w.ready.First()
		switch {
		case k.cancelled.Load() && k.ch.answering.Load():
			w.ready.Add(k) // answered wakes us
		case k.cancelled.Load():
			w.tellCancelled(k)
			more = true
		case k.ready.Load() && late:
			w.ready.Add(k)
		case k.ready.Load():
			more = w.pull(k) || more
			if k.cancelled.Load() && !k.ready.Swap(true) {
				w.ready.Add(k) // while it was pulled, when it was not listed once more
				more = true
			}
		}
		if w.turn.Len() >= writeBytes-writeBytes/4 {
			if err := w.send(); err != nil {
				return false, err
			}
			more = true
			break // replies and confirms first, again
		}
	}
	if err := w.send(); err != nil {
		return false, err
	}
	return more, nil
}

// pull encodes what the consumer may have now, and says if it may have more. It waits for no disk.
func (w *writer) pull(k *consumer) (more bool) {
	w.turn.Begin()
	ch := k.ch
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.unsaid > 0 {
		w.ready.Add(k) // once the answer has left the outbox
		return true
	}
	k.ready.Store(false)
	if k.closed {
		return false
	}
	w.sized = 0
	before := w.turn.Len()
	room := max(writeBytes-before, 1)
	most := pullMessages
	if k.mean > 0 {
		most = min(most, max(room/k.mean, pullFewest))
	}
	n, err := k.sub.Pull(most, room, k.emit)
	if n > 0 {
		k.mean = (w.turn.Len() - before) / n
	}
	if err != nil {
		w.c.log.Error("can't read messages", "queue", k.sub.Queue().Name, "error", err)
		k.retryLater() // no wake-up need come for what can't be read
	}
	if k.borrowed {
		w.lenders = append(w.lenders, k)
	} else {
		k.sub.Release()
	}
	if n < most && w.sized < room {
		return false
	}
	if !k.ready.Swap(true) {
		w.ready.Add(k) // behind the others
	}
	return true
}

// deliver encodes one message of a pull. channel.mu is held.
func (k *consumer) deliver(d *broker.Delivery) {
	ch := k.ch
	w := &ch.c.w
	tag := ch.unacked.Last() + 1
	var ok bool
	if len(d.Body) < inPlaceBytes {
		w.turn.Buf, ok = k.enc.AppendSameHead(w.turn.Buf, tag, d.Redelivered, d.Head, d.Body)
	}
	if ok {
		w.frames += wire.SameHeadFrames
	} else {
		k.encode(w, tag, d)
		w.frames += k.enc.Frames(len(d.Body))
	}
	w.sized += len(d.Body)
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
	if len(d.Body) < inPlaceBytes {
		w.turn.Buf = k.enc.Append(w.turn.Buf, tag, d.Redelivered, &content)
		return
	}
	k.borrowed = true
	w.turn.Buf = k.enc.AppendHead(w.turn.Buf, tag, d.Redelivered, &content)
	for body, first := d.Body, true; len(body) > 0; first = false {
		n := min(len(body), k.enc.MaxPartBytes())
		w.turn.Buf = k.enc.AppendBodyBorder(w.turn.Buf, n, first)
		w.turn.Lend(body[:n])
		body = body[n:]
	}
	w.turn.Buf = append(w.turn.Buf, wire.FrameEnd)
}

// send writes the turn's deliveries and gives back what they borrowed.
func (w *writer) send() error {
	if w.turn.Buf == nil {
		return nil
	}
	var err error
	size := w.turn.Len()
	w.small = size < smallTurnBytes
	if size > 0 {
		w.wrote = true
		w.writing.Store(true)
		err = w.turn.WriteTo(w.net)
		w.writing.Store(false)
	}
	if errors.Is(err, syscall.EFAULT) {
		w.unreadable(err)
	}
	if p := w.c.session.Pacer(); p != nil {
		p.Left(size, time.Now())
	}
	w.turn.Free()
	for i, k := range w.lenders {
		k.ch.mu.Lock()
		k.borrowed = false
		k.sub.Release()
		k.ch.mu.Unlock()
		w.lenders[i] = nil
	}
	w.lenders = w.lenders[:0]
	return err
}

// unreadable finds out and says whose body the kernel could not read. What the client has of it can't be
// taken back, so its connection ends; it gets the message again, or what becomes of it.
func (w *writer) unreadable(err error) {
	for _, k := range w.lenders { // what they lent stays lent: it is looked at without the lock, which may take the disk
		if cause := k.sub.Check(); cause != nil {
			err = cause
		}
	}
	w.c.s.opts.Logger.Error("can't read a message while it is sent; the connection is closed",
		"listener", "amqp", "client", w.c.nc.RemoteAddr(), "user", w.c.user.Name, "error", err)
}

func (w *writer) write(b []byte) error {
	if len(b) > wire.FrameOverheadBytes { // more than a heartbeat
		w.wrote = true
	}
	w.writing.Store(true)
	err := w.net.Write(b)
	w.writing.Store(false)
	return err
}

// passOn has others woken in the place of the consumers that were woken and wait for a write to end: theirs
// would be what the client, which does not read, has no room for.
func (w *writer) passOn() {
	c := w.c
	c.outMu.Lock()
	w.ready.Add(c.ready...)
	clear(c.ready)
	c.ready = c.ready[:0]
	c.outMu.Unlock()
	for _, k := range w.ready.Waiting() {
		k.ch.mu.Lock()
		if !k.closed {
			k.sub.Pass()
		}
		k.ch.mu.Unlock()
	}
}

// patience decides about a client that does not read. As long as it sends, if only heartbeats, or did
// not want heartbeats, it may take its time: it holds up nobody but itself.
func (c *conn) patience() bool {
	c.outMu.Lock()
	finish := c.finish
	c.outMu.Unlock()
	return !finish && (c.heartbeat == 0 || time.Since(c.rb.Seen()) <= max(writeTimeout, 2*c.heartbeat))
}

// tellCancelled ends a consumer whose queue was deleted.
func (w *writer) tellCancelled(k *consumer) {
	ch := k.ch
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if k.closed {
		return
	}
	k.close()
	delete(ch.consumers, k.tag)
	if k.sub.Last() && !k.sub.Queue().Deleted() { // it was not the queue that went, but the right to it
		go k.sub.DeleteUnused() // which waits for the disk
	}
	if w.c.caps.cancelNotify {
		w.c.send(ch.number, &wire.BasicCancel{ConsumerTag: k.tag, NoWait: true})
	}
}
