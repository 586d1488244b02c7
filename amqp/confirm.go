package amqp

import (
	"slices"

	"github.com/leveret-mq/leveret/amqp/wire"
)

// maxConfirms is how many reads' publishes may wait for the disk before the read loop stops reading.
const maxConfirms = 4096

// confirmMark is a run of publishes of one channel, numbered as the client numbers them.
type confirmMark struct {
	ch          *channel
	first, last uint64
	refused     bool // by a queue that is full
}

// A publish is known to the broker by its channel and its number there.
const numberBits = 48

func (ch *channel) ref(number uint64) uint64 {
	return uint64(ch.number)<<numberBits | number&(1<<numberBits-1)
}

// appendMarks appends the publishes first..last of the channel, and takes out of refused, which is in
// order, those of them that a queue refused.
func (ch *channel) appendMarks(list []confirmMark, first, last uint64, refused []uint64) []confirmMark {
	ch.shown.numbered.Store(last)
	at, _ := slices.BinarySearch(refused, ch.ref(first))
	for ; at < len(refused) && refused[at] <= ch.ref(last); at++ {
		n := refused[at] & (1<<numberBits - 1)
		if first < n {
			list = append(list, confirmMark{ch: ch, first: first, last: n - 1})
		}
		if k := len(list) - 1; k >= 0 && list[k].ch == ch && list[k].refused && list[k].last == n-1 {
			list[k].last = n
		} else {
			list = append(list, confirmMark{ch: ch, first: n, last: n, refused: true})
		}
		first = n + 1
	}
	if first <= last {
		list = append(list, confirmMark{ch: ch, first: first, last: last})
	}
	return list
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
			bad := m.refused || answer.Failed()
			if run.ch == m.ch && refused == bad {
				run.last = m.last
				continue
			}
			buf = appendConfirm(buf, run, refused)
			run, refused = m, bad
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
	m.ch.shown.confirmed.Store(m.last)
	return wire.AppendConfirm(buf, m.ch.number, m.last, m.last != m.first, refused)
}
