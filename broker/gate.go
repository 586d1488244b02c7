package broker

import "sync"

// gate counts who is inside of something, so that whoever wants to take it away knows when
// the last has left. The zero value is open.
//
//	open ──shut──► shut, who comes waits ──┬─ reopen ──► open
//	                                       └─ wall up ─► gone for good, who comes is sent away
type gate struct {
	mu      sync.Mutex // a leaf
	inside  int
	empty   chan struct{} // of one who shut it: closed when nobody is inside
	decided chan struct{} // the same: closed when it is open again or gone; nil: it is not shut
	gone    bool
}

// enter goes in, and says false when there is nothing there any more. Who is inside must not
// enter again.
func (g *gate) enter() bool {
	g.mu.Lock()
	for g.decided != nil {
		wait := g.decided
		g.mu.Unlock()
		<-wait
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	if g.gone {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// shut lets nobody in until it is decided what becomes of it. The channel is closed when
// nobody is inside any more. One at a time may shut it.
func (g *gate) shut() (empty <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.decided = make(chan struct{})
	gone := make(chan struct{})
	if g.inside == 0 {
		close(gone)
	} else {
		g.empty = gone
	}
	return gone
}

// decide opens it again, or leaves it gone for good.
func (g *gate) decide(gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = gone
	close(g.decided)
	g.decided = nil
}

// isGone says whether nobody gets in any more.
func (g *gate) isGone() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone
}
