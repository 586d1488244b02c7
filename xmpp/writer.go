package xmpp

import (
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// writeBytes is how much a turn gathers before it is written.
const writeBytes = 128 << 10

// writer is what owns the socket's write side, once a resource is bound: a goroutine while there is something to
// write. An idle connection has none.
type writer struct {
	c         *conn
	state     atomic.Int32
	ended     bool        // nothing more is written; of the goroutine that runs
	finishing atomic.Bool // nobody is waited for any more
	pinged    atomic.Bool // the client was asked whether it is there
	writing   atomic.Bool
	outflow   broker.Outflow
}

// States of a writer.
const (
	dormant int32 = iota // before a resource is bound
	idle                 // no goroutine
	busy                 // one runs
	asked                // one runs, and is to look once more
)

// signal has the writer look whether there is something to do; one signal stands for all that were not acted on.
func (c *conn) signal() {
	for {
		switch was := c.w.state.Load(); was {
		case idle:
			if c.w.state.CompareAndSwap(idle, busy) {
				go c.w.run()
				return
			}
		case busy:
			if c.w.state.CompareAndSwap(busy, asked) {
				return
			}
		default:
			return
		}
	}
}

// start has the writer begin.
func (w *writer) start() {
	w.state.Store(idle)
	w.c.signal()
}

// run writes what there is to write. It closes writerDone when the stream has ended.
func (w *writer) run() {
	for !w.ended {
		w.state.Store(busy)
		var err error
		if w.ended, err = w.turns(); err != nil {
			w.ended = true
			w.c.close() // the read loop ends, too
		}
		if w.ended {
			close(w.c.writerDone)
			return
		}
		if w.state.CompareAndSwap(busy, idle) {
			return
		}
	}
}

// turns writes until there is nothing to write. ended is true when the stream is over.
func (w *writer) turns() (ended bool, err error) {
	c := w.c
	k := c.client.Load()
	for {
		c.feed.due()
		late := w.outflow.Late(c.session.Pacer())
		k.mu.Lock()
		mine := k.conn == c
		more := false
		if mine && !late && !c.w.finishing.Load() {
			more = k.pull()
		}
		if mine {
			k.ask()
		}
		var b []byte
		var settled []func(bool)
		alone := 0
		if mine {
			b, k.out = k.out, nil
			alone, k.alone = k.alone, 0
			settled, k.unwritten = k.unwritten, nil
			k.count()
			if k.unpark() {
				more = true
			}
		}
		k.mu.Unlock()
		last := c.last.Load()
		if last != nil {
			b = append(b, *last...)
		}
		if len(b) > 0 {
			if p := c.session.Pacer(); p != nil {
				p.Left(len(b), time.Now())
			}
			w.writing.Store(true)
			err = w.write(b, alone)
			w.writing.Store(false)
			giveBuffer(b)
			settleAll(settled, err == nil)
			if err != nil {
				return false, err
			}
			select {
			case c.drained <- struct{}{}:
			default:
			}
		}
		if last != nil || !mine {
			return true, nil
		}
		if len(b) == 0 && !more {
			return false, nil
		}
	}
}

// write writes b, and what is to go alone by a call of its own.
func (w *writer) write(b []byte, alone int) error {
	out := w.c.link.Load().out
	if alone > 0 {
		if err := out.Write(b[:alone]); err != nil {
			return err
		}
	}
	return out.Write(b[alone:])
}

// busy says whether a delivery would have to wait for something else than its turn.
func (w *writer) busy() bool { return w.writing.Load() || w.outflow.IsLate() }

// waitOut holds the read loop up while too much waits to be written: a client that asks and does not read the
// answers is not read either.
func (c *conn) waitOut(k *Client) {
	for {
		k.mu.Lock()
		low := len(k.out) <= maxOutBytes
		k.mu.Unlock()
		if low {
			return
		}
		select {
		case <-c.drained:
		case <-c.writerDone:
			return
		}
	}
}

// lastWord has the stream end with some bytes, behind what waits to be written. Any goroutine may call it; the first
// one counts.
func (c *conn) lastWord(b []byte) {
	c.last.CompareAndSwap(nil, &b)
	c.signal()
}

// cut ends the stream with an error, for who is not the read loop.
func (c *conn) cut(e *stanza.StreamError) {
	if c.last.Load() == nil {
		c.log.Refused("stream", e, adviceFor(e))
	}
	c.lastWord(appendStreamError(nil, e, ""))
	c.told.Store(true)
	_ = c.rb().Until(time.Now()) // the read loop looks up
}
