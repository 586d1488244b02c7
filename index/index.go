package index

import (
	"math"
	"sort"
	"sync/atomic"
)

// NoTime is the max time before any batch was seen, in milliseconds.
const NoTime = math.MinInt64

// Entry says where one batch stands.
type Entry struct {
	Relative   uint32 // base offset of the batch less that of the segment
	Position   uint32 // byte of the segment's file where the batch begins
	TimeBefore int64  // latest time of the batches before it in the segment, ms; NoTime for the first
}

// Index is the entries of one segment in rising order. The zero value is an
// empty one. Add belongs to one writer at a time; look-ups need no lock and may
// run beside it.
type Index struct {
	// count is stored after the entry that it covers and after any longer
	// array, so a reader that loads count first finds at least that many.
	count   atomic.Int64
	entries atomic.Pointer[[]Entry]
}

// Add appends an entry; it must lie behind all the others.
func (x *Index) Add(e Entry) {
	n := int(x.count.Load())
	p := x.entries.Load()
	if p == nil || n == len(*p) {
		grown := make([]Entry, max(4, 2*n))
		if p != nil {
			copy(grown, *p)
		}
		x.entries.Store(&grown)
		p = &grown
	}
	(*p)[n] = e
	x.count.Store(int64(n + 1))
}

// Reset empties the index but keeps its memory. No reader may be left.
func (x *Index) Reset() { x.count.Store(0) }

// Load replaces the content; the index owns entries from here on. No reader may
// be left.
func (x *Index) Load(entries []Entry) {
	x.entries.Store(&entries)
	x.count.Store(int64(len(entries)))
}

// Entries is the entries so far: borrowed, never changed below its length.
func (x *Index) Entries() []Entry {
	n := x.count.Load()
	p := x.entries.Load()
	if n == 0 || p == nil {
		return nil
	}
	return (*p)[:n]
}

// Len is the number of entries.
func (x *Index) Len() int { return int(x.count.Load()) }

// ByOffset returns the last entry at or before a relative offset.
func (x *Index) ByOffset(relative uint32) (Entry, bool) {
	return last(x.Entries(), func(e *Entry) bool { return e.Relative > relative })
}

// ByPosition returns the last entry at or before a position.
func (x *Index) ByPosition(position uint32) (Entry, bool) {
	return last(x.Entries(), func(e *Entry) bool { return e.Position > position })
}

// After returns the first entry behind a position.
func (x *Index) After(position uint32) (Entry, bool) {
	entries := x.Entries()
	i := sort.Search(len(entries), func(i int) bool { return entries[i].Position > position })
	if i == len(entries) {
		return Entry{}, false
	}
	return entries[i], true
}

// ByTime returns the entry from which a search for the first batch that reaches
// ms must walk: the last one all of whose predecessors are earlier than ms.
func (x *Index) ByTime(ms int64) (Entry, bool) {
	return last(x.Entries(), func(e *Entry) bool { return e.TimeBefore >= ms })
}

// last is the entry before the first one for which behind holds. It is written
// out because sort.Search with a closure is twice as slow on the read path.
func last(entries []Entry, behind func(*Entry) bool) (Entry, bool) {
	lo, hi := 0, len(entries)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if behind(&entries[mid]) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo == 0 {
		return Entry{}, false
	}
	return entries[lo-1], true
}
