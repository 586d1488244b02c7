package log

import (
	"math"

	"github.com/leveret-mq/leveret/segment"
)

// Extent is what a log consists of at a moment.
type Extent struct {
	Start, End  int64 // as Bounds
	First, Last int64 // base offsets of the first and the last segment, -1 without one
	Flushed     int64 // every record below is on disk
	Bytes       int64 // as Size
	Segments    int
	// Oldest is the time, in ms, from which on the first segment ages: retention takes
	// nothing by age before. math.MaxInt64 if it has no record.
	Oldest int64
}

// Extent returns what the log consists of.
func (l *Log) Extent() Extent {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := Extent{First: -1, Last: -1, Flushed: l.syncedTo.Load(), Oldest: math.MaxInt64}
	e.Start, e.End = l.Bounds()
	e.Bytes, e.Segments = l.Size()
	if list := l.segments(); len(list) > 0 {
		e.First, e.Last = list[0].Base(), list[len(list)-1].Base()
		if e.End > e.First {
			e.Oldest = ageTime(list[0], list[1:])
		}
	}
	if l.closed && l.active != nil && !l.o.Transient {
		e.Bytes -= l.active.AllocatedBytes() - l.active.Position() // what closing gave back
	}
	return e
}

// Known is what is remembered of a log beside it.
type Known struct {
	// Flushed is an offset below which every record was on disk.
	Flushed int64
	// Start, if Exact, is where the log began. Without Exact it may have been
	// truncated since.
	Start int64
	Exact bool
}

// compare reports what is missing at the log's two ends, which no neighbour tells, and
// returns where the log goes on if it was found to end at end.
func (l *Log) compare(list []*segment.Segment, end int64) int64 {
	k := l.o.Known
	if k == nil {
		return end
	}
	first := end
	if len(list) > 0 {
		first = list[0].Base()
	}
	if k.Exact && k.Start < min(first, end) {
		l.report(Event{Kind: Missing, From: k.Start, To: min(first, end)})
		l.sparse.Store(true)
	}
	if end >= k.Flushed {
		return end
	}
	from := max(end, min(l.cutTo, k.Flushed))
	if len(list) == 0 && k.Exact {
		from = max(from, k.Start)
	}
	l.sparse.Store(true)
	if from < k.Flushed {
		l.report(Event{Kind: Missing, From: from, To: k.Flushed})
	}
	return k.Flushed
}
