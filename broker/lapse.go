package broker

import (
	"container/heap"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A queue with x-expires lapses: it is deleted when, for that long, it had no consumer and
// was neither declared nor asked for a message. Use writes a time down and nothing else;
// one goroutine with one timer looks at each such queue when it could lapse, and puts it
// back by the time at which it could next.
//
//	declare, a start ─► add ─► queues, the next to lapse first ─► run ─► deleteIf
//	declare, get, the end of a consumer ─► use     ▲── not yet ───┘
//
// Times are counted from the start of the broker, by the clock that nobody sets: after a
// start they begin anew.
type lapses struct {
	b     *Broker
	began time.Time
	wake  chan struct{} // the next one is another

	mu     sync.Mutex // guards queues and what is in it; a leaf
	queues placedHeap[*lapse]
}

// lapse is when a queue is looked at.
type lapse struct {
	q     *Queue
	at    time.Duration // since began
	index int           // in the heap; -1: it is being looked at
	used  atomic.Int64  // when somebody used the queue, since began
}

const (
	// lapseStep is the least time between two looks at one queue.
	lapseStep = 10 * time.Millisecond
	// lapseAtOnce is how many deletions share a flush of the definitions.
	lapseAtOnce = 64
)

func (l *lapses) start(b *Broker) {
	l.b, l.began, l.wake = b, b.opts.Now(), make(chan struct{}, 1)
}

func (l *lapses) now() time.Duration { return l.b.opts.Now().Sub(l.began) }

// use has the time of a queue that lapses begin anew.
func (q *Queue) use() {
	if l := q.lapse(); l != nil {
		l.used.Store(int64(q.vhost.b.lapses.now()))
	}
}

// lapsesAt says when the queue does if nobody uses it, or that it does not. One that another
// process works has its consumers there.
func (q *Queue) lapsesAt(now time.Duration) (at time.Duration, ok bool) {
	after := q.Settings().Expires
	if after <= 0 {
		return 0, false // any more
	}
	leases := q.vhost.b.store.Leases()
	address, known := leases.Owner(leases.Slot(q.Partitions()[0].log.ID()))
	if q.Consumers() > 0 || address != "" || !known {
		q.lapse().used.Store(int64(now))
	}
	return time.Duration(q.lapse().used.Load()) + after, true
}

// add has a queue lapse that nobody sees yet, if it is to.
func (l *lapses) add(q *Queue) {
	if q.Settings().Expires <= 0 {
		return
	}
	q.extras().lapse.CompareAndSwap(nil, &lapse{q: q, index: -1})
	q.use()
	l.put(q, l.now()+q.Settings().Expires)
}

// renew has a queue's time begin anew that is another now, or end.
func (l *lapses) renew(q *Queue) {
	if q.Settings().Expires > 0 {
		l.add(q)
	} else {
		l.remove(q)
	}
}

// put has a queue looked at at that time, unless it is gone.
func (l *lapses) put(q *Queue, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.Partitions()[0].removed.Load() {
		return
	}
	this := q.lapse()
	this.at = at
	if this.index >= 0 {
		heap.Fix(&l.queues, this.index)
	} else {
		heap.Push(&l.queues, this)
	}
	if this.index > 0 {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// remove forgets a queue that is gone.
func (l *lapses) remove(q *Queue) {
	this := q.lapse()
	if this == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if this.index >= 0 {
		heap.Remove(&l.queues, this.index)
		this.index = -1
	}
}

// run deletes what lapses until the broker closes.
func (l *lapses) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.b.stop:
			return
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
		for l.look() == lapseAtOnce && !l.b.closed.Load() {
		}
		if wait, ok := l.next(); ok {
			timer.Reset(wait)
		}
	}
}

// next says how long it is until a queue may lapse; ok is false when none will.
func (l *lapses) next() (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queues) == 0 {
		return 0, false
	}
	return max(0, l.queues[0].at-l.now()), true
}

// look goes through the queues that may have lapsed, and says how many they were.
func (l *lapses) look() int {
	now := l.now()
	due := l.due(now)
	var all sync.WaitGroup
	for _, q := range due {
		at, ok := q.lapsesAt(now)
		if !ok {
			continue
		}
		if at > now {
			l.put(q, max(at, now+lapseStep))
			continue
		}
		all.Go(func() { l.delete(q) })
	}
	all.Wait()
	return len(due)
}

// due takes out queues whose time has come.
func (l *lapses) due(now time.Duration) (out []*Queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(out) < lapseAtOnce && len(l.queues) > 0 && l.queues[0].at <= now {
		out = append(out, heap.Pop(&l.queues).(*lapse).q)
	}
	return out
}

// delete removes a queue, unless somebody used it at the last moment.
func (l *lapses) delete(q *Queue) {
	err := q.vhost.deleteIf(q, func() bool {
		now := l.now()
		at, ok := q.lapsesAt(now)
		return ok && at <= now
	})
	switch {
	case err == nil, errors.Is(err, errVHostGone):
	case errors.Is(err, errUsed):
		l.put(q, l.now()+lapseStep)
	default:
		l.b.opts.Log.Error("can't delete a queue that expired (x-expires); it is tried again in a minute", "queue", q.Name, "error", err)
		l.put(q, l.now()+lookInterval)
	}
}

func (l *lapse) before(other *lapse) bool { return l.at < other.at }
func (l *lapse) placed(index int)         { l.index = index }
