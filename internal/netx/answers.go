package netx

import "sync/atomic"

// Answers are the answers of one connection that may have to wait, for a flush of
// the disk mostly, and leave in the order in which they were asked for. They are
// used again, so that an answer costs no allocation. Whoever owns it guards it with
// a lock; only the functions that Answer.Wait returns are called without.
type Answers[T any] struct {
	wake   func()
	failed func(error)
	ring   []*Answer[T]
	head   int
	n      int
	free   []*Answer[T]
}

// Answer is one of them.
type Answer[T any] struct {
	Value   T
	q       *Answers[T]
	pending atomic.Int32
	refused atomic.Bool
	done    func(error) // bound once
}

// NewAnswers makes an empty queue. wake is called, on any goroutine, when an answer
// has nothing more to wait for; failed, which may be nil, when something that it
// waited for went wrong. Neither may block.
func NewAnswers[T any](wake func(), failed func(error)) *Answers[T] {
	return &Answers[T]{wake: wake, failed: failed}
}

// New is an answer that waits for nothing yet and is not in the queue. Its Value is
// as it was left.
func (q *Answers[T]) New() *Answer[T] {
	if n := len(q.free); n > 0 {
		a := q.free[n-1]
		q.free = q.free[:n-1]
		a.refused.Store(false) // not before: who made it may still ask
		return a
	}
	a := &Answer[T]{q: q}
	a.done = a.finish
	return a
}

// Wait has the answer wait for one thing more, until the function is called.
func (a *Answer[T]) Wait() func(error) {
	a.pending.Add(1)
	return a.done
}

func (a *Answer[T]) finish(err error) {
	if err != nil {
		a.refused.Store(true)
		if a.q.failed != nil {
			a.q.failed(err)
		}
	}
	q := a.q // the answer may be another's as soon as it waits for nothing
	if a.pending.Add(-1) == 0 {
		q.wake()
	}
}

// Ready says that it waits for nothing more.
func (a *Answer[T]) Ready() bool { return a.pending.Load() == 0 }

// Failed says that something that it waited for went wrong.
func (a *Answer[T]) Failed() bool { return a.refused.Load() }

// Len is how many are in the queue.
func (q *Answers[T]) Len() int { return q.n }

// Push puts an answer at the end of the queue.
func (q *Answers[T]) Push(a *Answer[T]) {
	if q.n == len(q.ring) {
		ring := make([]*Answer[T], max(8, 2*q.n))
		for i := range q.n {
			ring[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = a
	q.n++
}

// Next takes the oldest answer out of the queue; nil when it still waits, or there
// is none. Recycle must follow.
func (q *Answers[T]) Next() *Answer[T] {
	if q.n == 0 || !q.ring[q.head].Ready() {
		return nil
	}
	a := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return a
}

// Recycle gives an answer back that waits for nothing and is not in the queue. Whether
// it Failed can still be asked until the next New.
func (q *Answers[T]) Recycle(a *Answer[T]) {
	q.free = append(q.free, a)
}
