package segment

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/internal/batch"
)

// Edit says what becomes of a batch when its segment is written anew: the batch itself, another one with
// the same first and last offset, or nil for none. What it returns is used until its next call. It is called in the order of
// the offsets, once for each batch; an error of it ends the work and leaves the segments as they are.
type Edit func(b batch.Batch) (batch.Batch, error)

// editFlushBytes is after how many bytes an edited file is flushed.
const editFlushBytes = 4 << 20

// Rewrite writes the batches of segments as edit wants them to a new file, with empty batches in
// place of those that go:
//
//	segments   │header│ 0‥9 │ 10‥19 │ 20‥29 │   │header│ 30‥39 │ 40‥49 │
//	edit               none   some    none               all     other
//	Thinned    │header│ empty 0‥9 │ 10‥19, fewer │ empty 20‥29 │ 30‥39 │ 40‥49, other │
//
// It returns nil when nothing of a single segment changes: several become one also then. ErrDropped says that one was
// dropped meanwhile, ErrCorrupt that one can't be read: both leave all as it was. Everything else is as with Thin.
func Rewrite(list []*Segment, edit Edit) (t *Thinned, err error) {
	if !joinable(list) {
		return nil, fmt.Errorf("%w: segments can't be written anew", ErrCorrupt)
	}
	pin(list, true)
	e := editing{list: list, edit: edit, gap: thinRun{first: list[0].base, last: list[0].base - 1}}
	if t, err = e.run(); t == nil {
		pin(list, false)
	}
	if errors.Is(err, errOffset) && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("rewrite %s: %w", list[0].name, err)
	}
	return t, nil
}

// editing is one call of Rewrite.
type editing struct {
	list []*Segment
	edit Edit
	t    *Thinned // nil until it is known that something changes
	w    *thinWriter
	gap  thinRun // what goes just before the next batch
}

func (e *editing) run() (*Thinned, error) {
	var err error
	if len(e.list) > 1 {
		err = e.begin(e.list[0].base)
	}
	for _, s := range e.list {
		next := s.base
		for err == nil && next < s.Next() {
			err = s.walk(next, s.Next()-1, func(b batch.Batch) error {
				if b.BaseOffset() != next {
					return fmt.Errorf("%w: %d follows %d", errOffset, b.BaseOffset(), next)
				}
				next = b.LastOffset() + 1
				return e.batch(b)
			})
		}
	}
	if e.t == nil {
		return nil, err
	}
	if err == nil {
		err = e.w.addEmpty(e.gap)
	}
	return e.t.end(e.w, err)
}

// begin makes the new file, and copies to it what stands before an offset.
func (e *editing) begin(before int64) (err error) {
	if e.t, e.w, err = begin(e.list); err != nil {
		return err
	}
	if s := e.list[0]; !s.o.Transient {
		e.w.flushBytes = editFlushBytes
	}
	e.gap = thinRun{first: before, last: before - 1}
	return e.list[0].walk(e.list[0].base, before-1, e.w.add)
}

// batch has one batch edited and written.
func (e *editing) batch(b batch.Batch) error {
	out := batch.Batch(nil)
	if b.Count() > 0 || b.ProducerID() >= 0 {
		var err error
		if out, err = e.edit(b); err != nil {
			return err
		}
		if same := out != nil && &out[0] == &b[0]; !same && e.t == nil {
			if err := e.begin(b.BaseOffset()); err != nil {
				return err
			}
		}
	}
	switch {
	case e.t == nil:
		return nil
	case out == nil:
		e.gap.last, e.gap.maxTime = b.LastOffset(), max(e.gap.maxTime, b.MaxTimestamp())
		return nil
	case out.BaseOffset() != b.BaseOffset() || out.LastOffset() != b.LastOffset():
		return fmt.Errorf("%w: %d to %d became %d to %d", errOffset, b.BaseOffset(), b.LastOffset(), out.BaseOffset(), out.LastOffset())
	}
	if err := e.w.addEmpty(e.gap); err != nil {
		return err
	}
	e.gap = thinRun{first: b.LastOffset() + 1, last: b.LastOffset()}
	return e.w.add(out)
}
