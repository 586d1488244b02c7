package broker

import (
	"sync/atomic"
	"time"
)

// What a user, or a virtual host, may send and get in a second is held by not reading a
// connection that sends too much (Inflow), and by not delivering to one that gets too much
// (Outflow). Nobody else waits for it.

// Inflow is what a connection has read and not held against its rates. One goroutine uses it.
type Inflow struct {
	// Fed says that something was published, or a part of it, since the last look.
	Fed    bool
	unpaid int
}

// Read notes that n bytes were read, and says how long to read no more. They count with what
// they are a part of, of which more may be unread, and not if that is no publish.
func (f *Inflow) Read(p *Pacer, n int, more bool, now time.Time) (wait time.Duration) {
	f.unpaid += n
	switch {
	case f.Fed:
		n, f.unpaid, f.Fed = f.unpaid, 0, false
		return p.Came(n, now)
	case !more:
		f.unpaid = 0
	}
	return 0
}

// Outflow is whether a connection's deliveries wait for its rates. One goroutine asks Late, any
// may ask IsLate.
type Outflow struct {
	// Wake has Late asked again.
	Wake  func()
	late  atomic.Bool
	again *time.Timer // that ends it; nil before the first time
}

// Late says whether nothing may be delivered for now by a pacer, nil if there is none, and
// calls Wake when it may.
func (f *Outflow) Late(p *Pacer) bool {
	if p == nil && !f.late.Load() {
		return false
	}
	wait := time.Duration(0)
	if p != nil {
		wait = p.Owed(time.Now())
	}
	if wait <= 0 {
		f.late.Store(false)
		return false
	}
	f.late.Store(true)
	if wait = min(wait, time.Second); f.again == nil { // the rates may change meanwhile
		f.again = time.AfterFunc(wait, f.Wake)
	} else {
		f.again.Reset(wait)
	}
	return true
}

// IsLate is what Late said last.
func (f *Outflow) IsLate() bool { return f.late.Load() }
