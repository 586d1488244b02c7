package netx

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// Options are the settings of a Listener.
type Options struct {
	// Name is the protocol, for log lines and errors.
	Name string
	// MaxConns bounds the connections that are open at a time; more are closed
	// as soon as they are accepted. Zero is no bound.
	MaxConns int
	// Slots, if not nil, bounds the connections of several listeners together.
	Slots *Slots
	// Logger takes what went wrong; nil is slog.Default().
	Logger *slog.Logger
}

// Listener accepts the connections of one address. All methods may be called
// from any goroutine.
type Listener struct {
	name    string
	slots   *Slots
	logger  *slog.Logger
	inner   net.Listener
	hangups hangups

	mu       sync.Mutex // guards conns, maxConns and closed
	conns    map[net.Conn]struct{}
	maxConns int
	closed   bool
	wg       sync.WaitGroup // one for each handler
}

// Wrap makes a Listener of one that is open already, and owns it from then on.
func Wrap(inner net.Listener, o Options) *Listener {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	return &Listener{
		name: o.Name, maxConns: o.MaxConns, slots: o.Slots, inner: inner, conns: map[net.Conn]struct{}{},
		logger: logger.With("listener", o.Name),
	}
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
		conn = l.ready(conn)
		if l.add(conn) {
			go l.run(conn, handle)
		}
	}
}

func (l *Listener) run(conn net.Conn, handle func(net.Conn)) {
	defer l.remove(conn)
	defer func() {
		if broken := recover(); broken != nil {
			l.logger.Error("a connection's handler panicked", "client", conn.RemoteAddr(), "panic", broken, "stack", string(debug.Stack()))
		}
	}()
	handle(conn)
}

// add takes the connection in, or closes it when there is no place for it.
func (l *Listener) add(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || (l.maxConns > 0 && len(l.conns) >= l.maxConns) || !l.slots.take() {
		_ = conn.Close()
		return false
	}
	l.conns[conn] = struct{}{}
	l.wg.Add(1)
	return true
}

func (l *Listener) remove(conn net.Conn) {
	_ = conn.Close() // the handler may have closed it before
	l.mu.Lock()
	delete(l.conns, conn)
	l.mu.Unlock()
	l.slots.give()
	l.wg.Done()
}

// Bound changes how many connections may be open; 0 is no bound. Those that are open stay.
func (l *Listener) Bound(maxConns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.maxConns = maxConns
}

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

// Close stops accepting. Connections that are open go on. A second Close does
// nothing.
func (l *Listener) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
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
