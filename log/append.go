package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// Append copies one or more whole record batches, back to back, behind the last
// one and returns the offset that the first record got. The batches have been
// checked; only base offset and leader epoch are written, in the copy and maybe
// in what was given. All of them become readable at once, or none when there is
// an error. It does not wait for the disk: see Sync. ErrTooManyOpen leaves the
// log as it was, and is worth another try when segments were closed.
func (l *Log) Append(batches []byte) (base int64, err error) {
	offsets, err := segment.Measure(batches)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w: %w", l.o.Dir, ErrInvalid, err)
	}
	if len(batches) > l.o.MaxBatchBytes {
		return 0, fmt.Errorf("append to %s: %w: %d bytes, at most %d", l.o.Dir, ErrTooLarge, len(batches), l.o.MaxBatchBytes)
	}
	n := int64(len(batches))
	l.mu.Lock()
	defer l.mu.Unlock()
	if offsets == 0 {
		return l.end.Load(), l.usable()
	}
	s := l.active
	if s == nil || l.closed || l.failure != nil || !s.Fits(n, offsets) {
		if s, err = l.place(n, offsets); err != nil {
			return 0, fmt.Errorf("append to %s: %w", l.o.Dir, err)
		}
	}
	base = l.end.Load()
	if err = s.Write(batches); err != nil {
		err = fmt.Errorf("append to %s: %w", l.o.Dir, err)
		if !errors.Is(err, ErrTooManyOpen) {
			l.fail(err)
		}
		return 0, err
	}
	// In this order, a View never has a record at or behind the end that Bounds tells.
	l.end.Store(base + offsets)
	s.Publish()
	if !s.Dense() && !l.sparse.Load() {
		l.sparse.Store(true)
	}
	if !l.preparing && l.prepared == nil && s.Position() > s.AllocatedBytes()/2 && !l.o.Pool.Crowded() {
		l.prepare()
	}
	return base, nil
}

// place makes a segment with room for n bytes of batches the active one. On a full
// disk it makes do with a smaller one, but only when nothing is left to give back:
// files that were prepared in vain take room until the pool has removed them, and
// one that it is making just now belongs to nobody yet. It waits for that without
// mu, so others may append meanwhile. The caller holds mu.
func (l *Log) place(n, offsets int64) (*segment.Segment, error) {
	s, err := l.roll(n, false)
	if !errors.Is(err, syscall.ENOSPC) {
		return s, err
	}
	l.mu.Unlock()
	l.o.Pool.Wait()
	l.mu.Lock()
	if s = l.active; s != nil && s.Fits(n, offsets) && l.usable() == nil {
		return s, nil
	}
	return l.roll(n, true)
}

// roll seals the active segment and makes the next one, with room for n bytes
// of batches, and if it may be small with hardly more. A full disk leaves the log
// as it was. The caller holds mu.
func (l *Log) roll(n int64, small bool) (*segment.Segment, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	if l.active == nil {
		if err := l.makeDir(); err != nil {
			return nil, err
		}
	}
	now := l.o.Now()
	size := l.nextSize(now, n)
	base := l.end.Load()
	if p := l.prepared; small && p != nil && p.SizeBytes() >= n+segment.HeaderBytes {
		size = p.SizeBytes() // whatever it was meant for
	}
	s, err := l.newSegment(base, size, now)
	for small && errors.Is(err, syscall.ENOSPC) && size/2 >= n+segment.HeaderBytes && size > l.o.FirstSegmentBytes {
		size /= 2 // a small segment on a nearly full disk is better than none
		s, err = l.newSegment(base, size, now)
	}
	if err != nil {
		return nil, l.keptActive(base, err)
	}
	list := slices.Clone(l.segments())
	switch {
	case l.active == nil:
	case l.active.Base() == base: // empty, and too small: the new file has its name now
		list = list[:len(list)-1]
		l.active.Close()
	default:
		l.seal(l.active)
	}
	l.active, l.lastBytes, l.lastRoll = s, size, now
	l.setSegments(append(list, s))
	l.dirtyDir.Store(true)
	return s, nil
}

