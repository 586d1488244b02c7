package netx

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// hangups watches connections for the end of their peers, all in one epoll set of
// its own: a socket stands in it for that event alone and once, so that nothing
// happens while bytes come and go. One goroutine serves it, which Go's own poller
// wakes; it begins with the first connection and ends with close.
type hangups struct {
	mu      sync.Mutex // guards the rest
	set     *os.File   // the epoll set; nil until used
	fd      int        // of set; its Fd method would make it block
	closed  bool
	last    uint64
	waiting map[uint64]chan struct{} // closed by whoever takes them out
	ended   chan struct{}
}

// watch adds a connection. The channel is nil when it can't be watched.
func (h *hangups) watch(tcp *net.TCPConn) (uint64, chan struct{}) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.open() {
		return 0, nil
	}
	h.last++
	id, gone := h.last, make(chan struct{})
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLONESHOT, Fd: int32(id), Pad: int32(id >> 32)}
	var added error
	err = raw.Control(func(fd uintptr) {
		added = unix.EpollCtl(h.fd, unix.EPOLL_CTL_ADD, int(fd), &event)
	})
	if err != nil || added != nil {
		return 0, nil
	}
	h.waiting[id] = gone
	return id, gone
}

// open makes the set when there is none.
func (h *hangups) open() bool {
	if h.set != nil || h.closed {
		return !h.closed
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return false
	}
	h.fd = fd
	h.set, h.waiting, h.ended = os.NewFile(uintptr(fd), "hangups"), map[uint64]chan struct{}{}, make(chan struct{})
	go h.run(h.set)
	return true
}

// run tells who waits, until the set is closed.
func (h *hangups) run(set *os.File) {
	defer close(h.ended)
	raw, err := set.SyscallConn()
	if err != nil {
		return
	}
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			h.end(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

// end tells whoever waits for that connection. A closed socket leaves the set by
// itself.
func (h *hangups) end(id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if gone, ok := h.waiting[id]; ok {
		delete(h.waiting, id)
		close(gone)
	}
}

// close ends the goroutine. Connections must be closed before.
func (h *hangups) close() {
	h.mu.Lock()
	set, ended := h.set, h.ended
	h.closed, h.set = true, nil
	h.mu.Unlock()
	if set != nil {
		_ = set.Close()
		<-ended
	}
}
