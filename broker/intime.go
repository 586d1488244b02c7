package broker

import (
	"sync/atomic"
	"time"
)

// asked is one thing that a client asked of a queue and that has to wait for a disk. It is
// done on a goroutine of its own, because nothing else ends a read of a disk that hangs:
// who asked waits for a while and is told. What needs no disk is not asked this way.
type asked[T any] struct {
	q     *Queue
	state atomic.Int32
	done  chan struct{}
	got   T
	err   error
}

// States of what was asked.
const (
	askedOpen    int32 = iota
	askedWanted        // there is an answer, which is waited for
	askedGivenUp       // nobody waits any more
)

// inTime does something of a queue, and waits until it is done, for ReadTimeout at most,
// or until the session gives up or the broker stops; with a nil givenUp for ReadTimeout
// alone. do may outlast that: when wanted says no, nobody waits any more, and it leaves
// things as they are. Once wanted has said yes, it must not wait any longer.
func inTime[T any](q *Queue, givenUp <-chan struct{}, do func(wanted func() bool) (T, error)) (T, error) {
	a := &asked[T]{q: q, done: make(chan struct{})}
	go a.run(do)
	return a.wait(givenUp)
}

// wanted decides that the answer is for who asked, unless that one gave up.
func (a *asked[T]) wanted() bool {
	return a.state.CompareAndSwap(askedOpen, askedWanted) || a.state.Load() == askedWanted
}

func (a *asked[T]) run(do func(wanted func() bool) (T, error)) {
	a.got, a.err = do(a.wanted)
	if a.wanted() {
		close(a.done)
		return
	}
	a.q.extras().stuck.Add(-1)
}

func (a *asked[T]) wait(givenUp <-chan struct{}) (got T, err error) {
	b := a.q.vhost.b
	stop := b.stop
	if givenUp == nil {
		stop = nil
	}
	timer := time.NewTimer(b.opts.ReadTimeout)
	defer timer.Stop()
	select {
	case <-a.done:
		return a.got, a.err
	case <-timer.C:
		err = a.q.unanswered()
	case <-givenUp:
		err = fail(Closed, "the connection is closing")
	case <-stop:
		err = fail(Closed, "the broker is stopping")
	}
	a.q.extras().stuck.Add(1)
	if !a.state.CompareAndSwap(askedOpen, askedGivenUp) {
		a.q.extras().stuck.Add(-1)
		<-a.done // any moment
		return a.got, a.err
	}
	return got, err
}

// unanswered is the error of what nobody waits for any longer.
func (q *Queue) unanswered() error {
	return fail(Timeout, "queue '%s' in vhost '%s' can't be read: the disk does not answer (waited %v)", q.Name, q.vhost.Name, q.vhost.b.opts.ReadTimeout)
}

// answers fails while somebody's wait for the queue's disk was in vain and is not over:
// one more would only wait, too.
func (q *Queue) answers() error {
	if x := q.extra.Load(); x != nil && x.stuck.Load() > 0 {
		return q.unanswered()
	}
	return nil
}

// open makes the queue's cursors, for which the disk may have to be read.
func (s *Session) open(q *Queue) error {
	if q.opened() {
		return nil
	}
	if err := q.answers(); err != nil {
		return err
	}
	_, err := inTime(q, s.givenUp, func(func() bool) (struct{}, error) {
		for _, p := range q.inTurn() {
			if _, err := p.work(); err != nil {
				return struct{}{}, err
			}
			if err := p.trimNow(true); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

// opened reports whether all of the queue's cursors are there.
func (q *Queue) opened() bool {
	for _, p := range q.inTurn() {
		if p.cursor.Load() == nil || p.trimNow(false) != nil {
			return false
		}
	}
	return true
}
