package amqp

import "github.com/leveret-mq/leveret/amqp/wire"

// maxConfirms is how many flushes may wait for the disk before the reader stops reading.
const maxConfirms = 4096

// confirmMark is a run of publishes of one channel, numbered as the client numbers them.
type confirmMark struct {
	ch          *channel
	first, last uint64
}

// unstored is called by the store, on any goroutine, when a flush that confirms wait for went wrong.
func (c *conn) unstored(err error) {
	c.tellBlocked()
	c.log.Refused(wire.IDBasicPublish.String(), err, advice(codeOf(err)))
}

// appendConfirms appends the confirms of all flushes that are done, in order: runs of one channel that follow
// each other and had the same end become one basic.ack or basic.nack. conn.outMu is held.
func (c *conn) appendConfirms(buf []byte) []byte {
	var run confirmMark
	refused := false
	for {
		flush := c.confirms.Next()
		if flush == nil {
			return appendConfirm(buf, run, refused)
		}
		for _, m := range flush.Value {
			if run.ch == m.ch && refused == flush.Failed() {
				run.last = m.last
				continue
			}
			buf = appendConfirm(buf, run, refused)
			run, refused = m, flush.Failed()
		}
		clear(flush.Value)
		flush.Value = flush.Value[:0]
		c.confirms.Recycle(flush)
	}
}

// appendConfirm appends one run. All before it were confirmed, so "multiple" means just the run.
func appendConfirm(buf []byte, m confirmMark, refused bool) []byte {
	if m.ch == nil || m.ch.gone {
		return buf
	}
	return wire.AppendConfirm(buf, m.ch.number, m.last, m.last != m.first, refused)
}

// flush ends a read buffer: verdicts go to the broker, publishes to their logs, and their confirms wait
// for the disk. An error is one of storing, for publishes that nobody would otherwise hear about.
func (c *conn) flush() error {
	c.flushSettles()
	if c.flushes == 0 {
		return nil
	}
	if c.s.opts.Broker.Alarm() != "" {
		c.tellBlocked()
		c.waitAlarm()
	}
	unheard := c.plain > 0
	c.flushes, c.plain = 0, 0
	if len(c.touched) == 0 {
		c.publisher.Flush(c.flushed)
		return c.flushErr
	}
	c.outMu.Lock()
	flush := c.confirms.New()
	for _, ch := range c.touched {
		flush.Value = append(flush.Value, confirmMark{ch: ch, first: ch.confirmFirst, last: ch.confirmLast})
		ch.confirmFirst = 0
	}
	durable := flush.Wait()
	c.confirms.Push(flush)
	c.outMu.Unlock()
	c.touched = c.touched[:0]
	c.publisher.Flush(durable)
	if unheard && flush.Failed() {
		return refuse(wire.ResourceError, "messages could not be stored")
	}
	return nil
}
