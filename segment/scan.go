package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// scanBytes is the size of a scan's reads.
const scanBytes = 1 << 20

// scan reads batches one after another, checks each and builds the index.
type scan struct {
	s      *Segment
	f      fs.File
	x      *index.Index
	at     int64 // position of the next batch
	limit  int64 // end of the file
	bound  int64 // offset that none may reach, -1 when unknown
	t      tail
	reason error // why the scan ended before limit
	failed error // the device's error, if it had one
	damage []Span
	ahead  []chain // good batches that a search has found behind c.at, rising

	buf   []byte
	start int64 // position of buf[0]
}

func newScan(s *Segment, f fs.File, x *index.Index, limit, bound int64) *scan {
	return &scan{
		s: s, f: f, x: x, at: HeaderBytes, limit: limit, bound: bound,
		t: tail{next: s.base, maxTime: index.NoTime},
	}
}

// all reads up to limit. Behind a batch that is not good it goes on where good ones
// follow; if none do, it ends there.
func (c *scan) all() error {
	defer func() { c.buf = nil }()
	for c.at < c.limit {
		b, err := c.next()
		if err == nil {
			c.take(b)
			continue
		}
		c.reason = err
		lost := Span{FromPosition: c.at, FromOffset: c.t.next, Err: err}
		to, ok := c.behind(b)
		if !ok {
			return c.giveUp(lost)
		}
		lost.ToPosition, lost.ToOffset = to.position, to.offset
		c.damage = append(c.damage, lost)
		c.at, c.t.next, c.reason = to.position, to.offset, nil
		c.t.marked = c.at // an entry leads readers across the damage
	}
	return nil
}

// giveUp ends a scan at a batch behind which nothing good follows. In the last segment
// that is a torn tail. A device that can't be read is no tail to be cut.
func (c *scan) giveUp(lost Span) error {
	if c.bound < 0 && c.failed != nil {
		return c.failed
	}
	if c.bound > c.t.next {
		lost.ToPosition, lost.ToOffset = c.limit, c.bound
		c.damage, c.reason = append(c.damage, lost), nil
	}
	return nil
}

// next returns the batch at c.at if it is the one that must come. A batch that
// comes with an error has a length that can be trusted as far as it goes.
func (c *scan) next() (batch.Batch, error) {
	b, err := c.peek(c.at)
	if err != nil {
		return b, err
	}
	if b.BaseOffset() != c.t.next {
		return b, fmt.Errorf("%w: base offset %d, want %d", errOffset, b.BaseOffset(), c.t.next)
	}
	if c.bound >= 0 && b.LastOffset() >= c.bound {
		return b, fmt.Errorf("%w: offset %d belongs to the next segment", errOffset, b.LastOffset())
	}
	return b, nil
}

// peek returns the batch at a position and what Check says of it.
func (c *scan) peek(at int64) (batch.Batch, error) {
	head, err := c.bytes(at, batch.HeaderBytes)
	if err != nil {
		return nil, err
	}
	size := int64(batch.Batch(head).SizeBytes())
	if size < batch.HeaderBytes {
		return nil, fmt.Errorf("%w: %d", batch.ErrLength, size)
	}
	b, err := c.bytes(at, size)
	if err != nil {
		return nil, err
	}
	return batch.Batch(b), batch.Batch(b).Check()
}

// bytes returns n bytes at a position, valid until the next call.
func (c *scan) bytes(at, n int64) ([]byte, error) {
	if n > c.limit-at {
		return nil, batch.ErrShort
	}
	if off := at - c.start; off >= 0 && off+n <= int64(len(c.buf)) {
		return c.buf[off : off+n], nil
	}
	size := min(max(n, scanBytes), c.limit-at)
	if int64(cap(c.buf)) < size {
		c.buf = make([]byte, size)
	}
	c.buf, c.start = c.buf[:size], at
	if err := readFull(c.f, c.buf, at); err != nil {
		c.buf = c.buf[:0]
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			c.failed = err
		}
		return nil, err
	}
	return c.buf[:n], nil
}

// take adds a good batch to index and tail.
func (c *scan) take(b batch.Batch) {
	t := &c.t
	if c.at >= t.marked {
		c.x.Add(index.Entry{Relative: uint32(b.BaseOffset() - c.s.base), Position: uint32(c.at), TimeBefore: t.maxTime})
		t.marked = c.at + c.s.o.IndexIntervalBytes
	}
	t.next = b.LastOffset() + 1
	t.records += int64(b.Messages())
	t.maxTime = max(t.maxTime, c.s.ageTime(b))
	c.at += int64(len(b))
}
