package broker

import (
	"math"
	"sync/atomic"
	"time"
)

// paceBurst is how much may go at once, as the time in which the rate allows that.
const paceBurst = time.Second

// pace holds bytes against a rate. What went over it is owed: paid is the time at which
// that is even again, and whoever brings more waits until then. Several share it, and each
// waits for what those before it brought, too.
type pace struct {
	perSecond atomic.Int64 // 0: there is no limit
	paid      atomic.Int64 // nanoseconds since 1970
}

// set has another rate hold; math.MaxInt64 is none.
func (p *pace) set(perSecond int64) {
	if perSecond == math.MaxInt64 {
		perSecond = 0
	}
	p.perSecond.Store(perSecond)
}

// spend notes that n bytes went at a time, and says how long it is until they are paid.
func (p *pace) spend(n int, now time.Time) time.Duration {
	rate := p.perSecond.Load()
	if rate == 0 {
		return 0
	}
	at := now.UnixNano()
	price := int64(float64(n) / float64(rate) * float64(time.Second))
	for {
		paid := p.paid.Load()
		next := max(paid, at-int64(paceBurst)) + min(price, maxPrice)
		if p.paid.CompareAndSwap(paid, next) {
			return time.Duration(max(next-at, 0))
		}
	}
}

// maxPrice bounds the time that one call of spend costs, against overflow.
const maxPrice = int64(24 * time.Hour)

// owed is how long it is until all that went is paid.
func (p *pace) owed(now time.Time) time.Duration {
	if p.perSecond.Load() == 0 {
		return 0
	}
	return time.Duration(max(p.paid.Load()-now.UnixNano(), 0))
}

// Pacer slows a session down that goes over the rates of its user or its virtual host. It is
// asked once a read buffer or batch; a session without such limits has none.
type Pacer struct {
	in, out [2]*pace
	rates   [4]int64 // of which it was made
	held    *[2]atomic.Uint64
}

// newPacer makes a pacer of what holds now, or leaves the one that there is.
func newPacer(user, vhost *account, old *Pacer, held *[2]atomic.Uint64) *Pacer {
	rates := [4]int64{user.limit(limitIn), vhost.limit(limitIn), user.limit(limitOut), vhost.limit(limitOut)}
	switch {
	case old != nil && old.rates == rates:
		return old
	case rates == [4]int64{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64}:
		return nil
	}
	return &Pacer{in: [2]*pace{&user.in, &vhost.in}, out: [2]*pace{&user.out, &vhost.out}, rates: rates, held: held}
}

// Pacer is what slows the session down, nil for nothing. It is another when the rates are: who
// waits looks now and then whether it is still the same.
func (s *Session) Pacer() *Pacer { return s.pacer.Load() }

// Came notes that n bytes came in with what is published, and says how long to take no more.
func (p *Pacer) Came(n int, now time.Time) (wait time.Duration) {
	return p.spend(0, p.in, n, now)
}

// Left notes that n bytes went out with what is consumed, and says how long to send no more.
func (p *Pacer) Left(n int, now time.Time) (wait time.Duration) {
	return p.spend(1, p.out, n, now)
}

func (p *Pacer) spend(way int, of [2]*pace, n int, now time.Time) (wait time.Duration) {
	for _, one := range of {
		wait = max(wait, one.spend(n, now))
	}
	if wait > 0 {
		p.held[way].Add(uint64(wait))
	}
	return wait
}

// Owed is how long it is until more may go out.
func (p *Pacer) Owed(now time.Time) (wait time.Duration) {
	for _, one := range p.out {
		wait = max(wait, one.owed(now))
	}
	return wait
}
