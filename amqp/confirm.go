package amqp

import "github.com/leveret-mq/leveret/amqp/wire"

// maxConfirms is how many reads' publishes may wait for the disk before the read loop stops reading.
const maxConfirms = 4096

// confirmMark is a run of publishes of one channel, numbered as the client numbers them.
type confirmMark struct {
	ch          *channel
	first, last uint64
}

// unstored is called by the store, on any goroutine, when publishes that confirms wait for could not be stored.
func (c *conn) unstored(err error) {
	c.tellBlocked()
	c.log.Refused(wire.IDBasicPublish.String(), err, advice(codeOf(err)))
}

// appendConfirms appends the confirms that wait for nothing more, in order: runs of one channel that follow
// each other and had the same end become one basic.ack or basic.nack. conn.outMu is held.
func (c *conn) appendConfirms(buf []byte) []byte {
	var run confirmMark
	refused := false
	for {
		answer := c.confirms.Next()
		if answer == nil {
			return appendConfirm(buf, run, refused)
		}
		for _, m := range answer.Value {
			if run.ch == m.ch && refused == answer.Failed() {
				run.last = m.last
				continue
			}
			buf = appendConfirm(buf, run, refused)
			run, refused = m, answer.Failed()
		}
		clear(answer.Value)
		answer.Value = answer.Value[:0]
		c.confirms.Recycle(answer)
	}
}

// appendConfirm appends one run. All before it were confirmed, so "multiple" means just the run.
func appendConfirm(buf []byte, m confirmMark, refused bool) []byte {
	if m.ch == nil || m.ch.gone {
		return buf
	}
	return wire.AppendConfirm(buf, m.ch.number, m.last, m.last != m.first, refused)
}
