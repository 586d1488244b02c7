package netx

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	recordHeadBytes = 5
	// fewRecordsBytes and manyRecordsBytes are how much of a socket is read at once: one
	// record of the largest size, and many for who fills that.
	fewRecordsBytes  = 20 << 10
	manyRecordsBytes = 128 << 10
	// maxSealedBytes bounds what waits to be written: what is sealed at once with its
	// borders, and answers of TLS itself that nobody wrote on since, as when a client asks
	// for new keys again and again.
	maxSealedBytes = 2 * sealBytes
	// firstBytes is how much of a client's first bytes is kept, to tell what it speaks.
	firstBytes = 16
)

// recordPools are the buffers of records that are read, few and many.
var recordPools = [2]sync.Pool{
	{New: func() any { b := make([]byte, fewRecordsBytes); return &b }},
	{New: func() any { b := make([]byte, manyRecordsBytes); return &b }},
}

// records is what crypto/tls takes for the connection: it stands between that and the
// socket, so that a system call carries many records.
//
//	socket ─ Read ─►  [ whole record | whole record | part of one ]  ─ one at a time ─►  crypto/tls
//	socket ◄─ take, written by who sealed ─  [ record | record | … ]  ◄─ Write ─  crypto/tls
//
// A read never hands out more than the record that was begun: so crypto/tls holds nothing
// of the next one, and whole tells whether reading on would have to wait. While nothing is
// unread there is no buffer, as there is none in crypto/tls for what waits to be written.
type records struct {
	inner  net.Conn
	greet  *greeting // while the handshake of a listener's connection goes on
	direct bool      // while a client's does: what is written goes to the socket

	// The read side belongs to the goroutine that reads.
	pool       int
	lent       *[]byte // from the pool
	start, end int     // unread bytes in it
	left       int     // of the record under way
	there      bool    // hand out only what is there
	first      []byte  // that came, while the handshake goes on

	mu     sync.Mutex // guards the rest
	sealed *[]byte    // to be written; from the pool
}

// sealedPool holds the memory of what waits to be written.
var sealedPool = sync.Pool{New: func() any { b := make([]byte, 0, sealBytes+sealBytes/32); return &b }}

// errNotThere is temporary for crypto/tls: it forgets it.
var errNotThere net.Error = notThere{}

type notThere struct{}

func (notThere) Error() string   { return "the rest of the record has not come yet" }
func (notThere) Timeout() bool   { return true }
func (notThere) Temporary() bool { return true }

// Read hands out bytes of one record.
func (r *records) Read(p []byte) (int, error) {
	for {
		if r.left == 0 && r.end-r.start >= recordHeadBytes {
			r.left = recordBytes((*r.lent)[r.start:])
		}
		if n := min(len(p), r.left, r.end-r.start); n > 0 {
			copy(p, (*r.lent)[r.start:r.start+n])
			r.start += n
			r.left -= n
			if r.start == r.end {
				r.free()
			}
			return n, nil
		}
		if r.there {
			return 0, errNotThere
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
}

// recordBytes is the length of a record by its head.
func recordBytes(head []byte) int { return recordHeadBytes + int(head[3])<<8 + int(head[4]) }

// whole says that a record is there to its last byte, and was not begun.
func (r *records) whole() bool {
	have := r.end - r.start
	return r.left == 0 && have >= recordHeadBytes && have >= recordBytes((*r.lent)[r.start:])
}

// lateReader is a connection that takes a buffer only when there is something to read.
type lateReader interface {
	ReadLate(*sync.Pool) (b *[]byte, n int, err error)
}

// fill reads once. There is room: less than a record is unread.
func (r *records) fill() error {
	if r.greet != nil {
		r.greet.rest()
		defer r.greet.work()
	}
	n, err := 0, error(nil)
	if late, ok := r.inner.(lateReader); ok && r.lent == nil {
		r.lent, n, err = late.ReadLate(&recordPools[r.pool])
	} else {
		r.makeRoom()
		n, err = r.inner.Read((*r.lent)[r.end:])
	}
	r.end += n
	if r.first != nil && len(r.first) < firstBytes && n > 0 {
		r.first = append(r.first, (*r.lent)[r.end-n:r.end]...)
		r.first = r.first[:min(len(r.first), firstBytes)]
	}
	if r.lent != nil && r.start == r.end {
		r.free()
	}
	return err
}

// makeRoom has a buffer with what is unread at its front.
func (r *records) makeRoom() {
	old := r.lent
	full := old != nil && r.end == len(*old)
	if old == nil || full && r.pool == 0 {
		if full {
			r.pool = 1
		}
		r.lent = recordPools[r.pool].Get().(*[]byte)
	}
	if old == nil {
		return
	}
	r.end = copy(*r.lent, (*old)[r.start:r.end])
	r.start = 0
	if r.lent != old {
		recordPools[0].Put(old)
	}
}

// free gives the buffer back. One that was full is followed by a larger one, and by
// the smaller one again when little came.
func (r *records) free() {
	n := r.end
	recordPools[r.pool].Put(r.lent)
	r.lent, r.start, r.end = nil, 0, 0
	if r.pool = 0; n >= fewRecordsBytes {
		r.pool = 1
	}
}

// errUnwritten ends a client that has TLS answer more than it takes.
var errUnwritten = errors.New("too many answers of TLS itself wait to be written")

// Write takes a record. After the handshake it waits in memory for take.
func (r *records) Write(b []byte) (int, error) {
	if g := r.greet; g != nil {
		g.rest()
		defer g.work()
		return r.inner.Write(b)
	}
	if r.direct {
		return r.inner.Write(b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed == nil {
		r.sealed = sealedPool.Get().(*[]byte)
	}
	if len(*r.sealed)+len(b) > maxSealedBytes {
		return 0, errUnwritten
	}
	*r.sealed = append(*r.sealed, b...)
	return len(b), nil
}

// take hands over all that is to be written; nil is nothing. giveSealed must follow.
func (r *records) take() *[]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.sealed
	r.sealed = nil
	return b
}

// giveSealed takes back the memory of what was written.
func giveSealed(b *[]byte) {
	if cap(*b) <= maxSealedBytes {
		*b = (*b)[:0]
		sealedPool.Put(b)
	}
}

// greeted ends the handshake.
func (r *records) greeted() { r.greet, r.first = nil, nil }

// The rest of a net.Conn. Deadlines are set on the socket by who owns it: crypto/tls has
// some of its own for the end, and must not.

func (r *records) Close() error                     { return nil }
func (r *records) LocalAddr() net.Addr              { return r.inner.LocalAddr() }
func (r *records) RemoteAddr() net.Addr             { return r.inner.RemoteAddr() }
func (r *records) SetDeadline(time.Time) error      { return nil }
func (r *records) SetReadDeadline(time.Time) error  { return nil }
func (r *records) SetWriteDeadline(time.Time) error { return nil }
