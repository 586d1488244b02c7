package log

import (
	"fmt"
	"slices"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// Thin makes the segments small of which little is needed any more: a few
// records that stay must not pin all that was written beside and behind them.
//
//	segment                                        what becomes of it
//	reaches below, is not sealed and synced yet    left as it is
//	keep wants more than a quarter of its bytes    left as it is
//	keep wants less                                replaced by one of the batches that it wants, byte
//	                                               for byte, and empty batches for the rest
//
// keep(first, last) says whether any record in that range still matters; it is
// asked about batches, and about runs of batches. It may change its mind from
// yes to no, but not back, and must not call the log.
//
// Thinning was chosen over copying what stays to a second, side log because
// nothing else changes by it: a record keeps its offset and its place in the
// order, so that reading, look-ups, recovery and whoever remembers offsets know
// of one log only. The price is a file of a page or two a segment for as long
// as something before it stays, until there are enough neighbours for merge to make
// one of them. Bounds do not move.
//
// Appends, reads and syncs go on meanwhile. Views of what was replaced stay
// valid. A power cut leaves each segment as it was or as it is to be. It returns
// by how much less the log occupies on disk, also with an error.
func (l *Log) Thin(below int64, keep func(first, last int64) bool) (freedBytes int64, err error) {
	l.thinMu.Lock()
	defer l.thinMu.Unlock()
	wanted := func(first, last int64) bool { return last >= l.start.Load() && keep(first, last) }
	for list := l.segments(); len(list) > 0 && list[0].Sealed() && list[0].Next() <= below; {
		group := list[:l.untouched(list, below)]
		list = list[len(group):]
		n, err := l.rewrite(segment.Thin, group, wanted)
		freedBytes += n
		for i := 0; i < len(group) && len(group) > 1 && n == 0 && err == nil; i++ {
			var one int64
			one, err = l.rewrite(segment.Thin, group[i:i+1], wanted)
			freedBytes += one
		}
		if err != nil {
			return freedBytes, err
		}
	}
	n, err := l.merge(below, wanted)
	return freedBytes + n, err
}

// thinMost is how many segments Thin makes one of at a time: each rewriting costs a flush.
const thinMost = 64

// untouched returns how many of the first segments are to be thinned as one: so many
// neighbours that no other took the place of yet, or one.
func (l *Log) untouched(list []*segment.Segment, below int64) (n int) {
	for n < min(len(list), thinMost) {
		s := list[n]
		if s.Next() > below || s.Covers() > 0 || s.Position() <= fs.PageBytes || !s.Whole() || n > 0 && !follows(list[0], list[n-1], s) {
			break
		}
		n++
	}
	if n < l.mergeLeast {
		return 1
	}
	return n
}

// rewrite has fn make one segment of some, if it sees a use in that.
func (l *Log) rewrite(fn func([]*segment.Segment, func(first, last int64) bool) (*segment.Thinned, error),
	group []*segment.Segment, keep func(first, last int64) bool) (freedBytes int64, err error) {
	if err := l.canThin(); err != nil {
		return 0, err
	}
	t, err := fn(group, keep)
	if err == nil && t != nil {
		freedBytes, err = l.replace(group, t)
	}
	if err != nil {
		err = fmt.Errorf("log %s: %w", l.o.Dir, err)
	}
	return freedBytes, err
}

func (l *Log) canThin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usable()
}

// replace puts a successor in the place of segments that follow one another. The work is done
// by the pool's goroutine, which also takes dropped segments' names away, so that
// no name is taken from or given to the wrong file. The mutex is not held while
// the disk is busy.
func (l *Log) replace(old []*segment.Segment, t *segment.Thinned) (freedBytes int64, err error) {
	done := make(chan struct{})
	l.o.Pool.Later(func() {
		defer close(done)
		freedBytes, err = l.swap(old, t)
	})
	<-done
	return freedBytes, err
}

// swap is replace on the pool's goroutine.
func (l *Log) swap(old []*segment.Segment, t *segment.Thinned) (freedBytes int64, err error) {
	if !l.claim(old, t) {
		t.Discard()
		return 0, nil
	}
	indexErr, err := t.Install()
	var unsettled error
	if err == nil {
		unsettled = t.Settle()
	}
	if indexErr != nil {
		l.report(Event{Kind: IndexFailed, Segment: old[0].Name(), Err: indexErr})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claimed = nil
	list := l.segments()
	i := slices.Index(list, old[0])
	if err != nil || l.closed || i < 0 {
		t.Discard()
		l.dropPassed()
		return 0, err
	}
	list = slices.Replace(slices.Clone(list), i, i+len(old), t.Segment())
	// Records looks at sparse first, and only then at the list.
	if !t.Segment().Dense() {
		l.sparse.Store(true)
	}
	l.setSegments(list)
	t.Retire(unsettled == nil)
	freedBytes = t.FreedBytes()
	l.dropPassed()
	return freedBytes, unsettled
}

// claim reports whether the segments are still the log's, and keeps them there, and the
// file of the first from being recycled, from here on.
func (l *Log) claim(old []*segment.Segment, t *segment.Thinned) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.segments()
	i := slices.Index(list, old[0])
	if l.closed || i < 0 || len(list)-i < len(old) || !slices.Equal(list[i:i+len(old)], old) {
		return false
	}
	t.Claim()
	l.claimed = old
	l.dropped = true // some of their files go
	return true
}

// dropPassed drops what the start has passed while it was claimed. The caller holds mu.
func (l *Log) dropPassed() {
	if !l.closed {
		l.dropWhile(func(s *segment.Segment) bool { return s.Next() <= l.start.Load() })
	}
}
