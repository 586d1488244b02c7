package stomp

import (
	"time"

	"github.com/leveret-mq/leveret/stomp/frame"
)

// signal wakes the writer; one wake-up stands for all that were not acted on.
func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// lastFrame puts an ERROR into the outbox, behind which nothing follows. Any goroutine may call it.
func (c *conn) lastFrame(e *failure) {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if c.lastWord {
		return
	}
	c.out = c.seal(e.append(c.out, c.version), len(c.out))
	c.lastWord = true
	c.signal()
}

// cut is lastFrame for who is not the read loop, which is told to end.
func (c *conn) cut(e *failure) {
	c.lastFrame(e)
	c.rb.Until(time.Now()) // it looks up
}

// waitOutbox holds the read loop up while too much waits to be written: a client that asks and does not read the
// answers is not read either.
func (c *conn) waitOutbox() {
	for {
		c.outMu.Lock()
		low := len(c.out) <= maxOutboxBytes && c.waiting.Len() <= maxWaiting
		c.outMu.Unlock()
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

// show shows a new subscription to the writer, behind its receipt.
func (c *conn) show(k *subscription, f *frame.Frame) {
	if id, ok := f.Get("receipt"); ok {
		c.receipt(id)
	}
	c.outMu.Lock()
	k.Show()
	c.outMu.Unlock()
	c.signal()
}
