package amqp

import (
	"github.com/leveret-mq/leveret/amqp/wire"
)

// signal wakes the writer; one wake-up stands for all that were not acted on.
func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// send puts a method into the outbox. Any goroutine may call it.
func (c *conn) send(channel uint16, m wire.Method) {
	c.outMu.Lock()
	c.out = wire.AppendMethod(c.out, channel, m)
	c.outMu.Unlock()
	c.signal()
}

// sendContent puts a method with a message into the outbox.
func (c *conn) sendContent(channel uint16, m wire.Method, props wire.RawProperties, body []byte) {
	c.outMu.Lock()
	c.out = wire.AppendContent(c.out, channel, m, props, body, c.frameMax)
	c.outMu.Unlock()
	c.signal()
}

// waitOutbox holds the read loop up while too much waits to be written: a client that asks and does not
// read the answers is not read either.
func (c *conn) waitOutbox() {
	for {
		c.outMu.Lock()
		low := len(c.out)-c.replies.bytes <= maxOutboxBytes && c.confirms.Len() <= maxConfirms
		c.outMu.Unlock()
		if low || c.closing { // nothing is added any more
			return
		}
		select {
		case <-c.drained:
		case <-c.writerDone:
			return
		}
	}
}

// addConsumer shows a new consumer to the writer, behind its consume-ok.
func (c *conn) addConsumer(k *consumer, reply wire.Method) {
	c.outMu.Lock()
	if reply != nil {
		c.out = wire.AppendMethod(c.out, k.ch.number, reply)
	}
	k.Show()
	c.outMu.Unlock()
	c.signal()
}
