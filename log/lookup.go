package log

import (
	"errors"
	"fmt"
	"math"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fault"
	"github.com/leveret-mq/leveret/segment"
)

// walkBytes is the size of the Views in which look-ups read.
const walkBytes = 64 << 10

// OffsetForTime returns base offset and latest time of the first batch at or
// behind the start that has a record of time ms or later; ok is false without
// one. Finding the record inside the batch is up to the caller, who can decode it.
func (l *Log) OffsetForTime(ms int64) (offset, timestamp int64, ok bool, err error) {
	from, _ := l.Bounds()
	for _, s := range l.reaching(ms) {
		from = max(from, s.OffsetBefore(ms))
		err = l.walk(from, math.MaxInt64, func(b batch.Batch) bool {
			ok = b.MaxTimestamp() >= ms && b.Messages() > 0 // an empty one tells the time of what Thin removed, a marker its own
			offset, timestamp = b.BaseOffset(), b.MaxTimestamp()
			return !ok
		})
		if ok || err != nil {
			return offset, timestamp, ok, err
		}
	}
	return 0, 0, false, nil
}

// reaching returns the first segment with a record of time ms or later.
func (l *Log) reaching(ms int64) []*segment.Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.segments()
	for i, s := range list {
		if s.MaxTime() >= ms && s.Records() > 0 && (s == l.active || s.Next() > l.start.Load()) {
			return list[i : i+1]
		}
	}
	return nil
}

// walk calls each batch from the one that holds from on that begins before to,
// until fn says no.
func (l *Log) walk(from, to int64, fn func(batch.Batch) bool) error {
	for from < to {
		v, err := l.Read(from, walkBytes)
		if errors.Is(err, ErrOutOfRange) {
			start, end := l.Bounds()
			if from < start && start < min(to, end) {
				from = start // truncated under our feet
				continue
			}
			return nil
		}
		if err != nil || len(v.Bytes()) == 0 {
			return err
		}
		next, more, err := each(v.Bytes(), to, fn)
		v.Release()
		if err != nil || !more {
			return err
		}
		from = next
	}
	return nil
}

func each(b []byte, to int64, fn func(batch.Batch) bool) (next int64, more bool, err error) {
	err = fault.Guard(func() error {
		for rest := b; len(rest) > 0; {
			var h batch.Batch
			var err error
			if h, rest, err = batch.Next(rest); err != nil {
				return fmt.Errorf("%w: %w", segment.ErrCorrupt, err)
			}
			if next = h.LastOffset() + 1; h.BaseOffset() >= to || !fn(h) {
				return nil
			}
		}
		more = true
		return nil
	})
	return next, more, err
}

// Records returns how many records lie in [from, to). It is exact when both are
// borders of batches; inside a batch with gaps it counts no more than the batch
// has. A log without gaps, the usual one, answers by subtraction.
func (l *Log) Records(from, to int64) (int64, error) {
	n, exact := l.RecordsNow(from, to)
	if exact {
		return n, nil
	}
	start, end := l.Bounds()
	from, to = max(from, start), min(to, end)
	n = 0
	for from < to {
		whole, next := l.wholeSegment(from, to)
		if next > from {
			n += whole
			from = next
			continue
		}
		upTo := l.segmentEnd(from, to)
		err := l.walk(from, upTo, func(b batch.Batch) bool {
			overlap := min(b.LastOffset()+1, upTo) - max(b.BaseOffset(), from)
			n += max(0, min(overlap, int64(b.Messages())))
			return true
		})
		if err != nil {
			return n, err // and what can be read
		}
		from = upTo
	}
	return n, nil
}

// RecordsNow is Records without a look at any record. Of a log with gaps it is the
// number of offsets, and exact is false.
func (l *Log) RecordsNow(from, to int64) (n int64, exact bool) {
	start, end := l.Bounds()
	n = max(0, min(to, end)-max(from, start))
	return n, n == 0 || !l.sparse.Load()
}

// wholeSegment returns the records of the segment that begins at from, and its
// end, if it ends at or before to; else from.
func (l *Log) wholeSegment(from, to int64) (records, next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.segments()
	if i := at(list, from); i < len(list) {
		s := list[i]
		if s.Sealed() && s.Base() == from && s.Next() <= to && len(s.Damage()) == 0 {
			return s.Records(), s.Next()
		}
	}
	return 0, from
}

// segmentEnd returns where the segment that holds from ends, at most to.
func (l *Log) segmentEnd(from, to int64) int64 {
	for _, s := range l.segments() {
		if s.Base() > from {
			return min(s.Base(), to)
		}
	}
	return to
}
