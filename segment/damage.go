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

// isolate notes the damage that begins at a place and returns where the next
// good batch stands. Only the damaged batch's own length and the index lead
// there: searching byte by byte could take the body of a message for a batch.
func (s *Segment) isolate(x *index.Index, f fs.File, p place, limit int64) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, known := s.damageAt(p.position); known {
		return place{d.ToPosition, d.ToOffset}
	}
	next := place{limit, s.next.Load()}
	h, err := readBatch(f, p.position, limit)
	if h != nil && err == nil {
		err = fmt.Errorf("%w: base offset %d, want %d", errOffset, h.BaseOffset(), p.offset)
	}
	e, ok := x.After(uint32(p.position))
	if c, landed := s.jump(h, f, p, limit); landed && (!ok || c.position <= int64(e.Position)) {
		next, ok = c, false
	}
	for ; ok; e, ok = x.After(e.Position) {
		c := place{int64(e.Position), s.base + int64(e.Relative)}
		if b, err := readBatch(f, c.position, limit); err == nil && s.good(b) && b.BaseOffset() == c.offset {
			next = c
			break
		}
	}
	s.addDamage(Span{FromPosition: p.position, ToPosition: next.position, FromOffset: p.offset, ToOffset: next.offset, Err: err})
	return next
}

// jump tries the place behind a damaged batch whose length seems good.
func (s *Segment) jump(bad batch.Batch, f fs.File, p place, limit int64) (place, bool) {
	if bad == nil {
		return place{}, false
	}
	at := p.position + int64(len(bad))
	b, err := readBatch(f, at, limit)
	if err != nil || !s.good(b) || b.BaseOffset() <= p.offset {
		return place{}, false
	}
	return place{at, b.BaseOffset()}, true
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
