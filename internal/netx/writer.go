package netx

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// pieceBytes is what one vectored call takes: larger ones fall out of the
// processor's cache, and a slow peer is noticed by the piece and not by the answer.
const pieceBytes = 512 << 10

// slowWrite is what makes a vectored write one that stood still.
const slowWrite = 10 * time.Millisecond

// Writer is the write side of a connection, with patience for a peer that does not
// read. One goroutine uses it at a time, but for Until and Bytes.
type Writer struct {
	nc       net.Conn // the socket
	secure   *secure  // over it; nil without TLS
	timeout  time.Duration
	patience func() bool
	stalled  func() // nil: nobody asks
	slow     bool   // the last vectored write took long
	sized    bool   // the kernel's buffer was looked after
	deadline deadline
	memory   [][]byte    // of WriteVector
	call     net.Buffers // under way, in memory
	bytes    atomic.Uint64
}

// NewWriter makes the Writer of a connection. A write that stands still for
// timeout, or half of it at least, asks patience whether to go on; nil says no.
func NewWriter(nc net.Conn, timeout time.Duration, patience func() bool) *Writer {
	w := &Writer{nc: nc, timeout: timeout, patience: patience}
	if s, ok := nc.(*secure); ok {
		w.nc, w.secure = s.inner, s
	}
	w.deadline.set = w.nc.SetWriteDeadline
	return w
}

// OnStall has fn called in the middle of a write that has to wait for the peer to read: the
// goroutine that writes is about to be away for a while. A vectored write, and any on systems
// other than Linux, tells when it has stood still for long, and before it when the one before
// took long. Call it before the first write.
func (w *Writer) OnStall(fn func()) { w.stalled = fn }

// Bytes is how much was written, with TLS before it was encrypted.
func (w *Writer) Bytes() uint64 { return w.bytes.Load() }

// Until has all writes end at a time, as ReadBuffer.Until does for reads.
func (w *Writer) Until(at time.Time) error { return w.deadline.fix(at) }

// arm gives the next call its time. The deadline moves when half of it is gone.
func (w *Writer) arm() {
	w.deadline.arm(time.Now().Add(w.timeout), w.timeout/2)
}

// goOn decides on a write that ended with an error.
func (w *Writer) goOn(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || w.deadline.fixed.Load() != 0 || w.patience == nil || !w.patience() {
		return false
	}
	if w.stalled != nil {
		w.stalled()
	}
	return true
}

// Write writes all of b, or says why not.
func (w *Writer) Write(b []byte) error {
	if w.secure != nil {
		return w.writeSealed(b)
	}
	return w.put(b)
}

// writeSealed is Write with TLS.
func (w *Writer) writeSealed(b []byte) error {
	w.secure.mu.Lock()
	defer w.secure.mu.Unlock()
	for len(b) > 0 {
		piece := b[:min(len(b), sealBytes)]
		out, err := w.secure.seal(piece)
		if err != nil {
			return err
		}
		err = w.put(*out)
		giveSealed(out)
		if err != nil {
			return err
		}
		w.bytes.Add(uint64(len(piece)))
		b = b[len(piece):]
	}
	return nil
}

// count notes that n bytes were written to the socket.
func (w *Writer) count(n int64) {
	if w.secure == nil {
		w.bytes.Add(uint64(n))
	}
}

// put writes all of b to the socket.
func (w *Writer) put(b []byte) error {
	if t, ok := w.nc.(trier); ok && w.stalled != nil {
		w.arm()
		n, err := t.TryWrite(b)
		w.count(int64(n))
		if b = b[n:]; err != nil || len(b) == 0 {
			return err
		}
		w.stalled()
	}
	for {
		w.arm()
		n, err := w.nc.Write(b)
		w.count(int64(n))
		if err == nil || !w.goOn(err) {
			return err
		}
		b = b[n:]
	}
}

// trier is a connection that can write what there is room for.
type trier interface {
	// TryWrite writes as much as can be written without waiting.
	TryWrite(b []byte) (int, error)
}

