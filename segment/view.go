package segment

import (
	"sync"
	"sync/atomic"
)

// View is a range of whole batches, borrowed until Release.
type View struct {
	bytes []byte
	mem   *memory  // pinned mapping, or
	buf   *readBuf // pooled copy
}

// Bytes is the batches, back to back; empty in the zero View. Nobody may write
// to it, nor read it after Release. Touching it may fault when the disk fails:
// see package fault.
func (v View) Bytes() []byte { return v.bytes }

// Release ends the loan. It must be called once for each View; on the zero View
// it does nothing.
func (v View) Release() {
	switch {
	case v.mem != nil:
		v.mem.release()
	case v.buf != nil:
		v.buf.free()
	}
}

// readBuf is a buffer for reads of what is not mapped, with a count of those who hold
// it: a View each, and the segment while it keeps it as a chunk.
type readBuf struct {
	refs  atomic.Int32
	b     []byte
	place // of b's first batch
}

// end is the position behind its bytes.
func (r *readBuf) end() int64 { return r.position + int64(len(r.b)) }

const (
	// Buffers above this size are left to the collector instead of being kept.
	maxKeptBuf = 4 << 20
	// usualBuf is the size of most that are larger than small, so that each fits the next
	// read; the small ones' sizes are multiples of smallStep.
	smallBuf, smallStep = 512 << 10, 64 << 10
	usualBuf            = 3 << 20
)

// bufBytes is the size of a new buffer for n bytes.
func bufBytes(n int64) int64 {
	step := int64(smallStep)
	if n > smallBuf {
		step = usualBuf
	}
	return (n + step - 1) / step * step
}

var readBufs = sync.Pool{New: func() any { return new(readBuf) }}

func getBuf(n int64) *readBuf {
	buf := readBufs.Get().(*readBuf)
	if int64(cap(buf.b)) < n {
		buf.b = make([]byte, bufBytes(n))
	}
	buf.b = buf.b[:n]
	buf.refs.Store(1)
	return buf
}

func (r *readBuf) free() {
	if r.refs.Add(-1) == 0 && cap(r.b) <= maxKeptBuf {
		readBufs.Put(r)
	}
}

// Holder keeps a View's bytes in place until Release, as a single pointer that
// fits into an interface without an allocation.
type Holder interface{ Release() }

// Holder returns what keeps the bytes in place, nil for the zero View. Its
// Release takes the place of the View's.
func (v View) Holder() Holder {
	switch {
	case v.mem != nil:
		return v.mem
	case v.buf != nil:
		return v.buf
	}
	return nil
}

// Release is memory's part of View.Release.
func (m *memory) Release() { m.release() }

// Release is readBuf's part of View.Release.
func (r *readBuf) Release() { r.free() }
