package local

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/leveret-mq/leveret/log"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// limits are what package log is asked to drop: whole segments below an offset
// that are older than a time, and the oldest ones while there are too many bytes.
type limits struct {
	below     int64 // only segments that end at or before it
	olderThan int64 // Unix ms; MinInt64: none is too old, MaxInt64: all are
	maxBytes  int64 // 0: no limit
}

// limitsOf is the rule of retention. A segment goes as a whole, when all of it may.
// The one that is being written goes only by age, for which another one is begun.
//
//	log       Age   Bytes  goes: segments …
//	────────  ────  ─────  ────────────────────────────────────────────────────────────
//	consumed  0     any    below the floor, at once
//	consumed  set   0      below the floor and written before now-Age
//	consumed  set   set    below the floor, and written before now-Age or, oldest first,
//	                       while the log has more than Bytes
//	topic     0     0      none
//	topic     set   0      written before now-Age
//	topic     0     set    oldest first, while the log has more than Bytes
//	topic     set   set    either of the two
//
// The floor of a consumed log is what Release said; a topic has none.
func limitsOf(r store.Retention, floor int64, now time.Time) limits {
	l := limits{below: math.MaxInt64, olderThan: math.MinInt64, maxBytes: max(r.Bytes, 0)}
	if r.Age > 0 {
		l.olderThan = now.Add(-r.Age).UnixMilli()
	}
	if r.Consumed {
		l.below = floor
		if r.Age <= 0 {
			l.olderThan = math.MaxInt64
		}
	}
	return l
}

// none says that nothing can go whatever the log holds.
func (l limits) none() bool {
	return l.below <= 0 || (l.olderThan == math.MinInt64 && l.maxBytes == 0)
}

// Release notes the floor, and drops what a work queue need not keep; see store.Log.
func (l *Log) Release(floor message.Offset) {
	for {
		old := l.floor.Load()
		if int64(floor) <= old {
			return
		}
		if l.floor.CompareAndSwap(old, int64(floor)) {
			break
		}
	}
	r := &l.options.Load().Retention
	inner := l.inner.Load()
	drop := inner != nil && r.Consumed && r.Age == 0 && inner.Droppable(int64(floor)) && !l.store.held.Load() // or the sweep does it
	unsaved := l.unsaved.Load() || l.transient()                                                              // or a checkpoint was written since Progress, with the floor before
	if unsaved && (!drop || inner.DropBelow(int64(floor))) {
		return
	}
	l.store.work.Go(func() {
		l.touch()
		if drop {
			l.drop(inner, limits{below: int64(floor), olderThan: math.MaxInt64})
		}
	})
}

// growBytes is how much a log with a limit in bytes may grow before the limit is
// looked at, without waiting for the sweep: what it drops is written to next, and
// is still in memory then.
const growBytes = 16 << 20

// dropGrown applies a limit in bytes to a topic that has grown by n bytes more.
func (l *Log) dropGrown(inner *log.Log, n int) {
	r := &l.options.Load().Retention
	if r.Bytes <= 0 || r.Consumed || l.grown.Add(int64(n)) < growBytes {
		return
	}
	l.grown.Store(0)
	l.drop(inner, limits{below: math.MaxInt64, olderThan: math.MinInt64, maxBytes: r.Bytes})
}

// Truncate moves the start of the log; see store.Log.
func (l *Log) Truncate(_ context.Context, before message.Offset) error {
	inner, err := l.use()
	if err != nil {
		return err
	}
	if inner == nil {
		if before > 0 {
			return fmt.Errorf("log %d: truncate before %d of an empty log: %w", l.id, before, store.ErrOutOfRange)
		}
		return nil
	}
	if err := inner.Truncate(int64(before)); err != nil {
		return l.appendError(inner, err)
	}
	l.wake()
	start, _ := inner.Bounds()
	if err := l.madeCursor().truncated(l, start); err != nil {
		return fmt.Errorf("log %d (%s): keep the new start: %w", l.id, l.name(), storeError(err))
	}
	return nil
}

// drop asks the log to drop segments.
func (l *Log) drop(inner *log.Log, what limits) {
	if what.none() || l.store.held.Load() {
		return
	}
	dropped, err := inner.DropExpired(what.olderThan, what.maxBytes, what.below)
	if dropped > 0 && !l.unsaved.Load() {
		l.touch()
	}
	if err != nil && !l.isGone() {
		l.store.note(event{Kind: eventNotice, Name: l.name(),
			Text: fmt.Sprintf("log %d (%s): retention: %v", l.id, l.name(), err)})
	}
}

// sweep applies retention and lets resting cursors go, until the store closes.
func (s *Store) sweep() {
	retention := time.NewTicker(s.o.SweepInterval)
	rest := time.NewTicker(s.o.FlushInterval)
	defer retention.Stop()
	defer rest.Stop()
	for {
		select {
		case <-retention.C:
			s.sweepOnce()
		case <-rest.C:
			s.restCursors()
			s.reserve.fill()
			s.checkpoints.maybe()
		case <-s.stop:
			return
		}
	}
}

// sweepOnce applies retention to every log. A log that was not used since the
// start is opened when time alone can make it due.
func (s *Store) sweepOnce() {
	now := s.now()
	for _, l := range s.allLogs() {
		select {
		case <-s.stop:
			return
		default:
		}
		r := l.options.Load().Retention
		inner := l.inner.Load()
		if inner == nil && l.mayBeDue(r, now) {
			inner, _ = l.use() // an error is met, and told, by whoever uses the log
		}
		if inner != nil {
			l.drop(inner, limitsOf(r, l.floor.Load(), now))
		}
	}
}

// mayBeDue says whether retention could take something of a log that is not open.
func (l *Log) mayBeDue(r store.Retention, now time.Time) bool {
	if r.Age <= 0 && r.Bytes <= 0 {
		return false
	}
	f := l.rest.Load()
	if f == nil || f.Uncertain {
		return true
	}
	return r.Age > 0 && f.Oldest < now.Add(-r.Age).UnixMilli() || r.Bytes > 0 && f.Bytes > r.Bytes
}

// allLogs is a snapshot of the open logs.
func (s *Store) allLogs() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		all = append(all, l)
	}
	return all
}
