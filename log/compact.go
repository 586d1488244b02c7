package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/segment"
)

// Whole is one segment to which nothing is appended any more and that is on disk.
type Whole struct {
	Start, End int64 // offsets: [Start, End)
	Bytes      int64
	NewestMs   int64 // the latest time of its records, segment.NoRecordTime if that is not known
	BegunMs    int64 // when its first record came, or a little before; 0: it is not known
}

// WholeSegments lists, oldest first, what Compact could rewrite: the segments up to the first one that is still
// being written or flushed, or in which damage is known. The last one of a log is never among them: its name tells
// where the log has come to, and Known counts on that.
func (l *Log) WholeSegments() (list []Whole) {
	for _, s := range butLast(l.segments()) {
		if !s.Sealed() || !s.Whole() || len(list) > 0 && list[len(list)-1].End != s.Base() {
			break
		}
		list = append(list, Whole{s.Base(), s.Next(), s.Position(), s.MaxTime(), s.CreatedMs()})
	}
	return list
}

// Compact writes segments anew, oldest first, as edit wants their batches; see segment.Edit. It takes all of WholeSegments
// that begin before an offset, and makes one of neighbours that fit a full segment together:
//
//	│ 0‥99 │ 100‥199 │ 200‥999 full │ 1000‥1099 │ being written …
//	└───── one ──────┘└─ as it was ─┘└─ one ────┘
//
// One that is more than half full stays alone, or it would be copied each time with the few that came behind it.
//
// Bounds and offsets stay. Appends, reads, retention and syncs go on meanwhile, and Views of what was replaced stay valid. A power
// cut leaves each segment as it was or as it is to be, and once Compact returns only the latter. It ends early when a segment
// goes meanwhile; reached is the offset up to which all is done.
func (l *Log) Compact(before int64, edit segment.Edit) (reached, freedBytes int64, err error) {
	l.thinMu.Lock()
	defer l.thinMu.Unlock()
	if list := l.segments(); len(list) > 0 {
		reached = list[0].Base()
	}
	skipping := func(b batch.Batch) (batch.Batch, error) {
		if b.LastOffset() < l.start.Load() {
			return nil, nil // nobody can read it
		}
		return edit(b)
	}
	replaced := false
	for group := l.group(reached, before); len(group) > 0; group = l.group(reached, before) {
		if err := l.canThin(); err != nil {
			return reached, freedBytes, err
		}
		t, err := segment.Rewrite(group, skipping)
		if err == nil && t != nil {
			var n int64
			n, err = l.replace(group, t)
			if err == nil && !slices.Contains(l.segments(), t.Segment()) {
				break // retention was quicker
			}
			freedBytes += n
			replaced = true
		}
		if errors.Is(err, segment.ErrDropped) {
			break
		}
		if err != nil {
			return reached, freedBytes, fmt.Errorf("log %s: %w", l.o.Dir, err)
		}
		reached = group[len(group)-1].Next()
	}
	if replaced && !l.o.Transient {
		err = l.o.FS.SyncDir(l.o.Dir)
	}
	return reached, freedBytes, err
}

func butLast(list []*segment.Segment) []*segment.Segment { return list[:max(len(list)-1, 0)] }

// group returns the segments from an offset on that Compact makes one of.
func (l *Log) group(from, before int64) []*segment.Segment {
	l.mu.Lock()
	most := l.o.SegmentBytes
	l.mu.Unlock()
	list := butLast(l.segments())
	first := slices.IndexFunc(list, func(s *segment.Segment) bool { return s.Base() == from })
	if first < 0 {
		return nil
	}
	list = list[first:]
	n, bytes := 0, int64(0)
	for n < len(list) {
		s := list[n]
		if !s.Sealed() || !s.Whole() || s.Base() >= before || n > 0 && (!follows(list[0], list[n-1], s) || bytes+s.Position() > most || 2*s.Position() > most) {
			break
		}
		bytes += s.Position()
		n++
		if n == 1 && 2*bytes > most {
			break
		}
	}
	return list[:n]
}
