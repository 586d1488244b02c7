package netx

import (
	"container/list"
	"net"
	"runtime"
	"sync"
	"time"
)

// Bounds of TLS handshakes.
const (
	// handshakeTime is how long one may take.
	handshakeTime = 10 * time.Second
	// maxHandshakes is how many may be under way before one that has waited for its client for
	// idleGrace makes room for the next, and maxGreeted how many before the one that has waited
	// longest does, however short that is.
	maxHandshakes = 1024
	maxGreeted    = 4096
	idleGrace     = time.Second
)

// Handshakes bounds the TLS handshakes of all listeners together. Half of them, which anybody can begin
// for the price of a packet, must harm nobody:
//
//	processors   half of them compute for handshakes at a time; the others wait in line
//	memory       with many under way, the one that waits longest for its client makes room
//	time         all of it is over after handshakeTime
//
// A handshake that waits for a processor is not thrown away: when very many clients come back at
// once, each gets its turn, and the rest waits to be accepted.
type Handshakes struct {
	computing chan struct{} // one for each that does

	mu   sync.Mutex // guards the rest
	less sync.Cond  // open has shrunk, or one waits for its client
	open int
	idle list.List // of *greeting that wait for their clients, longest first
}

// NewHandshakes makes the bounds of this machine.
func NewHandshakes() *Handshakes {
	h := &Handshakes{computing: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	h.less.L = &h.mu
	return h
}

// greeting is a handshake under way.
type greeting struct {
	h       *Handshakes
	conn    net.Conn // its socket
	since   time.Time
	waits   *list.Element // in idle; nil while it computes
	ended   bool
	evicted bool
}

// begin enters a handshake that waits for its client's first bytes, and closes another when there are too many.
func (h *Handshakes) begin(conn net.Conn) *greeting {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.open >= maxHandshakes && !h.makeRoom() && h.open >= maxGreeted {
		h.less.Wait()
	}
	g := &greeting{h: h, conn: conn, since: time.Now()}
	g.waits = h.idle.PushBack(g)
	h.open++
	return g
}

// makeRoom closes the one that has waited longest for its client, if that is long enough. mu is held.
func (h *Handshakes) makeRoom() bool {
	first := h.idle.Front()
	if first == nil {
		return false
	}
	g := first.Value.(*greeting)
	if h.open < maxGreeted && time.Since(g.since) < idleGrace {
		return false
	}
	g.evicted = true
	h.leave(g)
	_ = g.conn.Close()
	return true
}

// leave takes one out. mu is held.
func (h *Handshakes) leave(g *greeting) {
	if g.ended {
		return
	}
	g.ended = true
	if g.waits != nil {
		h.idle.Remove(g.waits)
		g.waits = nil
	}
	h.open--
	h.less.Signal()
}

// rest says that it waits for its client.
func (g *greeting) rest() {
	g.h.mu.Lock()
	working := g.waits == nil && !g.ended
	if working {
		g.since = time.Now()
		g.waits = g.h.idle.PushBack(g)
		g.h.less.Signal()
	}
	g.h.mu.Unlock()
	if working {
		<-g.h.computing
	}
}

// work waits for a processor.
func (g *greeting) work() {
	g.h.mu.Lock()
	idle := g.waits != nil
	if idle {
		g.h.idle.Remove(g.waits)
		g.waits = nil
	}
	g.h.mu.Unlock()
	if idle {
		g.h.computing <- struct{}{}
	}
}

// end says that it is over, and whether that is because it made room for others.
func (g *greeting) end() (evicted bool) {
	g.rest()
	g.h.mu.Lock()
	defer g.h.mu.Unlock()
	g.h.leave(g)
	return g.evicted
}
