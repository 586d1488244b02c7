package broker

import (
	"time"

	"github.com/leveret-mq/leveret/message"
)

// What an earlier start left in a queue with x-message-deduplication is read for its names when
// the first message comes: on a goroutine of its own, once for all who publish to the queue
// meanwhile, and without a turn. They wait for a while and are told; nothing with a name is
// appended before the names are known.
//
//	append ── names not known ─► findNames ─► search: what is left in the logs ─► in a turn: known
//	   ▲                            │ ReadTimeout after it began: refused, until it is over
//	   └────────── again ───────────┘
type nameSearch struct {
	began time.Time
	done  chan struct{}
	err   error
}

// findNames has the queue's names found, and waits for it. The turn is not the caller's.
func (l *limiter) findNames(q *Queue, pub *Publisher) error {
	b := q.vhost.b
	l.searching.Lock()
	n := l.search
	if n == nil {
		n = &nameSearch{began: b.opts.Now(), done: make(chan struct{})}
		l.search = n
		go l.searchNames(q, n)
	}
	l.searching.Unlock()
	timer := time.NewTimer(b.opts.ReadTimeout - b.opts.Now().Sub(n.began))
	defer timer.Stop()
	select {
	case <-n.done:
		return n.err
	case <-timer.C:
		return fail(Timeout, "what is left in queue '%s' in vhost '%s' is still being read for the names of its messages (waited %v)", q.Name, q.vhost.Name, b.opts.ReadTimeout)
	case <-pub.givenUp():
		return fail(Closed, "the connection is closing")
	case <-b.stop:
		return fail(Closed, "the broker is stopping")
	}
}

// givenUp is closed when nobody waits any more for what is published.
func (p *Publisher) givenUp() <-chan struct{} {
	if p.s == nil {
		return nil // it is the broker's own
	}
	return p.s.givenUp
}

// searchNames finds the names. What is appended meanwhile has none, but by settings of before: of
// a change of these the next turn hears, and begins anew.
func (l *limiter) searchNames(q *Queue, n *nameSearch) {
	l.mu.Lock() // whoever appends by settings of before has done it
	l.refresh()
	l.mu.Unlock()
	var found distinct
	if found, n.err = namesIn(q); n.err == nil {
		l.mu.Lock()
		found.listed = l.names.listed
		l.names = found
		l.listNames(q)
		l.mu.Unlock()
	}
	l.searching.Lock()
	l.search = nil
	l.searching.Unlock()
	close(n.done)
}

// namesIn reads the names of what is in a queue.
func namesIn(q *Queue) (d distinct, err error) {
	s, nowMs := q.Settings(), q.vhost.b.opts.Now().UnixMilli()
	d.known = true
	for _, part := range q.inTurn() {
		c, err := part.work()
		if err != nil {
			return d, err
		}
		floor, _ := c.Progress()
		_, end, err := part.log.Bounds()
		if err != nil {
			return d, err
		}
		err = part.records(floor, end-1, func(o message.Offset, ms int64, rec *message.Record) {
			if n, ok := nameOf(s, ttlAt(part.ttlSteps(), o, s.MessageTTL), rec, ms); ok && nowMs < n.dueMs && c.Holds(o, o) {
				d.add(q, n.id, inQueue{offset: o, level: uint8(part.index), dueMs: n.dueMs}, nowMs, s.CacheSize)
			}
		})
		if err != nil {
			return d, err
		}
	}
	return d, nil
}
