package netx

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// MaxReadBytes is the largest buffer that a ReadBuffer takes.
const MaxReadBytes = 256 << 10

// Sizes that a read buffer takes, smallest first. Ten thousand idle connections
// hold the smallest; a busy one gets a larger one when a read fills what it has.
// Who has not signed in yet gets by with 16 KiB.
var readClasses = [...]int{512, 4 << 10, 16 << 10, 64 << 10, MaxReadBytes}

const (
	// shrinkAfter reads in a row that the next smaller size would have held give the
	// larger one back.
	shrinkAfter = 64
	// quietAfter is how long nothing must come before all of the buffer is given back.
	quietAfter = 5 * time.Second
)

var readPools [len(readClasses)]sync.Pool

// ReadBuffer is the read side of a connection: the bytes that were read and not used
// up, the clock, and how long a peer may be silent. Bytes are used where they lie;
// they move only to make room behind a message of which a part has arrived.
//
// It belongs to one goroutine, but for Until, Seen and Bytes.
type ReadBuffer struct {
	nc         net.Conn
	buf        []byte
	start, end int // unread bytes
	class      int
	most       int // largest class
	small      int // reads in a row that were small
	full       bool

	now      time.Time // when bytes last came
	ms       int64     // the same
	deadline deadline

	seen  atomic.Int64 // ms, for other goroutines
	bytes atomic.Uint64
}

// NewReadBuffer makes the ReadBuffer of a connection. Its buffer grows up to maxBytes, or
// MaxReadBytes when that is less.
func NewReadBuffer(nc net.Conn, maxBytes int) *ReadBuffer {
	r := &ReadBuffer{nc: nc}
	for r.most+1 < len(readClasses) && readClasses[r.most] < maxBytes {
		r.most++
	}
	r.buf = takeReadBuffer(0)
	r.deadline.set = nc.SetReadDeadline
	r.Touch()
	return r
}

// Through has bytes come from nc from now on, which reads from the connection that the ReadBuffer was made of. Nothing
// may be unread.
func (r *ReadBuffer) Through(nc net.Conn) { r.nc = nc }

func takeReadBuffer(class int) []byte {
	if b, ok := readPools[class].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, readClasses[class])
}

// giveReadBuffer takes a buffer back; nil, which is that of a ReadBuffer that was freed, is nothing.
func giveReadBuffer(class int, b []byte) {
	if b != nil {
		readPools[class].Put(&b)
	}
}

// Free ends the ReadBuffer's life. One that is used again all the same takes a new buffer.
func (r *ReadBuffer) Free() {
	giveReadBuffer(r.class, r.buf)
	r.buf, r.start, r.end = nil, 0, 0
	r.class, r.small, r.full = 0, 0, false
}

// Unread is what was read and not used up. It is valid until the next call of Want,
// Fill or ReadInto.
func (r *ReadBuffer) Unread() []byte { return r.buf[r.start:r.end] }

// Advance goes over n bytes that were used up.
func (r *ReadBuffer) Advance(n int) { r.start += n }

// Now is when bytes last came: the clock is taken once a read, not once a message.
func (r *ReadBuffer) Now() time.Time { return r.now }

// NowMs is Now in milliseconds since 1970.
func (r *ReadBuffer) NowMs() int64 { return r.ms }

// Touch takes the clock anew, for one who has waited for something other than bytes.
func (r *ReadBuffer) Touch() {
	r.now = time.Now()
	r.ms = r.now.UnixMilli()
	r.seen.Store(r.ms)
}

// Seen is Now for other goroutines.
func (r *ReadBuffer) Seen() time.Time { return time.UnixMilli(r.seen.Load()) }

// Bytes is how much was read.
func (r *ReadBuffer) Bytes() uint64 { return r.bytes.Load() }

// Until has all reads end at a time, whatever wait they are given, and be bounded by
// their own again after the zero time. Any goroutine may call it.
func (r *ReadBuffer) Until(at time.Time) error { return r.deadline.fix(at) }

// Want makes the buffer large enough for n unread bytes, or as large as it gets.
func (r *ReadBuffer) Want(n int) {
	class := r.class
	for class < r.most && readClasses[class] < n {
		class++
	}
	if class != r.class {
		r.resize(class)
	}
}

func (r *ReadBuffer) resize(class int) {
	b := takeReadBuffer(class)
	n := copy(b, r.Unread())
	giveReadBuffer(r.class, r.buf)
	r.buf, r.class, r.start, r.end, r.small, r.full = b, class, 0, n, 0, false
}

// stage is how far a wait for bytes has come.
type stage uint8

const (
	untilQuiet  stage = iota // until the buffer is given back, if it is a large one
	untilSilent              // until the wait is over
	lastChance               // an eighth of it more
)

// Fill reads once, behind what is unread. The peer may be silent for wait; 0 is for
// ever. It gets an eighth of that more: the time may as well have passed while we
// were busy, and then its bytes are there, and a read after the deadline would not
// have looked.
func (r *ReadBuffer) Fill(wait time.Duration) (int, error) {
	if r.buf == nil {
		r.buf = takeReadBuffer(0)
	}
	r.makeRoom()
	if r.end == len(r.buf) {
		return 0, io.ErrShortBuffer // for a message that is longer than the ReadBuffer may hold
	}
	at := untilSilent
	if r.class > 0 && (wait == 0 || wait > quietAfter) {
		at = untilQuiet
	}
	for {
		r.arm(wait, at)
		n, err := r.nc.Read(r.buf[r.end:])
		r.end += n
		r.took(n)
		if n > 0 || at == lastChance || !errors.Is(err, os.ErrDeadlineExceeded) || r.deadline.fixed.Load() != 0 {
			r.fit(n)
			return n, err
		}
		if at == untilQuiet && r.start == r.end {
			r.resize(0)
		}
		at++
	}
}

// ReadInto reads once into b, after what is unread, and with the same wait.
func (r *ReadBuffer) ReadInto(b []byte, wait time.Duration) (int, error) {
	if r.start < r.end {
		n := copy(b, r.Unread())
		r.start += n
		return n, nil
	}
	r.arm(wait, untilSilent)
	n, err := r.nc.Read(b)
	r.took(n)
	return n, err
}

// took notes that n bytes came.
func (r *ReadBuffer) took(n int) {
	if n > 0 {
		r.bytes.Add(uint64(n))
		r.Touch()
	}
}

// arm bounds the next read.
func (r *ReadBuffer) arm(wait time.Duration, at stage) {
	since := r.now
	switch {
	case at == untilQuiet:
		wait = quietAfter
	case wait == 0:
		r.deadline.arm(time.Time{}, 0)
		return
	case at == lastChance:
		since, wait = time.Now(), wait/8
	}
	r.deadline.arm(since.Add(wait), wait/8)
}

// makeRoom makes the buffer fit the last reads and moves what is unread to its front.
func (r *ReadBuffer) makeRoom() {
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	switch {
	case r.full && r.class < r.most:
		r.resize(r.class + 1)
	case r.small >= shrinkAfter && r.end == 0:
		r.resize(r.class - 1)
	case r.start > 0:
		r.end = copy(r.buf, r.Unread())
		r.start = 0
	}
}

// fit notes what a read of n bytes says about the size of the buffer.
func (r *ReadBuffer) fit(n int) {
	r.full = r.end == len(r.buf)
	if r.class > 0 && n < readClasses[r.class-1]/2 {
		r.small++
	} else {
		r.small = 0
	}
}
