package netx

import (
	"sync/atomic"
	"time"
)

// deadline is what is set on one direction of a socket. It is set again only when it
// has moved by a good part of the wait: setting it costs more than a small message.
type deadline struct {
	set   func(time.Time) error
	at    time.Time    // as arm set it; zero is none
	fixed atomic.Int64 // as fix set it, in ns; 0 leaves it to arm
	fixes atomic.Uint32
	known uint32 // fixes that arm knows of
}

// arm has the direction end at want, more or less, unless it was fixed. It belongs to the
// goroutine that uses the direction.
func (d *deadline) arm(want time.Time, slack time.Duration) {
	if d.fixed.Load() != 0 {
		return
	}
	if n := d.fixes.Load(); n != d.known {
		d.known = n // what is set is not what it was
	} else if want.IsZero() == d.at.IsZero() {
		if off := want.Sub(d.at); off <= slack && off >= -slack {
			return
		}
	}
	d.at = want
	_ = d.set(want) // a closed socket says so at the next call
	if at := d.fixed.Load(); at != 0 {
		_ = d.set(time.Unix(0, at)) // fix came in between
	}
}

// fix sets a deadline that arm does not move; the zero time gives it back. Any
// goroutine may call it.
func (d *deadline) fix(at time.Time) error {
	d.fixes.Add(1)
	if at.IsZero() {
		d.fixed.Store(0)
	} else {
		d.fixed.Store(at.UnixNano())
	}
	return d.set(at)
}
