package broker

import "sync"

// maxLookers is how many heads are read at a time.
const maxLookers = 8

// lookers look for expired messages at heads that are not in memory, of which each may keep
// one waiting. They come when there are any.
type lookers struct {
	b *Broker

	mu   sync.Mutex // guards crew; a leaf
	crew crew
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
	if l.crew.enlist(p, maxLookers) {
		l.b.stopped.Go(l.work)
	}
}

// work looks until nothing is left.
func (l *lookers) work() {
	for p := l.next(); p != nil; p = l.next() {
		l.look(p)
	}
}

func (l *lookers) next() *Partition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.crew.next(l.b.closed.Load())
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
