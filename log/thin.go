package log

import (
	"fmt"
	"slices"

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
// as something before it stays. Bounds do not move.
//
// Appends, reads and syncs go on meanwhile. Views of what was replaced stay
// valid. A power cut leaves each segment as it was or as it is to be. It returns
// by how much less the log occupies on disk, also with an error.
func (l *Log) Thin(below int64, keep func(first, last int64) bool) (freedBytes int64, err error) {
	l.thinMu.Lock()
	defer l.thinMu.Unlock()
	for _, s := range l.segments() {
		if !s.Sealed() || s.Next() > below {
			break
		}
		if err := l.canThin(); err != nil {
			return freedBytes, err
		}
		t, err := s.Thin(func(first, last int64) bool { return last >= l.start.Load() && keep(first, last) })
		if err != nil {
			return freedBytes, fmt.Errorf("log %s: %w", l.o.Dir, err)
		}
		if t == nil {
			continue
		}
		n, err := l.replace(s, t)
		freedBytes += n
		if err != nil {
			return freedBytes, fmt.Errorf("log %s: %w", l.o.Dir, err)
		}
	}
	return freedBytes, nil
}

func (l *Log) canThin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usable()
}

// replace puts a thinned segment in the place of the old one. The work is done
// by the pool's goroutine, which also takes dropped segments' names away, so that
// no name is taken from or given to the wrong file. The mutex is not held while
// the disk is busy.
func (l *Log) replace(old *segment.Segment, t *segment.Thinned) (freedBytes int64, err error) {
	done := make(chan struct{})
	l.o.Pool.Later(func() {
		defer close(done)
		freedBytes, err = l.swap(old, t)
	})
	<-done
	return freedBytes, err
}

// swap is replace on the pool's goroutine.
func (l *Log) swap(old *segment.Segment, t *segment.Thinned) (freedBytes int64, err error) {
	if !l.claim(old, t) {
		t.Discard()
		return 0, nil
	}
	indexErr, err := t.Install()
	if err != nil {
		t.Discard()
		return 0, err
	}
	if indexErr != nil {
		l.report(Event{Kind: IndexFailed, Segment: old.Name(), Err: indexErr})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.segments())
	i := slices.Index(list, old)
	if i < 0 { // dropped meanwhile: the job that removes the name comes behind this one
		t.Discard()
		return 0, nil
	}
	list[i] = t.Segment()
	// Records looks at sparse first, and only then at the list.
	if !t.Segment().Dense() {
		l.sparse.Store(true)
	}
	l.setSegments(list)
	t.Retire()
	return t.FreedBytes(), nil
}

// claim reports whether the segment is still the log's, and keeps its file from
// being recycled from here on.
func (l *Log) claim(old *segment.Segment, t *segment.Thinned) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !slices.Contains(l.segments(), old) {
		return false
	}
	t.Claim()
	return true
}
