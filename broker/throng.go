package broker

import "github.com/leveret-mq/leveret/consumer"

// throng are dead letters that wait behind others, in any number of runs and little memory: a bit
// each instead of a run in a list. What that costs is their order: they come by their offsets,
// those of one reason before those of the next.
//
//	ended ─► waiting, up to maxWaiting runs ─► turn
//	   └──── then, until it is empty ─► throng ─▲ when none waits
type throng struct {
	cursor *consumer.Cursor
	of     [Reasons]consumer.Offsets
}

// maxWaiting is how many runs wait in order.
const maxWaiting = 1 << 16

// len is how many there are.
func (c *throng) len() (n int64) {
	if c == nil {
		return 0
	}
	for i := range c.of {
		n += c.of[i].Len()
	}
	return n
}

// throngIn puts a run behind all others; mu is held. Those of a cursor before are ready again, at
// whoever has the queue since.
func (l *deadLetters) throngIn(e ended) {
	if l.throng == nil || l.throng.cursor != e.cursor {
		l.turned += l.throng.len()
		l.throng = &throng{cursor: e.cursor}
	}
	l.throng.of[e.why].Add(e.first, e.last)
}

// throngOut has the next of the throng wait in order; mu is held.
func (l *deadLetters) throngOut() {
	if l.throng == nil {
		return
	}
	for why := range l.throng.of {
		for len(l.waiting) < maxWaiting/2 {
			r, ok := l.throng.of[why].Take(1 << 62)
			if !ok {
				break
			}
			l.waiting = append(l.waiting, ended{l.throng.cursor, r.First, r.Last, Reason(why)})
		}
	}
	if l.throng.len() == 0 {
		l.throng = nil
	}
}
