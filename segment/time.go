package segment

import (
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
)

// OffsetBefore returns an offset from which a walk meets the first batch that
// reaches time ms, a few KiB before it; the base when nothing better is known.
func (s *Segment) OffsetBefore(ms int64) int64 {
	x := s.index.Load()
	if x == nil {
		var h *handle
		var err error
		if x, h, err = s.openCold(); err != nil {
			return s.base
		}
		h.release()
	}
	e, ok := x.ByTime(ms)
	if !ok {
		return s.base
	}
	return s.base + int64(e.Relative)
}

// Dense reports that every offset from the base on has its record. The caller
// holds the log's mutex, or the segment is sealed.
func (s *Segment) Dense() bool { return s.tail.records == s.tail.next-s.base }

// NoRecordTime is the latest time in a batch none of whose records has a time.
const NoRecordTime = -1

// ageTime is the time from which on a batch ages: that of its latest record. A batch
// without times ages from its arrival, or else it would be of 1970 and go at once.
// Recovery, which can't know that any more, takes its own time: what was not yet
// flushed when the process ended is hardly older.
func (s *Segment) ageTime(b batch.Batch) int64 {
	if ms := b.MaxTimestamp(); ms != NoRecordTime {
		return ms
	}
	if s.o.Now == nil {
		return time.Now().UnixMilli()
	}
	return s.o.Now().UnixMilli()
}
