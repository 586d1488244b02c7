package auth

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds on logins that are not decided yet: they wait for their slow hash or for
// the delayed answer of a wrong password, each with its connection and goroutine.
const (
	maxPending = 1024
	// maxPendingOf is the same for one source, so that it leaves room for others.
	maxPendingOf = 256
	// maxPendingSuspect is that of a source with recent wrong passwords.
	maxPendingSuspect = 32
)

// A wrong password is answered late, the later the more of them there were.
const (
	firstDelay = 200 * time.Millisecond
	maxDelay   = 5 * time.Second
	// forgetAfter is how long nothing wrong must come before it is forgotten.
	forgetAfter = 5 * time.Minute
)

// Bounds on what is remembered, in numbers of sources and of names.
const (
	maxRecords = 4096
	maxTrusted = 64 // names of one source
)

// Glances are looks at a login for which there is no place: its password is compared
// with the one that was right last, which costs next to nothing, and is not hashed.
const (
	glancesPerSecond = 50
	maxGlances       = 50
)

// guard remembers who guesses. It decides
//
//	                      pending below the bound     at the bound
//	right before here     checked                     glanced at
//	others                checked                     glanced at, so many a second; others not at all
//
// "Right before here" is a name that has logged in from the same source: a flood of
// wrong passwords must not lock out who shares an address with it.
type guard struct {
	mu      sync.Mutex // guards all below
	pending int
	sources map[netip.Prefix]*source
	names   map[string]*failures
	crowd   source // of sources that there is no room for
	swept   time.Time
}

// source is one address, or one network of IPv6.
type source struct {
	failures
	pending int
	trusted map[string]struct{}
	glances float64   // left
	glanced time.Time // when glances was reckoned
}

// failures counts wrong passwords.
type failures struct {
	n    int
	last time.Time
}

func newGuard() *guard {
	return &guard{sources: map[netip.Prefix]*source{}, names: map[string]*failures{}}
}

// sourceOf is the address that failures count for. Whoever has an IPv6 address has
// 2^64 of them. Connections without an IP address count as one.
func sourceOf(from net.Addr) netip.Prefix {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(tcp.IP)
	if !ok {
		return netip.Prefix{}
	}
	addr = addr.Unmap()
	bits := addr.BitLen()
	if addr.Is6() && !addr.IsLoopback() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // bits fit the address
	return prefix
}

func (f *failures) recent(now time.Time) int {
	if f.n > 0 && now.Sub(f.last) > forgetAfter {
		f.n = 0
	}
	return f.n
}

func (f *failures) add(now time.Time) int {
	f.n = f.recent(now) + 1
	f.last = now
	return f.n
}

// begin takes a place for one login. seated is false when there is none; glance says
// that it may be glanced at all the same.
func (g *guard) begin(from netip.Prefix, name string) (s *source, seated, glance bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s = g.source(from, now)
	bound := maxPendingOf
	if s.recent(now) > 0 {
		bound = maxPendingSuspect
	}
	if g.pending >= maxPending || s.pending >= bound {
		_, trusted := s.trusted[name]
		return s, false, trusted || s.takeGlance(now)
	}
	g.pending++
	s.pending++
	return s, true, false
}

func (s *source) takeGlance(now time.Time) bool {
	s.glances = min(maxGlances, s.glances+now.Sub(s.glanced).Seconds()*glancesPerSecond)
	s.glanced = now
	if s.glances < 1 {
		return false
	}
	s.glances--
	return true
}

// end gives the place back.
func (g *guard) end(s *source) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending--
	s.pending--
}

// succeeded remembers that the name was right from there.
func (g *guard) succeeded(s *source, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s == &g.crowd || len(s.trusted) >= maxTrusted {
		return
	}
	if s.trusted == nil {
		s.trusted = map[string]struct{}{}
	}
	s.trusted[name] = struct{}{}
}

// failed counts a wrong password and tells how late it is to be answered.
func (g *guard) failed(s *source, name string) time.Duration {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	n := s.add(now)
	f := g.names[name]
	if f == nil && len(g.names) >= maxRecords {
		g.sweep(now)
	}
	if f == nil && len(g.names) < maxRecords {
		f = &failures{}
		g.names[name] = f
	}
	if f != nil {
		n = max(n, f.add(now))
	}
	return min(firstDelay<<min(n-1, 10), maxDelay)
}

// source finds the record of an address. When there are too many, those that are
// not needed go; addresses for which there is still no room share one.
func (g *guard) source(from netip.Prefix, now time.Time) *source {
	if s := g.sources[from]; s != nil {
		return s
	}
	if len(g.sources) >= maxRecords {
		g.sweep(now)
	}
	if len(g.sources) >= maxRecords {
		return &g.crowd
	}
	s := &source{}
	g.sources[from] = s
	return s
}

// sweep forgets what is not needed, not more often than every second: who comes from
// ever new addresses must not have all of them looked at each time.
func (g *guard) sweep(now time.Time) {
	if now.Sub(g.swept) < time.Second {
		return
	}
	g.swept = now
	for key, s := range g.sources {
		if s.pending == 0 && s.recent(now) == 0 {
			delete(g.sources, key)
		}
	}
	for name, f := range g.names {
		if f.recent(now) == 0 {
			delete(g.names, name)
		}
	}
}
