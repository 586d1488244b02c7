package netx

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// Slots are the connections that may be open at a time, of one listener or of several together. Anybody can hold
// one open for nothing, and whoever means well says who they are in a moment. So when all are taken, one whose client is
// not known makes room for the next: of those from the same address the one that has waited longest, else
// of all. One that waits for us, as for the check of its password, is left alone.
type Slots struct {
	mu      sync.Mutex // guards the rest, and the places
	max     int        // 0: no bound
	used    int
	spare   list.List // of *place that may be given away, the oldest first
	sources map[netip.Prefix]*list.List
}

// NewSlots makes so many; 0 is no bound.
func NewSlots(max int) *Slots { return &Slots{max: max, sources: map[netip.Prefix]*list.List{}} }

// place is one of the slots, of a connection.
type place struct {
	guest       *guest
	given       bool // away, or back
	all, source *list.Element
}

// bound changes how many there are. Those that are taken stay so.
func (s *Slots) bound(max int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = max
}

// take takes one for the guest. Another guest had to go for it, if there is one; nil for both is that there is none.
func (s *Slots) take(g *guest) (p *place, gone *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.max > 0 && s.used >= s.max {
		e := s.spare.Front()
		if same := s.sources[g.source]; same != nil {
			e = same.Front()
		}
		if e == nil {
			return nil, nil
		}
		last := e.Value.(*place)
		s.leave(last)
		gone = last.guest
	}
	s.used++
	return &place{guest: g}, gone
}

// leave gives a place away or back, once. mu is held.
func (s *Slots) leave(p *place) {
	if p.given {
		return
	}
	s.keep(p)
	p.given = true
	s.used--
}

// keep takes it out of those that may be given away. mu is held.
func (s *Slots) keep(p *place) {
	if p.all == nil {
		return
	}
	s.spare.Remove(p.all)
	same := s.sources[p.guest.source]
	same.Remove(p.source)
	if same.Len() == 0 {
		delete(s.sources, p.guest.source)
	}
	p.all, p.source = nil, nil
}

// offer makes it the last of those that may be given away. mu is held.
func (s *Slots) offer(p *place) {
	if p.all != nil || p.given {
		return
	}
	same := s.sources[p.guest.source]
	if same == nil {
		same = list.New()
		s.sources[p.guest.source] = same
	}
	p.all, p.source = s.spare.PushBack(p), same.PushBack(p)
}

// guest is an accepted connection, as far as it takes places.
type guest struct {
	of     *Listener
	conn   net.Conn
	source netip.Prefix

	mu     sync.Mutex // guards the rest; locked before those of slots
	slots  []*Slots
	places []*place // one of each
	known  bool
	busy   int // how many things its client waits for
}

// newGuest makes the one of a connection. Addresses of one network of IPv6 are one source: they belong to one.
func newGuest(l *Listener, conn net.Conn) *guest {
	g := &guest{of: l, conn: conn}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		addr := tcp.AddrPort().Addr().Unmap()
		bits := addr.BitLen()
		if addr.Is6() {
			bits = 64
		}
		g.source, _ = addr.Prefix(bits)
	}
	return g
}

// enter takes a place in each of the slots, or in none.
func (g *guest) enter(slots ...*Slots) error {
	for _, s := range slots {
		if s == nil {
			continue
		}
		p, gone := s.take(g)
		if p == nil {
			g.leave()
			return errNoRoom
		}
		g.mu.Lock()
		g.slots, g.places = append(g.slots, s), append(g.places, p)
		g.mu.Unlock()
		if gone != nil {
			gone.of.log.Client(gone.conn.RemoteAddr()).Refused("connection", errRoomMade, roomAdvice)
			_ = gone.conn.Close()
		}
	}
	g.change(func() {})
	return nil
}

// leave gives the places back.
func (g *guest) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, s := range g.slots {
		s.mu.Lock()
		s.leave(g.places[n])
		s.mu.Unlock()
	}
}

// change changes what is known of it, and so whether it makes room for others.
func (g *guest) change(by func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	by()
	for n, s := range g.slots {
		s.mu.Lock()
		if g.known || g.busy > 0 {
			s.keep(g.places[n])
		} else {
			s.offer(g.places[n])
		}
		s.mu.Unlock()
	}
}

var (
	errNoRoom   = errors.New("all connections that there may be are taken by clients that have logged in")
	errRoomMade = errors.New("all connections that there may be were taken, and this one made room for the next: its client had not logged in, or asked for nothing")
)

const roomAdvice = "look for clients that do not close their connections, or that connect and say nothing; or raise --max-connections and how many files the process may open"

// Known says that it is known who the client of a connection is: it makes room for nobody from then on.
func Known(nc net.Conn) {
	if g := guestOf(nc); g != nil {
		g.change(func() { g.known = true })
	}
}

// Busy says that the client of a connection waits for us: until done is called the connection makes room for nobody.
func Busy(nc net.Conn) (done func()) {
	g := guestOf(nc)
	if g == nil {
		return func() {}
	}
	g.change(func() { g.busy++ })
	return func() { g.change(func() { g.busy-- }) }
}

func guestOf(nc net.Conn) *guest {
	if a, ok := nc.(interface{ theGuest() *guest }); ok {
		return a.theGuest()
	}
	return nil
}
