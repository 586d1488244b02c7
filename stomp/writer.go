package stomp

import (
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/websocket"
	"github.com/leveret-mq/leveret/stomp/frame"
)

const (
	// writeBytes is how much a turn gathers before it is written.
	writeBytes = netx.GatherBytes
	// inPlaceBytes is the body size from which the log's own bytes are written instead of a copy.
	inPlaceBytes = 16 << 10
	// pullMessages is the most that one subscription gets in a turn, so that others get theirs. Of messages whose
	// frames are longer it gets what writeBytes holds, but always pullFewest.
	pullMessages = 1024
	pullFewest   = 16
	// smallTurnBytes is what makes a turn not worth its system call: before the next one the writer lets others run
	// once, so that more acks and messages can join it.
	smallTurnBytes = 16 << 10
	// writeTimeout is how long a write may stand still before the peer's own traffic is looked at.
	writeTimeout = 30 * time.Second
	// readRetry is when a subscription whose queue could not be read tries again.
	readRetry = time.Second
)

// writer is the goroutine that owns the socket's write side.
type writer struct {
	c             *conn
	control       []byte        // taken from the outbox, being written
	turn          netx.Gathered // deliveries
	net           *netx.Writer
	frames        uint64        // of deliveries written
	framesWritten atomic.Uint64 // the same, for others
	delivered     atomic.Uint64
	ready         netx.Turns[*subscription] // subscriptions for which there may be something to do
	lenders       []*subscription
	outflow       broker.Outflow
	writing       atomic.Bool // a write is under way, and takes as long as the client lets it
	wrote         bool        // since the last tick
	sized         int         // bytes of the turn's bodies
	small         bool        // the last deliveries were few
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
			if !w.wrote {
				if w.write(c.seal([]byte{'\n'}, 0)) != nil {
					c.nc.Close()
					return
				}
			}
			w.wrote = false
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
		if w.small && w.ready.Len() > 0 {
			runtime.Gosched()
		}
		more, err := w.deliveries()
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
	w.ready.Add(c.ready...)
	clear(c.ready)
	c.ready = c.ready[:0]
	finish = c.finish || c.lastWord
	c.outMu.Unlock()
	select {
	case c.drained <- struct{}{}:
	default:
	}
	return finish
}

// deliveries gives each subscription that may have something a turn, and writes what comes of it. more says that
// there may be more already.
func (w *writer) deliveries() (more bool, err error) {
	late := w.outflow.Late(w.c.session.Pacer())
	if late {
		w.passOn()
	}
	for range w.ready.Len() {
		k := w.ready.First()
		switch {
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
			break // receipts first, again
		}
	}
	return more, w.send()
}

// pull encodes what the subscription may have now, and says if it may have more. It waits for no disk.
func (w *writer) pull(k *subscription) (more bool) {
	w.turn.Begin()
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
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
		w.frames += uint64(n)
		w.delivered.Add(uint64(n))
	}
	if err != nil {
		c.log.Error("can't read messages", "queue", k.sub.Queue().Name, "error", err)
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

// deliver encodes one message of a pull. conn.mu is held.
func (k *subscription) deliver(d *broker.Delivery) {
	w := &k.c.w
	tag := k.unacked.Last() + 1
	if !k.enc.Knows(d.Head) {
		k.enc.Headers(d.Head, func(buf []byte) []byte { return k.appendHeaders(buf, d) })
	}
	at := len(w.turn.Buf)
	if len(d.Body) < inPlaceBytes {
		w.turn.Buf = k.c.seal(k.enc.Append(w.turn.Buf, tag, d.Redelivered, d.Body), at)
	} else {
		k.borrowed = true
		w.turn.Buf = k.enc.AppendHead(w.turn.Buf, tag, d.Redelivered, len(d.Body))
		if k.c.web != nil {
			w.turn.Buf = websocket.Seal(w.turn.Buf, at, d.Body, frame.End)
		}
		w.turn.Lend(d.Body)
		w.turn.Buf = frame.AppendEnd(w.turn.Buf)
	}
	w.sized += len(d.Body)
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

// send writes the turn's deliveries and gives back what they borrowed.
func (w *writer) send() error {
	if w.turn.Buf == nil {
		return nil
	}
	var err error
	size := w.turn.Len()
	w.small = size < smallTurnBytes
	if p := w.c.session.Pacer(); p != nil {
		p.Left(size, time.Now())
	}
	if size > 0 {
		w.wrote = true
		w.writing.Store(true)
		err = w.turn.WriteTo(w.net)
		w.writing.Store(false)
	}
	if errors.Is(err, syscall.EFAULT) {
		w.unreadable(err)
	}
	w.turn.Free()
	for i, k := range w.lenders {
		w.c.mu.Lock()
		k.borrowed = false
		k.sub.Release()
		w.c.mu.Unlock()
		w.lenders[i] = nil
	}
	w.lenders = w.lenders[:0]
	return err
}

// unreadable finds out and says whose body the kernel could not read. What the client has of it can't be taken back,
// so its connection ends; it gets the message again, or what becomes of it.
func (w *writer) unreadable(err error) {
	for _, k := range w.lenders { // what they lent stays lent: it is looked at without the lock, which may take the disk
		if cause := k.sub.Check(); cause != nil {
			err = cause
		}
	}
	w.c.log.Error("can't read a message while it is sent; the connection is closed", "error", err)
}

func (w *writer) write(b []byte) error {
	w.wrote = true
	w.writing.Store(true)
	err := w.net.Write(b)
	w.writing.Store(false)
	return err
}

// passOn has others woken in the place of the subscriptions that were woken and wait for a write to end: theirs would
// be what the client, which does not read, has no room for.
func (w *writer) passOn() {
	c := w.c
	c.outMu.Lock()
	w.ready.Add(c.ready...)
	clear(c.ready)
	c.ready = c.ready[:0]
	c.outMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range w.ready.Waiting() {
		if !k.closed {
			k.sub.Pass()
		}
	}
}

// patience decides about a client that does not read. As long as it sends, if only heart-beats, or promised none, it
// may take its time: it holds up nobody but itself.
func (c *conn) patience() bool {
	c.outMu.Lock()
	finish := c.finish || c.lastWord
	c.outMu.Unlock()
	return !finish && (c.silence == 0 || time.Since(c.rb.Seen()) <= max(writeTimeout, c.silence))
}

// tellCancelled ends a connection one of whose subscriptions has lost its queue, or the right to it: as on RabbitMQ
// its client hears which.
func (w *writer) tellCancelled(k *subscription) {
	c := w.c
	c.mu.Lock()
	closed := k.closed
	c.mu.Unlock()
	if closed {
		return
	}
	e := fail("Server cancelled subscription", "The server has canceled a subscription.\nNo more messages will be delivered for '%s'.", k.key[2:])
	e.subscription = k.key[2:]
	e.what, e.advice = "subscription", "the queue '"+k.queue+"' was deleted, or the user may not read it any more"
	c.refused(e)
	c.cut(e)
}
