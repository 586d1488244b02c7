package kafka

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/wire"
)

const (
	maxFrameBytes = wire.MaxFrameBytes
	// readBytes is the buffer of a busy connection. Frames that fit are read in place.
	readBytes = 64 << 10
	// trustBytes is how much of a frame is allocated because its size field
	// says so; beyond it the buffer grows as bytes arrive.
	trustBytes = 2 << 20
	// frameTimeout is how long the rest of a frame may take to move on.
	frameTimeout = 60 * time.Second
	// minPace is how many bytes of a large frame have to come in a second.
	minPace = 32 << 10
)

// frames reads request frames off a socket. The bytes it returns are valid
// until the next call.
type frames struct {
	*netx.ReadBuffer
	idle   time.Duration
	big    *[]byte         // a frame that does not fit the read buffer
	memory *budget.Account // of the connection
	taken  int64           // of it, for big
	gone   func() <-chan struct{}
}

var (
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
	return &frames{ReadBuffer: netx.NewReadBuffer(nc, readBytes), memory: memory, idle: idle, gone: func() <-chan struct{} { return netx.Gone(nc) }}
}

// buffered reports whether a whole frame is there without touching the socket.
func (f *frames) buffered() bool {
	have := f.Unread()
	if len(have) < 4 {
		return false
	}
	n, err := wire.FrameBytes(have, maxFrameBytes)
	return err != nil || len(have) >= 4+n
}

// release gives the buffers back.
func (f *frames) release() {
	f.releaseBig()
	f.Free()
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
	if err := f.need(4); err != nil {
		return nil, err
	}
	_, err := wire.FrameBytes(f.Unread(), maxFrameBytes) // which no key is needed for: less than a header may be all that comes
	if err == nil {
		err = f.need(wire.HeadBytes)
	}
	head := f.Unread()
	n := 0
	if err == nil {
		n, err = wire.FrameBytes(head, limit(wire.Key(int16(head[4])<<8|int16(head[5]))))
	}
	if err != nil && netx.SpeaksTLS(head) {
		err = netx.ErrSpeaksTLS // as a size it would be of 353 MiB
	}
	if err != nil {
		return nil, err
	}
	if 4+n > readBytes {
		return f.large(n)
	}
	return f.take(n)
}

// take returns the n bytes behind a size field.
func (f *frames) take(n int) ([]byte, error) {
	if err := f.need(4 + n); err != nil {
		return nil, err
	}
	frame := f.Unread()[4 : 4+n : 4+n]
	f.Advance(4 + n)
	return frame, nil
}

// raw returns the next frame when its content has no header, as in the first
// version of the SASL handshake.
func (f *frames) raw(limit int) ([]byte, error) {
	f.releaseBig()
	if err := f.need(4); err != nil {
		return nil, err
	}
	head := f.Unread()
	n := int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if n > limit || 4+n > readBytes {
		return nil, wire.ErrMalformed
	}
	return f.take(n)
}

// need makes n bytes be there; n is at most readBytes. Between two frames a client
// may be silent for the idle timeout, inside of one for frameTimeout.
func (f *frames) need(n int) error {
	f.Want(n)
	for len(f.Unread()) < n {
		wait := frameTimeout
		if len(f.Unread()) == 0 {
			wait = f.idle
		}
		if _, err := f.Fill(wait); err != nil {
			if errors.Is(err, io.EOF) && len(f.Unread()) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// over is a deadline that has passed.
var over = time.Unix(1, 0)

// stop has the next read fail, and one that waits. Any goroutine may call it.
func (f *frames) stop() { _ = f.Until(over) }

var errSlowFrame = errors.New("the frame comes too slowly")

// large reads a frame of n bytes that does not fit the buffer. While other
// clients hold the memory that it takes, the rest of it stays in the socket. A client
// that holds memory has to get on: it may be late by frameTimeout behind minPace.
func (f *frames) large(n int) ([]byte, error) {
	began := f.Now()
	f.Advance(4)
	for have := 0; have < n; {
		if f.big == nil || have == len(*f.big) {
			waited, err := f.grow(min(n, max(trustBytes, 2*have)))
			if err != nil {
				return nil, err
			}
			began = began.Add(waited)
		}
		left := frameTimeout + time.Duration(have)*time.Second/minPace - f.Now().Sub(began)
		if left <= 0 {
			return nil, errSlowFrame
		}
		m, err := f.ReadInto((*f.big)[have:min(n, len(*f.big))], min(left, frameTimeout))
		have += m
		if err != nil && have < n {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return (*f.big)[:n], nil
}

// grow makes big at least n bytes long, and tells how long it had to wait for that.
func (f *frames) grow(n int) (waited time.Duration, err error) {
	began := time.Now()
	more := int64(n) - f.taken
	if err := f.memory.Take(more, f.gone()); err != nil {
		return 0, fmt.Errorf("frame of more than %d bytes: %w", f.taken, err)
	}
	f.taken += more
	bigger := bigBuffer(n)
	if f.big != nil {
		copy(*bigger, *f.big)
		releaseBig(f.big)
	}
	f.big = bigger
	return time.Since(began), nil
}
