package broker

import (
	"container/heap"
	"errors"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// Who waits for dead letters sees when messages expire: a queue that sends them is looked at
// when its head is due, and not with all others every SaveEvery. So is one in which returned
// messages wait (retry.go). There is one timer for all such queues, and a queue has one place
// in the order for either, whatever is in it.
//
//	expects, note ─► soon ─┬► looks, the next due first ─► run ─┬► lookForExpired
//	returned ─► requeueLater ┘    ▲──── when more is due ────────┴► retryDue
//
// Times are counted from the start of the broker, by the clock that nobody sets.
type punctual struct {
	b     *Broker
	began time.Time
	wake  chan struct{} // the next one is another

	mu    sync.Mutex // guards looks and what is in it; a leaf
	looks placedHeap[*look]
}

// look is when a log is looked at, and how.
type look struct {
	p     *Partition
	do    func(*Partition)
	at    time.Duration // since began
	index int           // in the heap; -1: not there
}

// lookStep is the least time between two looks at one log.
const lookStep = 10 * time.Millisecond

// soon has the log looked at in a moment: its head may be another.
func (e *expiry) soon(p *Partition) {
	if e.called.Load() || e.called.Swap(true) {
		return
	}
	p.q.vhost.b.punctual.put(p, &e.look, lookStep, lookForExpired)
}

func (x *punctual) start(b *Broker) {
	x.b, x.began, x.wake = b, b.opts.Now(), make(chan struct{}, 1)
}

func (x *punctual) now() time.Duration { return x.b.opts.Now().Sub(x.began) }

// put has a log looked at when that time is over, or before. Its place in the order is kept
// in place, which belongs to x.
func (x *punctual) put(p *Partition, place **look, after time.Duration, do func(*Partition)) {
	at := x.now() + after
	x.mu.Lock()
	defer x.mu.Unlock()
	if p.removed.Load() {
		return
	}
	l := *place
	switch {
	case l == nil || l.index < 0:
		l = &look{p: p, at: at, do: do}
		*place = l
		heap.Push(&x.looks, l)
	case at < l.at:
		l.at = at
		heap.Fix(&x.looks, l.index)
	}
	if l.index > 0 {
		return
	}
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// remove forgets a log that is gone.
func (x *punctual) remove(p *Partition) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := p.expiry.Load(); e != nil {
		x.take(e.look)
	}
	if a := p.inUse.Load(); a != nil {
		x.take(a.retry)
	}
}

// take takes a look out; mu is held.
func (x *punctual) take(l *look) {
	if l != nil && l.index >= 0 {
		heap.Remove(&x.looks, l.index)
	}
}

// run looks at what is due until the broker closes.
func (x *punctual) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-x.b.stop:
			return
		case <-x.wake:
		case <-timer.C:
		}
		timer.Stop()
		now := x.now()
		for l := x.due(now); l != nil && !x.b.closed.Load(); l = x.due(now) {
			if !l.p.removed.Load() {
				l.do(l.p)
			}
		}
		if at, ok := x.next(); ok {
			timer.Reset(max(at-x.now(), time.Millisecond))
		}
	}
}

// lookForExpired looks at one log, or has a looker do it. What fails is left to the expirer.
func lookForExpired(p *Partition) {
	e, b := p.expiry.Load(), p.q.vhost.b
	nowMs := b.opts.Now().UnixMilli()
	e.called.Store(false)
	if e.rests(nowMs) {
		return
	}
	switch err := p.expireIfDue(nowMs, false); {
	case err == nil:
		p.lookAgain(e, nowMs)
	case errors.Is(err, store.ErrNotYet):
		b.lookers.call(p)
	}
}

// lookAgain has the log looked at when its head is due.
func (p *Partition) lookAgain(e *expiry, nowMs int64) {
	if due := e.due.Load(); due < never {
		after := time.Duration(min(due-nowMs, MaxTimeMs)) * time.Millisecond
		p.q.vhost.b.punctual.put(p, &e.look, max(after, lookStep), lookForExpired)
	}
}

// due takes out one look whose time has come.
func (x *punctual) due(now time.Duration) *look {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.looks) == 0 || x.looks[0].at > now {
		return nil
	}
	return heap.Pop(&x.looks).(*look)
}

// next is when a log is to be looked at; ok is false when none is.
func (x *punctual) next() (at time.Duration, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.looks) == 0 {
		return 0, false
	}
	return x.looks[0].at, true
}

func (l *look) before(other *look) bool { return l.at < other.at }
func (l *look) placed(index int)        { l.index = index }
