package log

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leveret-mq/leveret/segment"
)

// Truncate moves the logical start up to before, at once, and drops the
// segments that lie wholly below it, except the last one, whose name remembers
// the end. It never moves the start back.
func (l *Log) Truncate(before int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	before = min(before, l.end.Load())
	if before <= l.start.Load() {
		return nil
	}
	l.start.Store(before)
	l.dropWhile(func(s *segment.Segment) bool { return s.Next() <= before })
	return nil
}

// DropExpired drops segments from the front as long as they lie wholly below
// the offset below and are not wanted any more:
//
//	latest record before olderThanMs   bytes of the log above maxBytes   segment
//	yes                                any                               dropped
//	no                                 yes                               dropped
//	no                                 no                                kept, and all behind it
//
// olderThanMs and maxBytes are off when 0 or less. The last segment stays, but when
// its time is up another one is begun behind it first; see renew. It returns the
// number of segments dropped.
func (l *Log) DropExpired(olderThanMs, maxBytes, below int64) (dropped int, err error) {
	late := l.renew(olderThanMs, below) // without room for another one, the others still go
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	total := l.backlog()
	list := l.segments()
	dropped = l.dropWhile(func(s *segment.Segment) bool {
		list = list[1:] // those behind s
		old := olderThanMs > 0 && ageTime(s, list) < olderThanMs
		big := maxBytes > 0 && total > maxBytes
		if s.Next() > below || !old && !big {
			return false
		}
		total -= s.Position()
		return true
	})
	if dropped > 0 {
		l.start.Store(max(l.start.Load(), l.segments()[0].Base()))
	}
	return dropped, late
}

// DropBelow drops the segments that lie wholly below an offset, except the last one. It
// does nothing, and says so, when it would have to wait for an append, which may be waiting
// for the disk, or for Thin.
func (l *Log) DropBelow(below int64) bool {
	if !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	if l.closed {
		return true
	}
	if len(l.claimed) > 0 && l.claimed[0].Next() <= below {
		return false
	}
	if l.dropWhile(func(s *segment.Segment) bool { return s.Next() <= below }) > 0 {
		l.start.Store(max(l.start.Load(), l.segments()[0].Base()))
	}
	return true
}

// ageTime is the time from which on a segment ages, given those behind it. Where an
// earlier version noted none, that is when the next one was begun: not before the
// last record came. Without a next one it is not old.
func ageTime(s *segment.Segment, behind []*segment.Segment) int64 {
	if ms := s.MaxTime(); ms != segment.NoRecordTime {
		return ms
	}
	if len(behind) > 0 && behind[0].CreatedMs() > 0 {
		return behind[0].CreatedMs()
	}
	return math.MaxInt64
}

// newcomer is for how long the segment being written stays whatever times its records have.
const newcomer = 5 * time.Minute

// renew begins a segment behind the last one when the last one's time is up, so that
// it can go although nothing more is written:
//
//	all of it is older than olderThanMs, and below below,    it goes now
//	and it is no newcomer
//	it is being written, and was begun before olderThanMs    it goes as a whole that much later
//
// A newcomer was begun less than that age, and less than five minutes, ago: its records
// came with old times. Kafka looks for what is too old every five minutes; who writes a
// history anew and reads it back at once finds it there.
//
// Otherwise a log of which little is written would keep that for as long as it takes
// to fill a segment. The new one is empty, small and on disk before the old one goes,
// because its name remembers the end.
func (l *Log) renew(olderThanMs, below int64) error {
	if olderThanMs <= 0 || olderThanMs == math.MaxInt64 {
		return nil // nothing has a time that could be up
	}
	now := l.o.Now().UnixMilli()
	settled := now - min(now-olderThanMs, newcomer.Milliseconds())
	return l.beginNext(func(last *segment.Segment, end int64) bool {
		due := ageTime(last, nil) < olderThanMs && last.CreatedMs() <= settled && end <= below
		return due || last == l.active && last.CreatedMs() < olderThanMs
	})
}

// Roll begins a segment behind the last one if that was begun before a time and is not empty, and has that one on disk as a whole.
// The new one's file, as large as what the last one holds, is made before: no append waits for that.
func (l *Log) Roll(begunBeforeMs int64) error {
	last := func() *segment.Segment { // the caller holds mu
		list := l.segments()
		if len(list) == 0 || l.usable() != nil {
			return nil
		}
		s := list[len(list)-1]
		if s.Base() == l.end.Load() || s.CreatedMs() >= begunBeforeMs {
			return nil
		}
		return s
	}
	l.mu.Lock()
	s := last()
	if s == nil {
		l.mu.Unlock()
		return nil
	}
	if l.prepared == nil && !l.preparing {
		for l.lastBytes = l.o.FirstSegmentBytes; l.lastBytes < s.Position() && l.lastBytes < l.o.SegmentBytes; {
			l.lastBytes *= 2
		}
		l.prepare()
	}
	l.mu.Unlock()
	l.o.Pool.Wait()
	l.mu.Lock()
	if s = last(); s == nil {
		l.mu.Unlock()
		return nil
	}
	_, err := l.roll(0, true)
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("begin a segment behind %s: %w", s.Name(), err)
	}
	return l.Sync()
}

// beginNext begins a segment behind the last one, if that is not empty and due says so, under mu.
func (l *Log) beginNext(due func(last *segment.Segment, end int64) bool) error {
	if begun, err := l.beginSmall(due); err != nil || !begun {
		return err
	}
	return l.Sync()
}

func (l *Log) beginSmall(due func(last *segment.Segment, end int64) bool) (begun bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.segments()
	if len(list) == 0 || l.usable() != nil {
		return false, nil
	}
	last := list[len(list)-1]
	end := l.end.Load()
	if end == last.Base() || !due(last, end) {
		return false, nil
	}
	l.lastBytes = 0 // what fills slowly begins small, also when a larger file was made for it
	if p := l.prepared; p != nil {
		l.prepared = nil
		p.Discard()
	}
	if _, err := l.roll(0, true); err != nil {
		return false, fmt.Errorf("begin a segment behind %s: %w", last.Name(), err)
	}
	return true, nil
}

// dropWhile drops segments from the front while drop says so; the last one is
// never asked, nor what is being replaced. The caller holds mu.
func (l *Log) dropWhile(drop func(*segment.Segment) bool) int {
	list := l.segments()
	n := 0
	for n < len(list)-1 && !slices.Contains(l.claimed, list[n]) && drop(list[n]) {
		n++
	}
	if n == 0 {
		return 0
	}
	// The list is replaced before the first file goes, so that a reader that
	// finds a segment dropped also finds the new list.
	rest := make([]*segment.Segment, len(list)-n)
	copy(rest, list[n:])
	l.setSegments(rest)
	if l.o.Begins != nil {
		l.o.Begins(rest[0].Base())
	}
	for _, s := range list[:n] {
		s.Drop()
	}
	l.dropped = true
	return n
}
