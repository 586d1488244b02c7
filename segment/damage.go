package segment

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// Damage returns the ranges that readers skip, as far as they are known.
func (s *Segment) Damage() []Span {
	if p := s.damage.Load(); p != nil {
		return *p
	}
	return nil
}

// damageAt returns the damaged range that holds a position.
func (s *Segment) damageAt(at int64) (Span, bool) {
	for _, d := range s.Damage() {
		if at >= d.FromPosition && at < d.ToPosition {
			return d, true
		}
	}
	return Span{}, false
}

// addDamage notes ranges and tells the log of each new one. The caller holds
// s.mu or is alone with the segment.
func (s *Segment) addDamage(spans ...Span) {
	for _, d := range spans {
		if _, known := s.damageAt(d.FromPosition); known {
			continue
		}
		all := append(slices.Clone(s.Damage()), d)
		slices.SortFunc(all, func(a, b Span) int { return int(a.FromPosition - b.FromPosition) })
		s.damage.Store(&all)
		if s.o.Damage != nil {
			s.o.Damage(s, d)
		}
	}
}

// isolate notes the damage that begins at a place and returns where the next good batch
// stands: at the next index entry with a good one, or before.
func (s *Segment) isolate(x *index.Index, f fs.File, p place, limit int64) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, known := s.damageAt(p.position); known {
		return place{d.ToPosition, d.ToOffset}
	}
	h, err := readBatch(f, p.position, limit)
	if h != nil && err == nil {
		err = fmt.Errorf("%w: base offset %d, want %d", errOffset, h.BaseOffset(), p.offset)
	}
	next := s.nextEntry(x, f, p, limit)
	if to, ok := s.between(f, h, p, next); ok {
		next = to
	}
	s.addDamage(Span{FromPosition: p.position, ToPosition: next.position, FromOffset: p.offset, ToOffset: next.offset, Err: err})
	return next
}

// nextEntry is the place of the first good batch behind p to which an index entry leads,
// or the segment's end.
func (s *Segment) nextEntry(x *index.Index, f fs.File, p place, limit int64) place {
	for e, ok := x.After(uint32(p.position)); ok; e, ok = x.After(e.Position) {
		c := place{int64(e.Position), s.base + int64(e.Relative)}
		if b, err := readBatch(f, c.position, limit); err == nil && s.good(b) && b.BaseOffset() == c.offset {
			return c
		}
	}
	return place{limit, s.next.Load()}
}

// between looks for good batches behind a damaged one and before the next place that is known.
func (s *Segment) between(f fs.File, bad batch.Batch, from, to place) (place, bool) {
	c := newScan(s, f, nil, to.position, to.offset)
	c.at, c.t.next = from.position, from.offset
	return c.behind(bad)
}

var errOffset = errors.New("offsets out of order")

// readBatch reads the batch at a position. The batch is nil if its length leads
// nowhere; otherwise err is what Check says.
func readBatch(f fs.File, at, limit int64) (batch.Batch, error) {
	var head [batch.HeaderBytes]byte
	if limit-at < batch.HeaderBytes {
		return nil, batch.ErrShort
	}
	if err := readFull(f, head[:], at); err != nil {
		return nil, err
	}
	size := int64(batch.Batch(head[:]).SizeBytes())
	if size < batch.HeaderBytes || size > limit-at {
		return nil, batch.ErrLength
	}
	b := make(batch.Batch, size)
	if err := readFull(f, b, at); err != nil {
		return nil, err
	}
	return b, b.Check()
}
