package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// scanBytes is the size of a scan's reads.
const scanBytes = 1 << 20

// searchBytes bounds how much is read while searching for a good batch behind
// damage that no index leads across.
const searchBytes = 256 << 20

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
	damage []Span

	buf   []byte
	start int64 // position of buf[0]
}

func newScan(s *Segment, f fs.File, x *index.Index, limit, bound int64) *scan {
	return &scan{
		s: s, f: f, x: x, at: HeaderBytes, limit: limit, bound: bound,
		t: tail{next: s.base, maxTime: index.NoTime},
	}
}

// all reads up to limit, or to the first batch that is not good; with isolate
// it goes on behind that one if there is something good.
func (c *scan) all(isolate bool) error {
	defer func() { c.buf = nil }()
	for c.at < c.limit {
		b, err := c.next()
		if err == nil {
			c.take(b)
			continue
		}
		c.reason = err
		if !isolate {
			return nil
		}
		from := Span{FromPosition: c.at, FromOffset: c.t.next, Err: err}
		if !c.resync(b) {
			if c.bound > c.t.next {
				from.ToPosition, from.ToOffset = c.limit, c.bound
				c.damage = append(c.damage, from)
			}
			return nil
		}
		from.ToPosition, from.ToOffset = c.at, c.t.next
		c.damage = append(c.damage, from)
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
	t.records += int64(b.Count())
	t.maxTime = max(t.maxTime, b.MaxTimestamp())
	c.at += int64(len(b))
}

// resync moves to the next good batch behind a bad one: by the bad one's length
// if that leads to one, else by searching.
func (c *scan) resync(bad batch.Batch) bool {
	if bad != nil && c.lands(c.at+int64(len(bad))) {
		return true
	}
	budget := int64(searchBytes)
	for at := c.at + 1; at+batch.HeaderBytes <= c.limit; at++ {
		head, err := c.bytes(at, batch.HeaderBytes)
		if err != nil {
			return false
		}
		if !c.plausible(head) {
			continue
		}
		if budget -= int64(batch.Batch(head).SizeBytes()); budget < 0 {
			return false
		}
		if c.lands(at) {
			return true
		}
	}
	return false
}

// plausible is a cheap test of bytes that may be a header.
func (c *scan) plausible(head []byte) bool {
	h := batch.Batch(head)
	if h.Magic() != batch.Magic || binary.BigEndian.Uint32(head[8:]) > uint32(c.limit) {
		return false
	}
	base := h.BaseOffset()
	return base > c.t.next && base-c.s.base < 1<<32 && (c.bound < 0 || base < c.bound)
}

// lands moves to a position if a good batch of a later offset stands there.
func (c *scan) lands(at int64) bool {
	b, err := c.peek(at)
	if err != nil || b.BaseOffset() <= c.t.next || b.BaseOffset()-c.s.base >= 1<<32 ||
		c.bound >= 0 && b.LastOffset() >= c.bound {
		return false
	}
	c.at, c.t.next = at, b.BaseOffset()
	return true
}
