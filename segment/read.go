package segment

import (
	"fmt"
	"runtime/debug"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fault"
)

// Read returns whole batches, beginning with the one that holds offset from or,
// if that one does not exist, with the next one: as many as fit maxBytes (of a
// segment that is not in memory at most 1 MiB), but at least one. The zero View says that the segment has none. It takes no lock
// unless the segment must be opened; ErrDropped says that the caller's list of
// segments is out of date.
func (s *Segment) Read(from int64, maxBytes int) (View, error) {
	if v, ok, err := s.readWarm(from, int64(maxBytes)); ok {
		return v, err
	}
	return s.readCold(max(from, s.base), int64(maxBytes))
}

// ReadNow is Read of what is in memory; ok is false for what Read may have to wait for.
func (s *Segment) ReadNow(from int64, maxBytes int) (v View, ok bool, err error) {
	if v, ok, err := s.readWarm(from, int64(maxBytes)); ok {
		return v, true, err
	}
	v, ok = s.readKept(max(from, s.base), int64(maxBytes))
	return v, ok, nil
}

// readWarm is Read of a segment that is mapped; ok is false of any other.
func (s *Segment) readWarm(from, maxBytes int64) (v View, ok bool, err error) {
	if !s.used.Load() {
		s.used.Store(true)
	}
	m := s.mapped()
	if m == nil || !m.acquire() {
		return View{}, false, nil
	}
	x := s.index.Load()
	if x == nil {
		m.release()
		return View{}, false, nil
	}
	v, err = s.readMapped(m, x, max(from, s.base), maxBytes)
	if v.mem == nil {
		m.release()
	}
	return v, true, err
}

// mapped is the mapping to read from, nil without one that is to be trusted.
func (s *Segment) mapped() *memory {
	if s.o.wary.Load() {
		return nil
	}
	return s.mem.Load()
}

// readMapped cuts the View out of a pinned mapping. Mapped segments were written
// by this process, or checked by it, so their bytes are not checked again.
func (s *Segment) readMapped(m *memory, x *index.Index, from, maxBytes int64) (v View, err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer fault.Catch(&err)
	b := m.bytes[:s.position.Load()]
	at, err := find(b, x, from, uint32(from-s.base))
	if err != nil || at >= int64(len(b)) {
		return View{}, s.wrap(err)
	}
	end, err := stop(b, x, at, maxBytes)
	if err != nil {
		return View{}, s.wrap(err)
	}
	return View{bytes: b[at:end:end], mem: m}, nil
}

func (s *Segment) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", s.name, ErrCorrupt, err)
}

// find returns the position of the first batch that ends at or behind from, or
// the end of b or more: entries may be there before their batches are published.
func find(b []byte, x *index.Index, from int64, relative uint32) (int64, error) {
	e, ok := x.ByOffset(relative)
	if !ok {
		return int64(len(b)), nil
	}
	at := int64(e.Position)
	for at < int64(len(b)) {
		h, _, err := batch.Next(b[at:])
		if err != nil {
			return 0, err
		}
		if h.LastOffset() >= from {
			break
		}
		at += int64(len(h))
	}
	return at, nil
}

// stop returns the end of the last batch that ends within maxBytes of at, or of
// the batch at at. It jumps by the index, so that a large View costs no walk.
func stop(b []byte, x *index.Index, at, maxBytes int64) (int64, error) {
	end := at + maxBytes
	if end >= int64(len(b)) {
		return int64(len(b)), nil
	}
	p := at
	if e, ok := x.ByPosition(uint32(end)); ok && int64(e.Position) > at {
		p = int64(e.Position)
	}
	for p < int64(len(b)) {
		h, _, err := batch.Next(b[p:])
		if err != nil {
			return 0, err
		}
		if p > at && p+int64(len(h)) > end {
			break
		}
		p += int64(len(h))
	}
	return p, nil
}
