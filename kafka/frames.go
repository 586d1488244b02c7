package kafka

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
)

const (
	maxFrameBytes = wire.MaxFrameBytes
	// smallBytes is the buffer of a connection on which nothing happens.
	smallBytes = 512
	// readBytes is the buffer of a busy one. Frames that fit are read in place.
	readBytes = 64 << 10
	// quietAfter is how long nothing must come before the buffer is given back.
	quietAfter = 5 * time.Second
	// trustBytes is how much of a frame is allocated because its size field
	// says so; beyond it the buffer grows as bytes arrive.
	trustBytes = 2 << 20
	// frameTimeout is how long the rest of a frame may take to move on.
	frameTimeout = 60 * time.Second
)

// frames reads request frames off a socket. The bytes it returns are valid
// until the next call.
type frames struct {
	nc   net.Conn
	idle time.Duration

	buf        []byte // smallBytes or readBytes long
	start, end int    // bytes read and not handed out are buf[start:end]
	big        *[]byte
	memory     *budget.Account // of the connection
	taken      int64           // of it, for big
	deadline   time.Time       // what is set on the socket
	stopped    atomic.Bool
	now        time.Time // when bytes last arrived
}

var (
	readPool = sync.Pool{New: func() any { b := make([]byte, readBytes); return &b }}
	// bigPools holds buffers for large frames by size class, a power of two
	// from 128 KiB to 8 MiB; larger ones are left to the collector.
	bigPools [7]sync.Pool
)

const minBigBytes = 128 << 10

// bigBuffer returns a buffer of at least n bytes.
func bigBuffer(n int) *[]byte {
	class := max(0, bits.Len(uint(n-1))-17)
	if class >= len(bigPools) {
		b := make([]byte, n)
		return &b
	}
	if b, ok := bigPools[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, minBigBytes<<class)
	return &b
}

func releaseBig(b *[]byte) {
	class := bits.Len(uint(len(*b)-1)) - 17
	if class >= 0 && class < len(bigPools) && len(*b) == minBigBytes<<class {
		bigPools[class].Put(b)
	}
}

func newFrames(nc net.Conn, memory *budget.Account, idle time.Duration) *frames {
	return &frames{nc: nc, memory: memory, idle: idle, buf: make([]byte, smallBytes), now: time.Now()}
}

// buffered reports whether a whole frame is there without touching the socket.
func (f *frames) buffered() bool {
	have := f.end - f.start
	if have < 4 {
		return false
	}
	n, err := wire.FrameBytes(f.buf[f.start:], maxFrameBytes)
	return err != nil || have >= 4+n
}

// release gives the buffers back.
func (f *frames) release() {
	f.releaseBig()
	if b := f.buf; len(b) == readBytes {
		readPool.Put(&b)
		f.buf = nil
	}
}

func (f *frames) releaseBig() {
	if f.big != nil {
		releaseBig(f.big)
		f.big = nil
	}
	f.memory.Give(f.taken)
	f.taken = 0
}

// next returns the next frame without its size field. limit gives the largest
// size allowed for a key. io.EOF is a client that went away between frames.
func (f *frames) next(limit func(wire.Key) int) ([]byte, error) {
	f.releaseBig()
	if err := f.need(wire.HeadBytes); err != nil {
		return nil, err
	}
	head := f.buf[f.start:f.end]
	n, err := wire.FrameBytes(head, limit(wire.Key(int16(head[4])<<8|int16(head[5]))))
	if err != nil {
		return nil, err
	}
	if 4+n > readBytes {
		return f.large(n)
	}
	if err := f.need(4 + n); err != nil {
		return nil, err
	}
	frame := f.buf[f.start+4 : f.start+4+n : f.start+4+n]
	f.start += 4 + n
	return frame, nil
}

