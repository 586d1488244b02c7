package broker

import (
	"container/heap"
	"sync"
	"time"
)

// Who waits for dead letters sees when messages expire: a queue that sends them is looked at
// when its head is due, and not with all others every SaveEvery. There is one timer for all
// such queues, and a queue has one place in the order, whatever is in it.
//
//	expects, note ─► soon ─► looks, the next due first ─► run ─► expireIfDue
//	                           ▲──── when the head is due ────┘
type punctual struct {
	b    *Broker
	wake chan struct{} // the next one is another

	mu    sync.Mutex // guards looks and what is in it; a leaf
	looks placedHeap[*look]
}

// look is when a log is looked at.
type look struct {
	p     *Partition
	atMs  int64
	index int // in the heap; -1: not there
}

// lookStep is the least time between two looks at one log.
const lookStep = 10 * time.Millisecond

// soon has the log looked at in a moment: its head may be another.
func (e *expiry) soon(p *Partition) {
	if e.called.Load() || e.called.Swap(true) {
		return
	}
	b := p.q.vhost.b
	b.punctual.put(p, e, b.opts.Now().Add(lookStep).UnixMilli())
}

// put has a log looked at, at a time or before.
func (x *punctual) put(p *Partition, e *expiry, atMs int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p.removed.Load() {
		return
	}
	l := e.look
	switch {
	case l == nil || l.index < 0:
		l = &look{p: p, atMs: atMs}
		e.look = l
		heap.Push(&x.looks, l)
	case atMs < l.atMs:
		l.atMs = atMs
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
	e := p.expiry.Load()
	if e == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if e.look != nil && e.look.index >= 0 {
		heap.Remove(&x.looks, e.look.index)
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
		now := x.b.opts.Now().UnixMilli()
		for p := x.due(now); p != nil && !x.b.closed.Load(); p = x.due(now) {
			x.at(p, now)
		}
		if atMs, ok := x.next(); ok {
			timer.Reset(time.Duration(max(atMs-x.b.opts.Now().UnixMilli(), 1)) * time.Millisecond)
		}
	}
}

// at looks at one log. What fails is left to the expirer.
func (x *punctual) at(p *Partition, nowMs int64) {
	e := p.expiry.Load()
	e.called.Store(false)
	if p.removed.Load() || e.rests(nowMs) || p.expireIfDue(nowMs, true) != nil {
		return
	}
	if due := e.due.Load(); due < never {
		x.put(p, e, max(due, nowMs+lookStep.Milliseconds()))
	}
}

// due takes out one log whose time has come.
func (x *punctual) due(nowMs int64) *Partition {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.looks) == 0 || x.looks[0].atMs > nowMs {
		return nil
	}
	return heap.Pop(&x.looks).(*look).p
}

// next is when a log is to be looked at; ok is false when none is.
func (x *punctual) next() (atMs int64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.looks) == 0 {
		return 0, false
	}
	return x.looks[0].atMs, true
}

func (l *look) before(other *look) bool { return l.atMs < other.atMs }
func (l *look) placed(index int)        { l.index = index }
