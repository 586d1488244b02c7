package broker

import (
	"errors"
	"fmt"
)

func inUse(q *Queue) error {
	return fail(Precondition, "queue '%s' in vhost '%s' in use", q.Name, q.vhost.Name)
}

// DeleteQueue removes a queue with all its messages and returns how many were
// ready. One that is not there is no error. Its files go later.
func (s *Session) DeleteQueue(name string, ifUnused, ifEmpty bool) (ready int64, err error) {
	if err := s.May(Delete, OnQueue, name); err != nil {
		return 0, err
	}
	v := s.vhost
	counted := true // what is counted here is known when the name is claimed, over which nobody waits for a disk
	if q, _ := v.Queue(name); q != nil && q.allow(s) == nil {
		_, err := s.Count(q)
		if counted = err == nil; ifEmpty && !counted {
			return 0, fmt.Errorf("is queue '%s' empty? %w", name, err)
		}
	}
	err = v.change(func(c *change) error {
		if err := c.alone(queueClaim(name)); err != nil {
			return err
		}
		q, _ := v.Queue(name)
		if q == nil {
			return nil
		}
		if err := q.allow(s); err != nil {
			return err
		}
		if ifUnused && q.Consumers() > 0 {
			return inUse(q)
		}
		return c.delete([]*Queue{q}, func() (err error) {
			ready, err = q.countToDelete(ifEmpty, counted)
			if err == nil && !q.end(ifUnused) {
				err = inUse(q)
			}
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	return ready, nil
}

// countToDelete is what a deletion answers, and its condition.
func (q *Queue) countToDelete(ifEmpty, counted bool) (int64, error) {
	ready, err := q.count(counted)
	if ifEmpty && err != nil {
		return 0, fmt.Errorf("is queue '%s' empty? %w", q.Name, err)
	}
	if ifEmpty && ready+q.retrying() > 0 {
		return 0, fail(Precondition, "queue '%s' in vhost '%s' not empty", q.Name, q.vhost.Name)
	}
	return ready, nil
}

// delete has queues removed that end marks as deleted.
func (c *change) delete(queues []*Queue, end func() error) error {
	return c.deleteWith(c.leaving(), queues, end)
}

func (c *change) deleteWith(l *leaving, queues []*Queue, end func() error) error {
	for _, q := range queues {
		if err := l.queue(q); err != nil {
			return err
		}
	}
	c.prepare = end
	c.undo = func() {
		for _, q := range queues {
			q.deleted.Store(false)
		}
	}
	return nil
}

// end marks the queue deleted, after which nobody can subscribe to it. It does
// not when it was deleted already or, if unused is asked for, has a consumer.
func (q *Queue) end(unused bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return (!unused || len(q.subs) == 0) && !q.deleted.Swap(true)
}

// errUsed ends the removal of an unused queue that is used again.
var errUsed = errors.New("the queue is used again")

// deleteUnused removes an auto-delete queue that lost its last consumer, if it has
// none again by now.
func (v *VHost) deleteUnused(q *Queue) {
	remove := func() error { return v.deleteIf(q, func() bool { return true }) }
	if err := remove(); err != nil && !errors.Is(err, errUsed) && !errors.Is(err, errVHostGone) {
		v.b.opts.Log.Error("can't delete an auto-delete queue; it is tried again", "queue", q.Name, "error", err)
		v.b.overdue.add(q, remove)
	}
}

// deleteIf removes a queue that has no consumer and of which more is asked, at the last
// moment. The error is errUsed when it does not.
func (v *VHost) deleteIf(q *Queue, unused func() bool) error {
	return v.change(func(c *change) error {
		if err := c.alone(queueClaim(q.Name)); err != nil {
			return err
		}
		if q.Deleted() {
			return nil
		}
		return c.delete([]*Queue{q}, func() error {
			if !unused() || !q.end(true) {
				return errUsed
			}
			return nil
		})
	})
}

// deleteOwned removes the exclusive queues of a session that ends, in one change. They
// are written down nowhere, so they go whatever the disk does: what has to be written
// is the end of auto-delete exchanges that go with them, and these may stay behind.
func (v *VHost) deleteOwned(list map[*Queue]struct{}) {
	if len(list) == 0 {
		return
	}
	_, err := v.deleteQueues(list, false)
	if err == nil || errors.Is(err, errVHostGone) { // with which they went
		return
	}
	v.b.opts.Log.Error("can't delete an auto-delete exchange with the last queue that was bound to it; it is tried again", "vhost", v.Name, "error", err)
	spared, err := v.deleteQueues(list, true)
	if err != nil {
		v.b.opts.Log.Error("can't delete the exclusive queues of a session", "queues", len(list), "error", err)
	}
	for _, x := range spared {
		v.b.overdue.add(x, func() error { return v.deleteUnbound(x) })
	}
}

// deleteQueues removes queues, with or without the auto-delete exchanges that lose
// their last binding.
func (v *VHost) deleteQueues(list map[*Queue]struct{}, spare bool) (spared []*Exchange, err error) {
	err = v.change(func(c *change) error {
		var queues []*Queue
		for q := range list {
			if err := c.alone(queueClaim(q.Name)); err != nil {
				return err
			}
			if !q.Deleted() {
				queues = append(queues, q)
			}
		}
		l := c.leaving()
		l.spare = spare
		err := c.deleteWith(l, queues, func() error {
			for _, q := range queues {
				q.end(false)
			}
			return nil
		})
		spared = l.spared
		return err
	})
	return spared, err
}

// deleteUnbound removes an auto-delete exchange that has no binding any more. The error
// is errUsed when it has one.
func (v *VHost) deleteUnbound(x *Exchange) error {
	return v.change(func(c *change) error {
		if err := c.alone(exchangeClaim(x.Name)); err != nil {
			return err
		}
		if have, _ := v.exchanges.Load(x.Name); have != x {
			return nil
		}
		if len(x.bindings) > 0 {
			return errUsed
		}
		return c.leaving().exchange(x)
	})
}

// cancelAll tells every subscription, and whoever watches, that the queue is gone.
func (q *Queue) cancelAll() {
	q.use()
	q.mu.Lock()
	subs := q.subs
	q.subs = nil
	var ends map[*func()]struct{}
	if x := q.extra.Load(); x != nil {
		ends, x.ends, x.turn = x.ends, nil, single{}
	}
	q.mu.Unlock()
	for s := range subs {
		s.cancel()
	}
	for wake := range ends {
		(*wake)()
	}
}

// watchEnd has wake called when the queue is gone, until stop is called. It must
// not block.
func (q *Queue) watchEnd(wake func()) (stop func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x := q.extras()
	if x.ends == nil {
		x.ends = map[*func()]struct{}{}
	}
	x.ends[&wake] = struct{}{}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(x.ends, &wake)
	}
}

// wakeAll has every subscription pull again.
func (q *Queue) wakeAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for s := range q.subs {
		if s.o.Wake != nil {
			s.o.Wake()
		}
	}
}