// raw returns the next frame when its content has no header, as in the first
// version of the SASL handshake.
func (f *frames) raw(limit int) ([]byte, error) {
	f.releaseBig()
	if err := f.need(4); err != nil {
		return nil, err
	}
	head := f.buf[f.start:]
	n := int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if n > limit || 4+n > readBytes {
		return nil, wire.ErrMalformed
	}
	if err := f.need(4 + n); err != nil {
		return nil, err
	}
	frame := f.buf[f.start+4 : f.start+4+n]
	f.start += 4 + n
	return frame, nil
}

// need makes n bytes stand at buf[start:]; n is at most readBytes.
func (f *frames) need(n int) error {
	if f.end-f.start >= n {
		return nil
	}
	if f.start == f.end {
		f.start, f.end = 0, 0
	}
	if f.start+n > len(f.buf) {
		f.makeRoom(n)
	}
	for f.end-f.start < n {
		if err := f.fill(); err != nil {
			return err
		}
	}
	return nil
}

// makeRoom moves what is buffered to the front, of a larger buffer if it must.
func (f *frames) makeRoom(n int) {
	to := f.buf
	if n > len(to) {
		to = *readPool.Get().(*[]byte)
	}
	f.end = copy(to, f.buf[f.start:f.end])
	f.start = 0
	f.buf = to
}

// fill reads once.
func (f *frames) fill() error {
	f.arm(f.end == f.start)
	n, err := f.nc.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		f.now = time.Now()
		if f.end == len(f.buf) && len(f.buf) == smallBytes {
			f.makeRoom(readBytes) // more than a little is coming
		}
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && f.end == f.start && len(f.buf) == readBytes && time.Since(f.now) < f.idle && !f.stopped.Load() {
		f.start, f.end = 0, 0
		f.release()
		f.buf = make([]byte, smallBytes)
		f.deadline = time.Time{}
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) && f.end > f.start {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// arm sets the read deadline, not more often than every second.
//
//	between frames, large buffer     quietAfter, then the buffer goes back
//	between frames, small buffer     the idle timeout
//	inside a frame                   frameTimeout
func (f *frames) arm(between bool) {
	wait := frameTimeout
	if between {
		wait = f.idle
		if len(f.buf) == readBytes {
			wait = min(quietAfter, f.idle)
		}
	}
	want := f.now.Add(wait)
	if d := want.Sub(f.deadline); d > time.Second || d < -time.Second {
		f.deadline = want
		_ = f.nc.SetReadDeadline(want) // a closed socket says so on Read
		if f.stopped.Load() {
			_ = f.nc.SetReadDeadline(over)
		}
	}
}

// over is a deadline that has passed.
var over = time.Unix(1, 0)

// stop has the next read fail, and one that waits. Any goroutine may call it.
func (f *frames) stop() {
	f.stopped.Store(true)
	_ = f.nc.SetReadDeadline(over)
}

// large reads a frame of n bytes that does not fit the buffer. While other
// clients hold the memory that it takes, the rest of it stays in the socket.
func (f *frames) large(n int) ([]byte, error) {
	f.start += 4
	if err := f.grow(min(n, trustBytes)); err != nil {
		return nil, err
	}
	have := copy((*f.big)[:min(n, len(*f.big))], f.buf[f.start:f.end])
	f.start, f.end = 0, 0
	for have < n {
		if have == len(*f.big) {
			if err := f.grow(min(n, 2*have)); err != nil {
				return nil, err
			}
		}
		f.arm(false)
		m, err := f.nc.Read((*f.big)[have:min(n, len(*f.big))])
		have += m
		if err != nil && have < n {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		f.now = time.Now()
	}
	return (*f.big)[:n], nil
}

// grow makes big at least n bytes long.
func (f *frames) grow(n int) error {
	more := int64(n) - f.taken
	if err := f.memory.Take(more, nil); err != nil {
		return fmt.Errorf("frame of more than %d bytes: %w", f.taken, err)
	}
	f.taken += more
	bigger := bigBuffer(n)
	if f.big != nil {
		copy(*bigger, *f.big)
		releaseBig(f.big)
	}
	f.big = bigger
	return nil
}
