package broker

import (
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// What an earlier start left in a queue is read when the first message comes, for the names in it
// with x-message-deduplication, and for the bytes with x-max-length-bytes: on a goroutine of its
// own, once for all who publish to the queue meanwhile, and without a turn. They wait for a while
// and are told; nothing is appended before what decides about it is known.
//
//	append ── not known ─► find ─► search: what is left in the logs ─► in a turn: known
//	   ▲                    │ ReadTimeout after it began: refused, until it is over
//	   └────── again ───────┘
type queueSearch struct {
	began time.Time
	done  chan struct{}
	err   error
}

// find has what is not known of a queue found out. The turn is not the caller's.
func (l *limiter) find(q *Queue) *queueSearch {
	l.searching.Lock()
	defer l.searching.Unlock()
	if l.search == nil {
		l.search = &queueSearch{began: q.vhost.b.opts.Now(), done: make(chan struct{})}
		go l.searchQueue(q, l.search)
	}
	return l.search
}

// awaitFor waits for a search as long as a publisher may; nil is one who has no session.
func (l *limiter) awaitFor(q *Queue, n *queueSearch, pub *Publisher) error {
	b := q.vhost.b
	timer := time.NewTimer(b.opts.ReadTimeout - b.opts.Now().Sub(n.began))
	defer timer.Stop()
	select {
	case <-n.done:
		return n.err
	case <-timer.C:
		return fail(Timeout, "what is left in queue '%s' in vhost '%s' is still being read for the names and sizes of its messages (waited %v)", q.Name, q.vhost.Name, b.opts.ReadTimeout)
	case <-pub.givenUp():
		return fail(Closed, "the connection is closing")
	case <-b.stop:
		return fail(Closed, "the broker is stopping")
	}
}

// beginTurn begins a turn in which is known what the queue's settings ask for. wait waits for a search.
func (l *limiter) beginTurn(q *Queue, wait func(*queueSearch) error) (*Settings, error) {
	for {
		l.mu.Lock()
		l.refresh()
		s := q.Settings()
		if (!s.Distinct || l.names.known) && (s.MaxLengthBytes == noLimit || len(l.uncounted(q)) == 0) {
			return s, nil
		}
		l.mu.Unlock()
		if err := wait(l.find(q)); err != nil {
			return nil, err
		}
	}
}

// beginTrim is beginTurn for who only drops messages, and has time.
func (l *limiter) beginTrim(q *Queue) error {
	_, err := l.beginTurn(q, func(n *queueSearch) error {
		select {
		case <-n.done:
			return n.err
		case <-q.vhost.b.stop:
			return fail(Closed, "the broker is stopping")
		}
	})
	return err
}

// uncounted lists the logs of which it is not known how many bytes are ready. The turn is the caller's.
func (l *limiter) uncounted(q *Queue) (parts []*Partition) {
	for _, part := range q.inTurn() {
		if !l.bytesOf(part).known {
			parts = append(parts, part)
		}
	}
	return parts
}

// givenUp is closed when nobody waits any more for what is published.
func (p *Publisher) givenUp() <-chan struct{} {
	if p == nil || p.s == nil {
		return nil // it is the broker's own
	}
	return p.s.givenUp
}

// searchQueue finds names and bytes. What is appended meanwhile is so by settings of before, and has no
// name: of a change of these the next turn hears, and begins anew. What consumers take and give back
// meanwhile is in the count that follows.
func (l *limiter) searchQueue(q *Queue, n *queueSearch) {
	l.mu.Lock() // whoever appends by settings of before has done it
	l.refresh()
	s := q.Settings()
	named := !s.Distinct || l.names.known
	var parts []*Partition
	if s.MaxLengthBytes != noLimit {
		parts = l.uncounted(q)
	}
	l.mu.Unlock()
	var found distinct
	if !named {
		found, n.err = namesIn(q)
	}
	counts := make([]readyBytes, len(parts))
	for i, part := range parts {
		var c *consumer.Cursor
		if n.err == nil {
			c, n.err = part.work()
		}
		if n.err == nil {
			_, n.err = counts[i].count(part, c)
		}
	}
	if n.err == nil {
		l.mu.Lock()
		if !named {
			found.listed = l.names.listed
			l.names = found
			l.listNames(q)
		}
		for i, part := range parts {
			*l.bytesOf(part) = counts[i]
		}
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
