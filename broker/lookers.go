package broker

import (
	"sync"
	"time"
)

const (
	// maxLookers is how many heads are read at a time.
	maxLookers = 8
	// maxStuckLookers is how many more may wait for disks that do not answer.
	maxStuckLookers = 120
	// lookPatience is how long a look may take before another looker comes in its place.
	lookPatience = time.Second
)

// lookers look for expired messages at heads that are not in memory, of which each may keep
// one waiting. They come when there are any, and further ones for those that are stuck: what
// does not give one queue's head holds up nobody else's.
type lookers struct {
	b *Broker

	mu    sync.Mutex // guards the rest; a leaf
	crew  crew
	under map[*Partition]time.Time // the looks under way, and when they began
}

// call has a log looked at, once at a time. One of this process that nobody has worked on yet
// needs a cursor, and nothing of the disk for it: it is not to stand behind those that do. The
// caller is one of those that the broker waits for when it closes.
func (l *lookers) call(p *Partition) {
	if p.expiry.Load().slow.Swap(true) {
		return
	}
	if !p.q.restored && p.cursor.Load() == nil {
		p.active().errands.send(nil, func(*errand) error {
			l.look(p)
			return nil
		})
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crew.enlist(p, l.most()) {
		l.b.stopped.Go(l.work)
	}
}

// most is how many lookers there may be; mu is held.
func (l *lookers) most() int {
	stuck, now := 0, l.b.opts.Now()
	for _, began := range l.under {
		if now.Sub(began) >= lookPatience {
			stuck++
		}
	}
	return maxLookers + min(stuck, maxStuckLookers)
}

// relieve has others come in the place of those that are stuck, while there is something to do.
// The caller is one of those that the broker waits for.
func (l *lookers) relieve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for come := min(l.most()-l.crew.working, len(l.crew.list)); come > 0; come-- {
		l.crew.working++
		l.b.stopped.Go(l.work)
	}
}

// work looks until nothing is left.
func (l *lookers) work() {
	for p := l.next(); p != nil; p = l.next() {
		l.look(p)
		l.looked(p)
	}
}

func (l *lookers) next() *Partition {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.crew.next(l.b.closed.Load() || l.crew.working > l.most())
	if p != nil {
		if l.under == nil {
			l.under = map[*Partition]time.Time{}
		}
		l.under[p] = l.b.opts.Now()
	}
	return p
}

// looked notes that a look is over.
func (l *lookers) looked(p *Partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.under, p)
}

func (l *lookers) look(p *Partition) {
	e, nowMs := p.expiry.Load(), l.b.opts.Now().UnixMilli()
	err := p.expireIfDue(nowMs, true)
	e.slow.Store(false)
	if err != nil {
		p.cantLook(e, nowMs, err)
		return
	}
	if p.q.Settings().DeadLetterExchange != nil {
		p.lookAgain(e, nowMs)
	}
}
