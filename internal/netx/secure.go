package netx

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/internal/fault"
)

// sealBytes is how much is encrypted at once and written by one call: four records of the
// largest size.
const sealBytes = 64 << 10

// goodbyeTime is what the word that the stream ends gets to leave, where a write can't be tried.
const goodbyeTime = 100 * time.Millisecond

// secure is a connection with TLS over an accepted one. It encrypts into memory (see records) and
// writes that to the socket itself: so a write that stands still can go on where it stood, which
// crypto/tls can't, and a Writer writes to the socket as it does without TLS. What it has to encrypt is
// copied together first, under the guard of package fault: bytes of a mapping may fault, and must not
// within crypto/tls, which would be left in the middle of a record.
type secure struct {
	inner net.Conn
	tls   *tls.Conn
	recs  *records

	mu     sync.Mutex // guards writing to the socket, and the rest
	parted bool       // the word that the stream ends was sealed
}

// Secured makes the TLS handshake of a connection that was dialled, as its client, within the connection's deadline. The
// result reads and writes many records with one system call, as the connections of a Listener do. It owns conn
// when there is no error.
func Secured(conn net.Conn, config *tls.Config) (net.Conn, error) {
	recs := &records{inner: conn, direct: true}
	c := &secure{inner: conn, recs: recs, tls: tls.Client(recs, config)}
	if err := c.tls.Handshake(); err != nil {
		return nil, err
	}
	recs.direct = false
	return c, nil
}

// Read reads what is there, waiting for the first byte.
func (c *secure) Read(b []byte) (int, error) {
	n, err := c.tls.Read(b)
	for err == nil && n < len(b) && c.recs.whole() {
		c.recs.there = true
		m, end := c.tls.Read(b[n:])
		c.recs.there = false
		if n += m; end != nil {
			break // it comes again, if it is more than that there is nothing there
		}
	}
	return n, err
}

// Write writes all of b. Like that of crypto/tls it can't be tried again after an error; a Writer can.
func (c *secure) Write(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 {
		piece := b[:min(len(b), sealBytes)]
		out, err := c.seal(piece)
		if err != nil {
			return n, err
		}
		_, err = c.inner.Write(*out)
		giveSealed(out)
		if err != nil {
			return n, err
		}
		n += len(piece)
		b = b[len(piece):]
	}
	return n, nil
}

// seal encrypts up to sealBytes. What it returns has to be written before what it returns next, and given
// to giveSealed. mu is held.
func (c *secure) seal(b []byte) (*[]byte, error) {
	if _, err := c.tls.Write(b); err != nil {
		return nil, err
	}
	return c.recs.take(), nil
}

// CloseWrite says that the stream ends, and closes our side of the socket.
func (c *secure) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.goodbye(func(b []byte) error { _, err := c.inner.Write(b); return err }); err != nil {
		return err
	}
	if half, ok := c.inner.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// goodbye writes what TLS itself has still to say, and that the stream ends. mu is held.
func (c *secure) goodbye(write func([]byte) error) error {
	if !c.parted {
		c.parted = true
		_ = c.tls.CloseWrite() // it fails after an error, of which the peer is told instead
	}
	out := c.recs.take()
	if out == nil {
		return nil
	}
	defer giveSealed(out)
	return write(*out)
}

// Close closes the connection. The peer is told that the stream ends, if that need not wait for it nor for a
// write that is under way.
func (c *secure) Close() error {
	if c.mu.TryLock() {
		_ = c.goodbye(c.tryWrite)
		c.mu.Unlock()
	}
	return c.inner.Close()
}

func (c *secure) tryWrite(b []byte) error {
	if t, ok := c.inner.(trier); ok {
		_, err := t.TryWrite(b)
		return err
	}
	_ = c.inner.SetWriteDeadline(time.Now().Add(goodbyeTime))
	_, err := c.inner.Write(b)
	return err
}

// Gone is that of the accepted connection.
func (c *secure) Gone() <-chan struct{} {
	if w, ok := c.inner.(interface{ Gone() <-chan struct{} }); ok {
		return w.Gone()
	}
	return nil
}

// theGuest is that of the accepted connection.
func (c *secure) theGuest() *guest { return guestOf(c.inner) }

// ConnectionState says how the connection is secured, and by what certificate who is at its other end.
func (c *secure) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// TLSState says how a connection is secured, if it is.
func TLSState(conn net.Conn) (state tls.ConnectionState, secured bool) {
	if s, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return s.ConnectionState(), true
	}
	return state, false
}

// Verified is the certificate of a connection's client when somebody whom we trust signed it; else nil.
func Verified(conn net.Conn) *x509.Certificate {
	if state, _ := TLSState(conn); len(state.VerifiedChains) > 0 {
		return state.PeerCertificates[0]
	}
	return nil
}

func (c *secure) LocalAddr() net.Addr                { return c.inner.LocalAddr() }
func (c *secure) RemoteAddr() net.Addr               { return c.inner.RemoteAddr() }
func (c *secure) SetDeadline(t time.Time) error      { return c.inner.SetDeadline(t) }
func (c *secure) SetReadDeadline(t time.Time) error  { return c.inner.SetReadDeadline(t) }
func (c *secure) SetWriteDeadline(t time.Time) error { return c.inner.SetWriteDeadline(t) }

// plainPool holds what is copied together to be encrypted.
var plainPool = sync.Pool{New: func() any { b := make([]byte, 0, sealBytes); return &b }}

// gather copies pieces to b until it is full, and returns what is left of them. A piece that can't be read is
// an error that says EFAULT, as a system call would.
func gather(b []byte, pieces [][]byte) (full []byte, rest [][]byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %w", syscall.EFAULT, err)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer fault.Catch(&err)
	for len(pieces) > 0 && len(b) < cap(b) {
		n := copy(b[len(b):cap(b)], pieces[0])
		b = b[:len(b)+n]
		if pieces[0] = pieces[0][n:]; len(pieces[0]) == 0 {
			pieces = pieces[1:]
		}
	}
	return b, pieces, nil
}
