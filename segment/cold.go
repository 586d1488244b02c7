package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// Segments that are not mapped are read by pread into pooled buffers: a system
// call that waits for the disk lets other goroutines run, a page fault does not
// and stretches collections. One that turns out to be wholly in memory is mapped
// again instead, which spares the copy.

// coldBytes is the most that one View of a segment that is not mapped holds, so
// that its buffer stays small enough to be kept.
const coldBytes = 1 << 20

// handle is a counted descriptor: the segment holds one reference, each read in
// progress one more.
type handle struct {
	refs   atomic.Int64
	file   fs.File
	pool   *Pool
	looked bool // whether all is in memory; under the segment's mu
}

func newHandle(f fs.File, p *Pool) *handle {
	h := &handle{file: f, pool: p}
	h.refs.Store(1)
	p.files.Add(1)
	return h
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		h.pool.later(func() { h.pool.note(h.pool.closeFile(h.file)) })
	}
}

// openCold returns the index and a descriptor, with a reference for the caller.
func (s *Segment) openCold() (*index.Index, *handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone.Load() {
		return nil, nil, ErrDropped
	}
	if s.cold == nil {
		f, err := s.o.FS.Open(s.name, os.O_RDWR) // to be mapped, perhaps
		if err != nil {
			return nil, nil, fmt.Errorf("open segment: %w", err)
		}
		s.cold = newHandle(f, s.o.Pool)
		s.o.Pool.track(s)
	}
	x := s.index.Load()
	if x == nil {
		var err error
		if x, err = s.loadIndex(s.cold.file); err != nil {
			return nil, nil, err
		}
		s.index.Store(x)
	}
	if !s.cold.looked && s.trusted() && s.mem.Load() == nil {
		s.cold.looked = true
		s.mapResident()
	}
	s.cold.refs.Add(1)
	return x, s.cold, nil
}

// trusted reports whether the segment's bytes need no check: this process has seen
// all their checksums, and none was wrong.
func (s *Segment) trusted() bool {
	return !s.o.wary.Load() && s.verified.Load() >= s.position.Load() && len(s.Damage()) == 0
}

// mapResident maps the open file if all that is in it is in memory now. It is looked at
// once for each time that the segment is opened. The file is not opened again: its
// name may belong to the one that replaced it by now (see pin). The caller holds
// s.mu; a failure leaves things to pread, which tells it.
func (s *Segment) mapResident() {
	size := s.size // the next append goes on in this mapping
	sealed := s.Sealed()
	end := s.position.Load() // behind the other, so that it is the last one
	if sealed {
		size = end
	}
	mapping, err := s.cold.file.Map(size)
	if err != nil {
		return
	}
	if !mapping.Resident(0, end) {
		s.o.Pool.note(mapping.Close())
		return
	}
	s.cold.refs.Add(1)
	m := newMemory(&block{file: s.cold.file, mapping: mapping}, s.o)
	m.second = true // perhaps shorter than the file, so of no use for another life
	m.cold = s.cold
	s.mem.Store(m)
}

// loadIndex reads the index file of a finished segment, or rebuilds the index
// from the batches when that file is not good.
func (s *Segment) loadIndex(f fs.File) (*index.Index, error) {
	x := new(index.Index)
	d, err := readIndexFile(s.o.FS, IndexName(s.name), MaxBytes)
	if err == nil && d.Header.Generation == s.generation && d.Last.Sealed && d.Last.EndPosition >= s.position.Load() {
		x.Load(d.Entries)
		return x, nil
	}
	c := newScan(s, f, x, s.position.Load(), s.next.Load())
	if err := c.all(); err != nil {
		return nil, err
	}
	s.addDamage(c.damage...)
	return x, nil
}

// readCold is Read of a segment that has to be opened: by pread, skipping what is
// damaged, unless it could be mapped again.
func (s *Segment) readCold(from, maxBytes int64) (View, error) {
	x, h, err := s.openCold()
	if err != nil {
		return View{}, err
	}
	defer h.release()
	if m := s.mapped(); m != nil && m.acquire() {
		v, err := s.readMapped(m, x, from, maxBytes)
		if v.mem == nil {
			m.release()
		}
		return v, err
	}
	maxBytes = min(maxBytes, coldBytes)
	limit := s.position.Load()
	for p := s.nearest(s.lead(x, from), from); p.position < limit; {
		if d, ok := s.damageAt(p.position); ok {
			p = place{d.ToPosition, d.ToOffset}
			continue
		}
		v, next, err := s.readChunk(h.file, p, limit, from, maxBytes)
		if err != nil || len(v.bytes) > 0 {
			return v, err
		}
		if next == p {
			next = s.isolate(x, h.file, p, limit)
		}
		p = next
	}
	return View{}, nil
}

// readKept is readCold of what a kept chunk holds; ok is false when it takes the disk, or
// when another goroutine may be waiting for it with the segment's mutex held.
func (s *Segment) readKept(from, maxBytes int64) (v View, ok bool) {
	if !s.mu.TryLock() {
		return View{}, false
	}
	x := s.index.Load()
	if x == nil || s.cold == nil || len(s.chunks) == 0 {
		s.mu.Unlock()
		return View{}, false
	}
	p := s.nearestKept(s.lead(x, from), from)
	kept := s.keptAt(p.position)
	s.mu.Unlock()
	if kept == nil {
		return View{}, false
	}
	if _, bad := s.damageAt(p.position); !bad {
		if v, _, ok = s.fromKept(kept, p, s.position.Load(), from, min(maxBytes, coldBytes)); ok {
			return v, len(v.bytes) > 0
		}
	}
	kept.free()
	return View{}, false
}

