package netx

import (
	"net"
	"sync"
)

// watched is a TCP connection that tells when its client is gone although nobody
// reads from it, as while a request waits for other clients.
type watched struct {
	*net.TCPConn
	of      *Listener
	guest   *guest
	hangups *hangups

	mu     sync.Mutex // guards the rest
	closed bool
	id     uint64 // in hangups; 0 until somebody asked
	gone   chan struct{}
}

// ready makes the connection the one to use in place of an accepted one.
func (l *Listener) ready(c net.Conn, g *guest) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	return quick(&watched{TCPConn: tcp, of: l, guest: g, hangups: &l.hangups})
}

// listener is who accepted it.
func (w *watched) listener() *Listener { return w.of }

// theGuest is the connection as far as it takes places.
func (w *watched) theGuest() *guest { return w.guest }

// Gone is closed when the client has closed its end, or lost it, or the connection
// was closed here. Bytes that came before may still be unread. It is nil where
// that can't be seen. The first call costs a system call, the others none.
func (w *watched) Gone() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.id == 0 && !w.closed {
		w.id, w.gone = w.hangups.watch(w.TCPConn)
	}
	return w.gone
}

// Close closes the connection.
func (w *watched) Close() error {
	err := w.TCPConn.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.id != 0 {
		w.hangups.end(w.id)
	}
	return err
}
