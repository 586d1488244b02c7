package segment

import (
	"errors"
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

// isolate notes the damage that begins at position at and returns where the
// next good batch stands. Only the damaged batch's own length and the index
// lead there: searching byte by byte could take the body of a message for a batch.
func (s *Segment) isolate(x *index.Index, f fs.File, at, limit int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, known := s.damageAt(at); known {
		return d.ToPosition, nil
	}
	d := Span{FromPosition: at, ToPosition: limit, FromOffset: s.offsetAt(x, f, at), ToOffset: s.next.Load()}
	h, err := readBatch(f, at, limit)
	d.Err = err
	var candidates []int64
	if h != nil {
		candidates = append(candidates, at+int64(len(h)))
		if err == nil && !s.good(h) {
			d.Err = errors.Join(h.Check(), errOffset)
		}
	}
	for e, ok := x.After(uint32(at)); ok; e, ok = x.After(e.Position) {
		candidates = append(candidates, int64(e.Position))
	}
	for _, c := range candidates {
		if b, err := readBatch(f, c, limit); err == nil && s.good(b) && b.BaseOffset() >= d.FromOffset {
			d.ToPosition, d.ToOffset = c, b.BaseOffset()
			break
		}
	}
	s.addDamage(d)
	return d.ToPosition, nil
}

// offsetAt returns the number that the batch at a position must begin with, by
// walking there from the index entry before it.
func (s *Segment) offsetAt(x *index.Index, f fs.File, at int64) int64 {
	e, ok := x.ByPosition(uint32(at))
	if !ok {
		return s.base
	}
	next := s.base + int64(e.Relative)
	for p := int64(e.Position); p < at; {
		h, _ := readBatch(f, p, at)
		if h == nil {
			break
		}
		next = h.LastOffset() + 1
		p += int64(len(h))
	}
	return next
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