// lead is the place to which the index leads who looks for an offset.
func (s *Segment) lead(x *index.Index, from int64) place {
	e, ok := x.ByOffset(uint32(min(from-s.base, 1<<32-1)))
	if !ok {
		e.Position = HeaderBytes // the first batch is damaged and so has no entry
	}
	return place{int64(e.Position), s.base + int64(e.Relative)}
}

// place is where a batch stands and the offset that it must begin with: the
// base offset is not under the batch's checksum.
type place struct{ position, offset int64 }

// readChunk returns the batches of interest at a place, out of a chunk that is kept
// or from the disk. An empty View comes with the place to go on from; when that is
// the same, the batch there is damaged.
func (s *Segment) readChunk(f fs.File, p place, limit, from, maxBytes int64) (View, place, error) {
	kept := s.chunkAt(p.position)
	if v, next, ok := s.fromKept(kept, p, limit, from, maxBytes); ok {
		return v, next, nil
	}
	v, next, err := s.fromDisk(f, kept, p, limit, from, maxBytes)
	switch {
	case err == nil:
		return v, next, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return View{}, p, nil // the file is shorter than it was: damaged
	}
	return View{}, p, fmt.Errorf("read segment %s: %w", s.name, err)
}

// fromKept answers out of a kept chunk, if there is one and a whole batch at p in it.
// Only then does it take over the hold of the chunk.
func (s *Segment) fromKept(kept *readBuf, p place, limit, from, maxBytes int64) (v View, next place, ok bool) {
	if kept == nil {
		return View{}, p, false
	}
	v, next, _ = s.cut(kept, p, from, maxBytes)
	if next == p {
		return View{}, p, false
	}
	if v.buf == nil {
		kept.free()
	}
	s.passed(next.position, limit)
	return v, next, true
}

// fromDisk reads on behind what is kept, until the batch at p is whole or there can't be
// one: then the View is empty.
func (s *Segment) fromDisk(f fs.File, kept *readBuf, p place, limit, from, maxBytes int64) (View, place, error) {
	end := p.position
	if kept != nil {
		end = kept.end()
	}
	buf, err := s.fetch(f, kept, p, s.pieceBytes(end, maxBytes), limit)
	for err == nil {
		v, next, need := s.cut(buf, p, from, maxBytes)
		if v.buf != nil {
			s.keep(buf)
			s.passed(next.position, limit)
			return v, next, nil
		}
		have := int64(len(buf.b))
		if need <= have || need > limit-p.position {
			buf.free()
			return View{}, next, nil
		}
		buf, err = s.fetch(f, buf, p, need-have, limit)
	}
	return View{}, p, err
}

// cut is pick out of a chunk that holds p. A View takes over the caller's hold of it.
func (s *Segment) cut(buf *readBuf, p place, from, maxBytes int64) (v View, next place, need int64) {
	b := buf.b[p.position-buf.position:]
	first, end, next, need := s.pick(b, p, from, maxBytes)
	if end > first {
		v = View{bytes: b[first:end:end], buf: buf}
	}
	return v, next, need
}

// pick walks the batches in b, which stands at p, and returns the range of whole
// good ones that begins with the first that reaches from, and the place behind
// the last one walked. If the first batch of all is longer than b, need is its size.
func (s *Segment) pick(b []byte, p place, from, maxBytes int64) (first, end int, next place, need int64) {
	check := s.o.wary.Load() || p.position+int64(len(b)) > s.verified.Load()
	next, first = p, -1
	for end < len(b) {
		h, _, err := batch.Next(b[end:])
		if errors.Is(err, batch.ErrShort) && end == 0 && len(b) >= batch.HeaderBytes {
			return 0, 0, p, int64(batch.Batch(b).SizeBytes())
		}
		if err != nil || !s.readable(h, next, check) {
			break
		}
		if first < 0 && h.LastOffset() >= from {
			first = end
		}
		if first >= 0 && end > first && int64(end+len(h)-first) > maxBytes {
			break
		}
		end += len(h)
		next = place{p.position + int64(end), h.LastOffset() + 1}
	}
	if check && p.position <= s.verified.Load() {
		raise(&s.verified, next.position)
	}
	if first < 0 {
		first = end
	}
	return first, end, next, 0
}

// readable says whether the batch at a place may be given out: check is for what was not
// verified yet.
func (s *Segment) readable(b batch.Batch, at place, check bool) bool {
	if check && (b.BaseOffset() != at.offset || !s.good(b)) {
		return false
	}
	_, bad := s.damageAt(at.position)
	return !bad
}

// good checks a batch that this process has not written itself.
func (s *Segment) good(b batch.Batch) bool {
	next := s.next.Load()
	return b.Check() == nil && b.BaseOffset() >= s.base && (next < 0 || b.LastOffset() < next)
}

// raise stores v if it is more.
func raise(a *atomic.Int64, v int64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

// readFull reads len(b) bytes; a file that ends before is io.ErrUnexpectedEOF.
func readFull(f fs.File, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	return full(n, len(b), err)
}

// full is the error of a read of n bytes where all were wanted.
func full(n, all int, err error) error {
	if n == all {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