// keptActive is the error of a roll. An empty segment that was to be replaced may have
// lost its name to the one that could not be made: nothing may be written to it then.
func (l *Log) keptActive(base int64, err error) error {
	if l.active != nil && l.active.Base() == base {
		if _, lost := l.o.FS.Stat(l.active.Name()); lost != nil {
			l.fail(err)
		}
	}
	return err
}

// newSegment uses the prepared file if it is of the right size.
func (l *Log) newSegment(base, size int64, now time.Time) (*segment.Segment, error) {
	name := filepath.Join(l.o.Dir, segment.FileName(base))
	if p := l.prepared; p != nil {
		l.prepared = nil
		if p.SizeBytes() == size {
			return p.Create(&l.so, name, base, now.UnixMilli())
		}
		p.Discard()
	}
	return segment.Create(&l.so, name, base, size, now.UnixMilli())
}

// seal ends the active segment. Its index is written behind the next Sync; a
// transient log has none, so the pool's goroutine writes it.
func (l *Log) seal(s *segment.Segment) {
	s.Seal()
	if l.o.Transient {
		m := s.Mark()
		l.o.Pool.Later(func() {
			if err := s.Finish(m); err != nil {
				l.report(Event{Kind: Failed, Segment: s.Name(), Err: err})
			}
		})
	}
}

// makeDir makes the folder and notes which folders above it must be synced for
// it to last: its parent always, because whoever made the folder may have died
// before syncing it, and the parents of all that is made here.
func (l *Log) makeDir() error {
	l.newNames = []string{filepath.Dir(l.o.Dir)}
	for dir := l.newNames[0]; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := l.o.FS.Stat(dir); err == nil {
			break
		}
		l.newNames = append(l.newNames, filepath.Dir(dir))
	}
	return l.o.FS.MkdirAll(l.o.Dir)
}

// slowRoll is the age from which on a full segment counts as slowly filled.
const slowRoll = time.Minute

// nextSize is the size of the segment after this one:
//
//	first of the process    the class of the last segment found on disk, at least the first size
//	filled quickly          twice the last one
//	filled slowly           the same, but twice while the backlog exceeds four of them: a trickle
//	                        that is consumed must not end up in full-sized segments
//
// never above SegmentBytes, and never too small for n bytes of batches.
func (l *Log) nextSize(now time.Time, n int64) int64 {
	size := l.lastBytes
	switch {
	case size == 0:
		size = l.o.FirstSegmentBytes
	case l.active == nil:
	case now.Sub(l.lastRoll) < slowRoll || l.backlog() > 4*size:
		size *= 2
	}
	size = min(size, l.o.SegmentBytes)
	need := n + segment.HeaderBytes
	for size < need && size < l.o.SegmentBytes {
		size = min(2*size, l.o.SegmentBytes)
	}
	if size < need {
		size = (need + fs.PageBytes - 1) / fs.PageBytes * fs.PageBytes
	}
	return size
}

// SetSegmentBytes changes the size of a full segment, from the next one on.
func (l *Log) SetSegmentBytes(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o.SegmentBytes = n
}

// backlog is the bytes in segments that are not wholly below the start.
func (l *Log) backlog() (bytes int64) {
	for _, s := range l.segments() {
		bytes += s.Position()
	}
	return bytes
}

// prepare has the pool fetch the next segment's file while this one fills, so
// that a roll does not wait for the disk. The caller holds mu.
func (l *Log) prepare() {
	size := l.nextSize(l.o.Now(), 0)
	base := l.end.Load()
	l.preparing = true
	l.o.Pool.Later(func() {
		p, err := segment.Prepare(&l.so, size, base)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.preparing = false
		if err != nil {
			return // the roll will try again and tell the appender
		}
		if l.closed {
			p.Discard()
			return
		}
		l.prepared = p
	})
}
