package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/leveret-mq/leveret/internal/netx"
)

// maxWebConnections bounds those of a listener for HTTP, which share no slots with the others: who looks after a broker that
// is full must get in.
const maxWebConnections = 1024

// hand is a net.Listener for http.Server, of connections that a netx.Listener accepted.
type hand struct {
	net.Listener // for its address
	log          *netx.Log
	conns        chan net.Conn
	once         sync.Once
	closed       chan struct{}
}

func newHand(inner net.Listener, log *netx.Log) *hand {
	return &hand{Listener: inner, log: log, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// over hands a connection over and waits until it is closed.
func (h *hand) over(nc net.Conn) {
	c := &handed{Conn: nc, log: h.log, ended: make(chan struct{})}
	select {
	case h.conns <- c:
		<-c.ended
	case <-h.closed:
	}
}

// Accept implements net.Listener.
func (h *hand) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, http.ErrServerClosed
	}
}

// Close implements net.Listener. The netx.Listener owns the socket.
func (h *hand) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// handed is a connection that tells when it was closed. It belongs to http.Server.
type handed struct {
	net.Conn
	log   *netx.Log
	read  bool // something was
	once  sync.Once
	ended chan struct{}
}

// Read looks at the first bytes, for somebody who came to the wrong port.
func (c *handed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.read && n > 0 {
		c.read = true
		if netx.SpeaksTLS(b[:n]) {
			c.log.Client(c.RemoteAddr()).Refused("connection", netx.ErrSpeaksTLS, netx.TLSAdvice)
		}
	}
	return n, err
}

// CloseWrite is for the answer to a bad request, behind which http.Server waits a moment.
func (c *handed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn.
func (c *handed) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.ended) })
	return err
}

// socketKey is where the context of a request has its connection, as it was accepted.
type socketKey struct{}

func withSocket(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, c.(*handed).Conn)
}

// owing has the connection of a request make room for nobody while the handler answers it: from when the request is there as a
// whole, which its client may take its time for.
func owing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc := r.Context().Value(socketKey{}).(net.Conn)
		if r.Body == http.NoBody {
			defer netx.Busy(nc)()
			next.ServeHTTP(w, r)
			return
		}
		body := &arriving{ReadCloser: r.Body, nc: nc, done: func() {}}
		defer func() { body.done() }()
		r = r.WithContext(r.Context()) // the server looks at what it has itself for what is left of the body
		r.Body = body
		next.ServeHTTP(w, r)
	})
}

// arriving is the body of a request, of one goroutine at a time.
type arriving struct {
	io.ReadCloser
	nc    net.Conn
	there bool
	done  func() // of netx.Busy
}

// Read sees when all is there.
func (a *arriving) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	if err == io.EOF && !a.there {
		a.there, a.done = true, netx.Busy(a.nc)
	}
	return n, err
}
