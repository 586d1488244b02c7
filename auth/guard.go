package auth

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Bounds on logins that are not decided yet: they wait for their slow hash or for
// the delayed answer of a wrong password, each with its connection and goroutine.
const (
	maxPending = 1024
	// maxPendingOf is the same for one source, so that it leaves room for others.
	maxPendingOf = 256
	// maxSuspects are those of sources with recent wrong passwords: they leave room for
	// the others, however many sources guess.
	maxSuspects = 768
	// maxSuspectsOf is the same for one source.
	maxSuspectsOf = 32
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
	// maxNameBytes is how much of a name is remembered; no user's is longer.
	maxNameBytes = 1024
)

// Who finds no place gets a glance, if not too many of its source do: the password is
// compared with the one that was right last, which costs next to nothing.
const (
	glancesPerSecond = 50
	maxGlances       = 50
)

// Fewer still are looked at: the password is hashed. Who shares an address with one that
// guesses, and was never right since the start, gets in after a few attempts that way.
const (
	looksPerSecond = 10
	maxLooks       = 10
	// maxLooking is how many are at a time.
	maxLooking = 128
)

// guard remembers who guesses. It decides
//
//	                      place     no place
//	right before here     checked   glanced at
//	name without failures checked   glanced at, so many a second; of these so many looked at; others not at all
//	others                checked   glanced at, so many a second; others not at all
//
// "Right before here" is a name that has logged in from the same source: a flood of
// wrong passwords must not lock out who shares an address with it. Whether there is a
// user of that name decides nothing.
type guard struct {
	mu       sync.Mutex // guards all below
	pending  int
	suspects int // of pending
	looking  int
	sources  map[netip.Prefix]*source
	names    map[string]*failures
	crowd    source // of sources that there is no room for
	swept    time.Time
}

// source is one address, or one network of IPv6.
type source struct {
	failures
	pending  int
	suspects int // of pending
	trusted  map[string]struct{}
	glances  bucket
	looks    bucket
	served   uint64 // when it had a turn last, by number; turns.mu guards it
}

// bucket is what is left of so many a second.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) take(now time.Time, perSecond, most float64) bool {
	b.left = min(most, b.left+now.Sub(b.at).Seconds()*perSecond)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// failures counts wrong passwords.
type failures struct {
	n    int
	last time.Time
}

func newGuard() *guard {
	return &guard{sources: map[netip.Prefix]*source{}, names: map[string]*failures{}}
}

// care is what a login is given.
type care int

const (
	turnedAway care = iota
	glancedAt       // compared with the password that was right last
	lookedAt        // hashed, too; when it is wrong there is no place to wait for the answer
	checked
)

// attempt is one login under way.
type attempt struct {
	source  *source
	name    string // as it is remembered
	care    care
	rank    rank
	suspect bool // it has a place of those for suspects
}

// sourceOf is the address that failures count for. Whoever has an IPv6 address has
// 2^64 of them. Connections without an IP address count as one.
func sourceOf(from net.Addr) netip.Prefix {
	if page, ok := from.(elsewhere); ok {
		from = page.Addr
	}
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

// begin decides on a login, and takes a place for it when there is one.
func (g *guard) begin(from netip.Prefix, name string) *attempt {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.source(from, now)
	if len(name) > maxNameBytes {
		name = strings.Clone(name[:maxNameBytes]) // there is no such user
	}
	a := &attempt{source: s, name: name, rank: g.rank(s, name, now)}
	a.suspect = a.rank != clean
	switch _, trusted := s.trusted[name]; {
	case g.place(a):
		a.care = checked
	case trusted || s.glances.take(now, glancesPerSecond, maxGlances):
		a.care = glancedAt
	}
	return a
}

// look reports whether one whose glance told nothing may be looked at.
func (g *guard) look(a *attempt) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.rank == suspect || g.looking >= maxLooking || !a.source.looks.take(time.Now(), looksPerSecond, maxLooks) {
		return false
	}
	a.care = lookedAt
	g.looking++
	return true
}

// rank says what stands against a login.
func (g *guard) rank(s *source, name string, now time.Time) rank {
	switch f := g.names[name]; {
	case s.recent(now) == 0:
		return clean
	case f == nil || f.recent(now) == 0:
		return doubtful
	}
	return suspect
}

// place takes a place, if there is one.
func (g *guard) place(a *attempt) bool {
	s := a.source
	if g.pending >= maxPending || s.pending >= maxPendingOf || a.suspect && !g.seatSuspect(s) {
		return false
	}
	g.pending++
	s.pending++
	return true
}

// seatSuspect takes a place among the suspects, if there is one.
func (g *guard) seatSuspect(s *source) bool {
	if g.suspects >= maxSuspects || s.suspects >= maxSuspectsOf {
		return false
	}
	g.suspects++
	s.suspects++
	return true
}

// end gives back what begin took.
func (g *guard) end(a *attempt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch a.care {
	case lookedAt:
		g.looking--
	case checked:
		g.pending--
		a.source.pending--
		if a.suspect {
			g.suspects--
			a.source.suspects--
		}
	}
}

// succeeded remembers that the name was right from there.
func (g *guard) succeeded(a *attempt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := a.source
	if s == &g.crowd || len(s.trusted) >= maxTrusted {
		return
	}
	if s.trusted == nil {
		s.trusted = map[string]struct{}{}
	}
	s.trusted[a.name] = struct{}{}
}

// failed counts a wrong password and tells how late it is to be answered. stays is
// false when there is no place to wait in: it is not answered at all then.
func (g *guard) failed(a *attempt) (wait time.Duration, stays bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	n := a.source.add(now)
	f := g.names[a.name]
	if f == nil && len(g.names) >= maxRecords {
		g.sweep(now)
	}
	if f == nil && len(g.names) < maxRecords {
		f = &failures{}
		g.names[a.name] = f
	}
	if f != nil {
		n = max(n, f.add(now))
	}
	if a.care == checked && !a.suspect {
		a.suspect = g.seatSuspect(a.source)
	}
	return min(firstDelay<<min(n-1, 10), maxDelay), a.care == checked && a.suspect
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
