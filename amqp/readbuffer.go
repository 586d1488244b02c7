package amqp

import (
	"io"
	"sync"
)

// Sizes that a read buffer takes, smallest first. Ten thousand idle connections hold the smallest; a busy
// one gets a larger one when a read fills what it has.
var readClasses = [...]int{4 << 10, 64 << 10, 256 << 10}

const (
	maxReadBytes = 256 << 10
	// shrinkAfter reads in a row that the next smaller size would have held give the larger one back.
	shrinkAfter = 64
)

var readPools [len(readClasses)]sync.Pool

// readBuffer is the unread bytes of a connection. Bytes are parsed where they lie; they move only to make
// room behind a message of which a part has arrived.
type readBuffer struct {
	buf        []byte
	start, end int // unread bytes
	class      int
	small      int // reads in a row that were small
	full       bool
}

func newReadBuffer() *readBuffer {
	r := &readBuffer{}
	r.buf = takeReadBuffer(0)
	return r
}

func takeReadBuffer(class int) []byte {
	if b, ok := readPools[class].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, readClasses[class])
}

func giveReadBuffer(class int, b []byte) { readPools[class].Put(&b) }

// free ends the buffer's life.
func (r *readBuffer) free() {
	giveReadBuffer(r.class, r.buf)
	r.buf = nil
}

// bytes is what was read and not parsed.
func (r *readBuffer) bytes() []byte { return r.buf[r.start:r.end] }

// advance goes over n parsed bytes.
func (r *readBuffer) advance(n int) { r.start += n }

// want makes the buffer large enough for n bytes behind start, or as large as it gets.
func (r *readBuffer) want(n int) {
	class := r.class
	for class < len(readClasses)-1 && readClasses[class] < n {
		class++
	}
	if class != r.class {
		r.resize(class)
	}
}

func (r *readBuffer) resize(class int) {
	b := takeReadBuffer(class)
	n := copy(b, r.bytes())
	giveReadBuffer(r.class, r.buf)
	r.buf, r.class, r.start, r.end, r.small = b, class, 0, n, 0
}

// fill reads once.
func (r *readBuffer) fill(from io.Reader) (int, error) {
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	switch {
	case r.full && r.class < len(readClasses)-1:
		r.resize(r.class + 1)
	case r.small >= shrinkAfter && r.end == 0:
		r.resize(r.class - 1)
	case r.start > 0:
		r.end = copy(r.buf, r.bytes())
		r.start = 0
	}
	n, err := from.Read(r.buf[r.end:])
	r.end += n
	r.full = r.end == len(r.buf)
	if r.class > 0 && n < readClasses[r.class-1]/2 {
		r.small++
	} else {
		r.small = 0
	}
	return n, err
}
