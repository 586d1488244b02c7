package segment

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fault"
)

// directBytes is from where on a run goes by pwrite instead of through the
// mapping. What a store to a mapped page costs beside the copy outweighs the
// system call from about here on: a fresh page is zeroed first, and every flush
// write-protects the page on all processors, so that the next store to it faults.
const directBytes = 8 << 10

// freshBytes is how much behind the last flush goes by pwrite whatever its size.
// A store to a page that a flush has just cleaned costs a fault, and the next
// flush then writes the kernel's whole unit around it, up to 2 MiB in a recycled
// file. With a flush for each append this doubles what a flush takes.
const freshBytes = 64 << 10

// Fits reports whether n more bytes and their offsets fit.
func (s *Segment) Fits(n, offsets int64) bool {
	return s.position.Load()+n <= s.size && s.tail.next+offsets-s.base <= MaxOffsets
}

// Measure walks the headers of a run of whole batches and returns how many
// offsets they take. It refuses what is no run of whole batches.
func Measure(run []byte) (offsets int64, err error) {
	for rest := run; len(rest) > 0; {
		var b batch.Batch
		if b, rest, err = batch.Next(rest); err != nil {
			return 0, err
		}
		if err = b.CheckHeader(); err != nil {
			return 0, err
		}
		offsets += int64(b.LastOffsetDelta()) + 1
	}
	return offsets, nil
}

// Publish lets readers see what was written. The caller holds the log's mutex.
func (s *Segment) Publish() { s.position.Store(s.tail.end) }

// Write copies a run of whole batches behind the last one and numbers it; the
// numbers may be written into the run itself too. The caller holds the log's
// mutex, has measured the run and knows that it fits. Nothing of it is visible
// before Publish, and after an error nothing at all. One that is ErrTooManyOpen
// came before anything was written.
func (s *Segment) Write(run []byte) (err error) {
	m := s.mem.Load()
	if m == nil {
		if m, err = s.remap(); err != nil {
			return err
		}
	}
	if !s.used.Load() {
		s.used.Store(true)
	}
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer fault.Catch(&err)
	at := s.position.Load()
	end := at + int64(len(run))
	if len(run) >= directBytes || !s.o.Transient && at-s.synced.Load() < freshBytes {
		setOffsets(run, s.tail.next)
		if _, err = m.file.WriteAt(run, at); err != nil {
			return fmt.Errorf("append to %s: %w", s.name, err)
		}
	} else {
		written := m.bytes[at:end]
		copy(written, run)
		setOffsets(written, s.tail.next)
	}
	s.account(run, at)
	s.tail.end = end
	return nil
}

// setOffsets numbers the batches of a run in place.
func setOffsets(run []byte, next int64) {
	for len(run) > 0 {
		h := batch.Batch(run)
		h.SetBaseOffset(next)
		h.SetEpoch(0)
		next += int64(h.LastOffsetDelta()) + 1
		run = run[h.SizeBytes():]
	}
}

// account brings index and tail up to date with a run that stands at a position.
func (s *Segment) account(run []byte, at int64) {
	t := s.tail
	interval := s.o.IndexIntervalBytes
	x := s.index.Load()
	for len(run) > 0 {
		h := batch.Batch(run)
		if at >= t.marked {
			x.Add(index.Entry{Relative: uint32(t.next - s.base), Position: uint32(at), TimeBefore: t.maxTime})
			t.marked = at + interval
		}
		t.next += int64(h.LastOffsetDelta()) + 1
		t.records += int64(h.Messages())
		t.maxTime = max(t.maxTime, s.ageTime(h))
		at += int64(h.SizeBytes())
		run = run[h.SizeBytes():]
	}
	s.tail = t
}

// remap maps a segment again that the sweep had closed, unless a reader has just
// done so. The caller holds the log's mutex.
func (s *Segment) remap() (*memory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone.Load() {
		return nil, ErrDropped
	}
	if m := s.mem.Load(); m != nil {
		return m, nil
	}
	f, err := s.o.Pool.openFile(s.name, os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("map segment again: %w", err)
	}
	mapping, err := f.Map(s.size)
	if err != nil {
		_ = s.o.Pool.closeFile(f)
		return nil, fmt.Errorf("map segment again: %w", scarce(err))
	}
	m := newMemory(&block{file: f, mapping: mapping}, s.o)
	s.tail.warm = 0
	m.second = true
	s.mem.Store(m)
	s.o.Pool.track(s)
	return m, nil
}
