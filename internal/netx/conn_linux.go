package netx

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// quietBytes is the longest buffer that is read or written without telling the
// scheduler: nobody else runs on this processor meanwhile, and the collector waits.
// 256 KiB take some 30 to 60 µs. Longer ones are worth the telling.
const quietBytes = 256 << 10

// conn is a TCP connection whose reads and writes do not tell Go's scheduler
// that they enter the kernel. They need not: the socket is non-blocking, so a
// call copies what there is and returns. Told of it, the runtime takes a copy of
// more than 20 µs for a thread that sleeps: its monitor polls at that pace, gives
// the processor to another thread, and the two then wake each other in turn.
//
// Long buffers take the ordinary path, and so do vectored writes (net.Buffers finds
// TCPConn's own) and sendfile: their bytes may lie in a mapping, where a page fault
// waits for a disk. So nobody may give Write bytes that lie in a mapping.
type conn struct {
	*watched
	raw      syscall.RawConn
	in, out  half
	inCall   func(fd uintptr) bool // in.read, bound once
	outCalls func(fd uintptr) bool // out.write
	tryCall  func(fd uintptr) bool // out.try
}

// half is the call under way in one direction.
type half struct {
	mu   sync.Mutex
	rest []byte     // to fill, or to be written
	late *sync.Pool // of buffers to fill, instead of rest
	lent *[]byte    // from it, when there was something to read
	n    int        // bytes done
	err  error
}

// quick gives the connection reads and writes of its own.
func quick(w *watched) net.Conn {
	raw, err := w.SyscallConn()
	if err != nil {
		return w
	}
	q := &conn{watched: w, raw: raw}
	q.inCall, q.outCalls, q.tryCall = q.in.read, q.out.write, q.out.try
	return q
}

// Read reads what is there, waiting for the first byte.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 || len(b) > quietBytes {
		return c.TCPConn.Read(b)
	}
	n, err := c.in.run(b, c.raw.Read, c.inCall)
	if err != nil {
		return n, c.opError("read", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// ReadLate is Read into a buffer that it takes from the pool when there is something to read, so
// that who waits holds none. b is nil when there is an error.
func (c *conn) ReadLate(pool *sync.Pool) (b *[]byte, n int, err error) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.late = pool
	n, err = c.in.runLocked(nil, c.raw.Read, c.inCall)
	b, c.in.late, c.in.lent = c.in.lent, nil, nil
	if err == nil && n > 0 {
		return b, n, nil
	}
	if b != nil {
		pool.Put(b)
	}
	if err != nil {
		return nil, 0, c.opError("read", err)
	}
	return nil, 0, io.EOF
}

// Write writes all of b, or returns how much it wrote and why not more.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) > quietBytes {
		return c.TCPConn.Write(b)
	}
	n, err := c.out.run(b, c.raw.Write, c.outCalls)
	if err != nil {
		return n, c.opError("write", err)
	}
	return n, nil
}

// TryWrite writes as much of b as can be written without waiting, and of a long one nothing.
func (c *conn) TryWrite(b []byte) (int, error) {
	if len(b) > quietBytes {
		return 0, nil
	}
	n, err := c.out.run(b, c.raw.Write, c.tryCall)
	if err != nil {
		return n, c.opError("write", err)
	}
	return n, nil
}

// run does one read or write: wait calls call until it is done, and in between
// waits for the socket, a deadline or Close.
func (h *half) run(b []byte, wait func(func(fd uintptr) bool) error, call func(fd uintptr) bool) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.runLocked(b, wait, call)
}

func (h *half) runLocked(b []byte, wait func(func(fd uintptr) bool) error, call func(fd uintptr) bool) (int, error) {
	h.rest, h.n, h.err = b, 0, nil
	err := wait(call)
	h.rest = nil
	if err == nil {
		err = h.err
	}
	return h.n, err
}

// read is done when the kernel gave bytes, the end, or an error.
func (h *half) read(fd uintptr) (done bool) {
	if h.late != nil {
		h.lent = h.late.Get().(*[]byte)
		h.rest = *h.lent
	}
	n, errno := readQuietly(fd, h.rest)
	if errno == syscall.EAGAIN {
		if h.late != nil {
			h.late.Put(h.lent)
			h.lent = nil
		}
		return false
	}
	h.n, h.err = n, callError("read", errno)
	return true
}

// write is done when the kernel took everything, or had an error.
func (h *half) write(fd uintptr) (done bool) {
	for len(h.rest) > 0 {
		n, errno := writeQuietly(fd, h.rest)
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			h.err = callError("write", errno)
			return true
		}
		h.n += n
		h.rest = h.rest[n:]
	}
	return true
}

// try is write, and done as well when the kernel has no room.
func (h *half) try(fd uintptr) (done bool) {
	h.write(fd)
	return true
}

func callError(name string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(name, errno)
}

// opError is the error as TCPConn words it.
func (c *conn) opError(op string, err error) error {
	var o *net.OpError // of the wait, "raw-read" or "raw-write"
	if errors.As(err, &o) {
		err = o.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
