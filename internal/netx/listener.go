package netx

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a Listener.
type Options struct {
	// Name is the protocol, for log lines and errors.
	Name string
	// MaxConns bounds the connections that are open at a time; for more, those make room whose
	// clients are not known (see Slots), or they are closed as soon as they are accepted. Zero is no bound.
	MaxConns int
	// Slots, if not nil, bounds the connections of several listeners together.
	Slots *Slots
	// TLS, if not nil, is asked how to speak TLS with each connection; the handler gets it after the
	// handshake. Without, there is none.
	TLS func() *tls.Config
	// Handshakes bounds those of several listeners together; nil are some of its own.
	Handshakes *Handshakes
	// Logger takes what went wrong; nil is slog.Default().
	Logger *slog.Logger
}

// Listener accepts the connections of one address. All methods may be called
// from any goroutine.
type Listener struct {
	name    string
	own     *Slots // those of this listener
	slots   *Slots
	logger  *slog.Logger
	tls     func() *tls.Config
	greets  *Handshakes
	log     *Log // of handshakes
	inner   net.Listener
	hangups hangups

	greetsDone, greetsFailed atomic.Uint64

	mu     sync.Mutex        // guards conns and closed
	conns  map[net.Conn]bool // whether the handshake is under way
	closed bool
	wg     sync.WaitGroup // one for each handler
}

// Wrap makes a Listener of one that is open already, and owns it from then on.
func Wrap(inner net.Listener, o Options) *Listener {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	l := &Listener{
		name: o.Name, own: NewSlots(o.MaxConns), slots: o.Slots, inner: inner, conns: map[net.Conn]bool{},
		tls: o.TLS, greets: o.Handshakes, log: NewLog(o.Name, logger), logger: logger.With("listener", o.Name),
	}
	if l.greets == nil {
		l.greets = NewHandshakes()
	}
	return l
}

// Handshakes are how many TLS handshakes there were by now that came to their end, and that did not.
func (l *Listener) Handshakes() (done, failed uint64) {
	return l.greetsDone.Load(), l.greetsFailed.Load()
}

// Serve accepts until Close or Shutdown and runs handle for each connection on
// a goroutine of its own; the connection is closed when handle returns. A panic
// in handle costs that connection only and is logged with its stack. Serve
// returns nil when the listener was closed, else the error that ended it.
func (l *Listener) Serve(handle func(net.Conn)) error {
	pause := time.Duration(0)
	for {
		conn, err := l.inner.Accept()
		if err != nil {
			if l.isClosed() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, mostly: others must be given the time to close some.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			l.logger.Warn("accept failed", "error", err, "next", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		g := newGuest(l, conn)
		conn = l.ready(conn, g)
		if !l.add(conn, g) {
			continue
		}
		var hello *greeting
		if l.tls != nil {
			hello = l.greets.begin(conn)
		}
		go l.run(conn, g, hello, handle)
	}
}

func (l *Listener) run(conn net.Conn, g *guest, hello *greeting, handle func(net.Conn)) {
	defer l.remove(conn, g)
	defer func() {
		if broken := recover(); broken != nil {
			l.logger.Error("a connection's handler panicked", "client", conn.RemoteAddr(), "panic", broken, "stack", string(debug.Stack()))
		}
	}()
	if hello == nil {
		handle(conn)
		return
	}
	defer hello.end() // after a panic, too
	secured, err := l.greet(conn, hello)
	if err != nil {
		l.greetsFailed.Add(1)
		l.refuse(conn, err)
		return
	}
	l.greetsDone.Add(1)
	handle(secured)
}

// add takes the connection in, or closes it when there is no place for it.
func (l *Listener) add(conn net.Conn, g *guest) bool {
	g.conn = conn
	if err := g.enter(l.own, l.slots); err != nil {
		l.log.Client(conn.RemoteAddr()).Refused("connection", err, roomAdvice)
		_ = conn.Close()
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
		g.leave()
		return false
	}
	l.conns[conn] = l.tls != nil
	l.wg.Add(1)
	return true
}

// greeted notes that the handshake of a connection is over, unless the listener is closed.
func (l *Listener) greeted(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn] = false
	return !l.closed
}

func (l *Listener) remove(conn net.Conn, g *guest) {
	_ = conn.Close() // the handler may have closed it before
	l.mu.Lock()
	delete(l.conns, conn)
	l.mu.Unlock()
	g.leave()
	l.wg.Done()
}

// Bound changes how many connections may be open; 0 is no bound. Those that are open stay.
func (l *Listener) Bound(maxConns int) { l.own.bound(maxConns) }

// Open is how many connections there are.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Close stops accepting. Connections that are open go on, unless they are in their TLS
// handshake: nobody else could tell them to end. A second Close does nothing.
func (l *Listener) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	for conn, greeting := range l.conns {
		if greeting {
			_ = conn.Close()
		}
	}
	l.mu.Unlock()
	if already {
		return nil
	}
	return l.inner.Close()
}

// Shutdown stops accepting, waits until every handler has returned or ctx ends,
// and then cuts the connections that are left and waits for their handlers.
// Whoever owns the handlers tells them to finish before calling it.
func (l *Listener) Shutdown(ctx context.Context) error {
	err := l.Close()
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		l.cut()
		<-done
	}
	l.hangups.close()
	return err
}

// cut closes every connection.
func (l *Listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
}
