package broker

import (
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// A few unacked messages hold a work queue's floor, and with it all segments
// behind them. The saver has such a log thinned: what is acked leaves the disk,
// what is not stays where it is.
//
//	floor                                                  handed
//	  ├──┬─────────────────────────────────────────────┬─────┤
//	  open                acked ahead                 open, few     → store.Log.Thin

const (
	thinOffsets  = 4096     // between floor and handed, for a look at the rest
	thinShare    = 4        // of these offsets at most one in so many may be open
	thinSegments = 8        // the log has more than these,
	thinBytes    = 64 << 20 // or more bytes
	thinPauses   = 20       // pauses are that many times as long as the work
	thinSaves    = 5        // and that many saves at least
)

// thinning is the logs whose floor lags. It belongs to the saver's goroutine.
type thinning map[*Partition]*thinState

// thinState is what a log was like when it was thinned last.
type thinState struct {
	next         time.Time // not before
	handed       message.Offset
	open, bytes  int64
	withoutFruit int // times in a row that nothing changed
}

// note adds a partition whose cursor has moved, if its floor lags. Topics keep
// what was acked, and so do queues with x-retention, of which the store knows.
func (t thinning) note(p *Partition) {
	c := p.cursor.Load()
	if t[p] != nil || c == nil || p.q.Topic || p.txns() != nil { // a transaction must not lose its end
		return
	}
	if floor, handed := c.Progress(); handed-floor >= thinOffsets {
		t[p] = &thinState{}
	}
}

// run thins what is due and forgets what does not lag any more.
func (t thinning) run(b *Broker) {
	if len(t) == 0 {
		return
	}
	now := b.opts.Now()
	for p, s := range t {
		c := p.cursor.Load()
		if c == nil {
			delete(t, p)
			continue
		}
		floor, handed := c.Progress()
		if p.removed.Load() || handed-floor < thinOffsets {
			delete(t, p)
			continue
		}
		if !now.Before(s.next) {
			s.thin(b, p, c, floor, handed)
		}
	}
}

// thin has one log thinned if there is something to gain. What was appended
// last becomes thin only when it was flushed, so an unchanged log gets a few tries.
func (s *thinState) thin(b *Broker, p *Partition, c *consumer.Cursor, floor, handed message.Offset) {
	open, _ := c.Left()
	f := p.log.Figures()
	bytes, segments := f.Bytes, f.Segments
	if open*thinShare > int64(handed-floor) || segments <= thinSegments && bytes <= thinBytes {
		return
	}
	if handed != s.handed || open != s.open || bytes != s.bytes {
		s.withoutFruit = 0
	} else if s.withoutFruit++; s.withoutFruit > 2 {
		return
	}
	began := time.Now()
	held := c.Held()
	err := p.saveCursor() // or after a kill what was acked since would be counted and looked for
	if err == nil {
		err = p.log.Thin(handed, held.Holds)
	}
	s.next = b.opts.Now().Add(max(thinSaves*b.opts.SaveEvery, thinPauses*time.Since(began)))
	s.handed, s.open = handed, open
	s.bytes = p.log.Figures().Bytes
	if err != nil && !p.removed.Load() {
		b.opts.Log.Error("can't free the space of acked messages", "queue", p.q.Name, "error", err)
		s.next = s.next.Add(time.Minute)
	}
}