// WriteVector writes all pieces in order, which may lie in a mapping, in calls of
// about pieceBytes. The slice is used up: its elements are changed.
func (w *Writer) WriteVector(pieces [][]byte) error {
	if w.secure != nil {
		return w.vectorSealed(pieces)
	}
	if w.slow && w.stalled != nil {
		w.stalled()
	}
	began := time.Now()
	defer func() { w.slow = time.Since(began) > slowWrite }()
	for len(pieces) > 0 {
		w.call = w.memory[:0]
		for bytes := 0; len(pieces) > 0 && bytes < pieceBytes; {
			p := pieces[0]
			if room := pieceBytes - bytes; len(p) > room+room/2 {
				pieces[0] = p[room:]
				p = p[:room]
			} else {
				pieces = pieces[1:]
			}
			w.call = append(w.call, p)
			bytes += len(p)
		}
		w.memory = w.call
		if len(pieces) > 0 && !w.sized {
			w.sized = true
			shorten(w.nc)
		}
		err := w.writeCall()
		clear(w.memory)
		if err != nil {
			return err
		}
	}
	return nil
}

// fileBytes is from where on a piece of a file is sent by reference. The bytes of shorter ones, copied, are often still in the
// processor's cache, as they came in just now; and each takes a system call of its own.
const fileBytes = 128 << 10

// Place says where in a file a piece lies; ok is false for one that lies in none.
type Place func(piece []byte) (fd uintptr, at int64, ok bool)

// fileSender is a connection that can send what lies in a file without copying it.
type fileSender interface {
	sendFile(fd uintptr, at int64, n int) (sent int, err error)
	cork(on bool) error
}

// WritePlaced is WriteVector of pieces of which long ones, where the connection can do that, leave as references to the file's
// pages. Those are with the kernel until the peer's program has read them, which nobody is told of: when place has said where a piece
// lies, these bytes of the file may not be written to any more, ever. To delete it, or to cut it behind them, is no harm.
func (w *Writer) WritePlaced(pieces [][]byte, place Place) error {
	s, ok := w.nc.(fileSender)
	if w.secure != nil || !ok || place == nil {
		return w.WriteVector(pieces)
	}
	corked := false
	for i := 0; i < len(pieces); i++ {
		if len(pieces[i]) < fileBytes {
			continue
		}
		fd, at, ok := place(pieces[i])
		if !ok {
			continue
		}
		if !corked { // what stands between the pieces leaves with them
			if err := s.cork(true); err != nil {
				return err
			}
			corked = true
		}
		if err := w.WriteVector(pieces[:i]); err != nil {
			return err
		}
		if err := w.sendFile(s, fd, at, len(pieces[i])); err != nil {
			return err
		}
		pieces, i = pieces[i+1:], -1
	}
	err := w.WriteVector(pieces)
	if corked && err == nil {
		err = s.cork(false)
	}
	return err
}

// sendFile sends one piece by reference.
func (w *Writer) sendFile(s fileSender, fd uintptr, at int64, n int) error {
	if w.slow && w.stalled != nil {
		w.stalled()
	}
	if !w.sized {
		w.sized = true
		shorten(w.nc)
	}
	began := time.Now()
	defer func() { w.slow = time.Since(began) > slowWrite }()
	for n > 0 {
		w.arm()
		piece := min(n, pieceBytes)
		sent, err := s.sendFile(fd, at, piece)
		w.count(int64(sent))
		at += int64(sent)
		n -= sent
		if err != nil && !w.goOn(err) {
			return err
		}
	}
	return nil
}

// vectorSealed is WriteVector with TLS. A piece that can't be read is EFAULT here as well.
func (w *Writer) vectorSealed(pieces [][]byte) error {
	plain := plainPool.Get().(*[]byte)
	defer plainPool.Put(plain)
	for len(pieces) > 0 {
		b, rest, err := gather((*plain)[:0], pieces)
		if err != nil {
			return err
		}
		if err := w.writeSealed(b); err != nil {
			return err
		}
		pieces = rest
	}
	return nil
}

// writeCall writes what stands in call; it shrinks by what was written.
func (w *Writer) writeCall() error {
	for {
		w.arm()
		n, err := w.call.WriteTo(w.nc)
		w.count(n)
		if err == nil || !w.goOn(err) {
			return err
		}
	}
}
