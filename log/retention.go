package log

import "github.com/leveret-mq/leveret/segment"

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
// olderThanMs and maxBytes are off when 0 or less. The last segment stays. It
// returns the number of segments dropped.
func (l *Log) DropExpired(olderThanMs, maxBytes, below int64) (dropped int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	total := l.backlog()
	dropped = l.dropWhile(func(s *segment.Segment) bool {
		old := olderThanMs > 0 && s.MaxTime() < olderThanMs
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
	return dropped, nil
}

// dropWhile drops segments from the front while drop says so; the last one is
// never asked. The caller holds mu.
func (l *Log) dropWhile(drop func(*segment.Segment) bool) int {
	list := l.segments()
	n := 0
	for n < len(list)-1 && drop(list[n]) {
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
	for _, s := range list[:n] {
		s.Drop()
	}
	l.dropped = true
	return n
}
