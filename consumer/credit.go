package consumer

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// Credit is a limit on unacked messages that several consumers share, on one
// cursor or on many: AMQP's channel-wide qos. It is safe for concurrent use.
//
// Lock order: mu, then one cursor's mutex, then taking.
type Credit struct {
	outer   *Credit      // a further limit; nil: none
	taking  sync.Mutex   // with outer: nobody sees what is taken here and refused there
	limit   atomic.Int64 // 0: none
	used    atomic.Int64
	starved atomic.Bool // a consumer went without since the last release

	mu      sync.Mutex
	members list.List // of *Consumer, guarded by mu
}

// NewCredit makes a Credit; a limit of 0 or less is none.
func NewCredit(limit int) *Credit {
	c := new(Credit)
	c.limit.Store(int64(max(limit, 0)))
	return c
}

// Within makes a Credit of that limit whose messages count against c too. c may be
// nil, which is no limit.
func (c *Credit) Within(limit int) *Credit {
	inner := NewCredit(limit)
	inner.outer = c
	return inner
}

// SetLimit changes the limit. Messages that are out stay out.
func (c *Credit) SetLimit(limit int) {
	c.limit.Store(int64(max(limit, 0)))
	c.wakeStarved()
}

// short says whether there is none, here or around. Then the next release is going to
// wake the members.
func (c *Credit) short() bool {
	for ; c != nil; c = c.outer {
		if c.full() {
			c.starved.Store(true)
			if c.full() { // a release may have come before the mark
				return true
			}
		}
	}
	return false
}

func (c *Credit) full() bool {
	limit := c.limit.Load()
	return limit > 0 && c.used.Load() >= limit
}

// Limited says whether there is a limit. c may be nil, which is none.
func (c *Credit) Limited() bool { return c != nil && c.limit.Load() > 0 }

// Used is how many messages are out on this credit.
func (c *Credit) Used() int64 { return c.used.Load() }

// take reserves up to n and says how many. When it gives none, the next release
// is going to wake the members.
func (c *Credit) take(n int64) int64 {
	if c.outer == nil {
		return c.takeHere(n)
	}
	c.taking.Lock()
	defer c.taking.Unlock()
	here := c.takeHere(n)
	if here == 0 {
		return 0
	}
	got := c.outer.take(here)
	c.used.Add(got - here)
	return got
}

func (c *Credit) takeHere(n int64) int64 {
	if got := c.try(n); got > 0 {
		return got
	}
	c.starved.Store(true)
	return c.try(n) // a release may have come before the mark
}

func (c *Credit) try(n int64) int64 {
	for {
		limit, used := c.limit.Load(), c.used.Load()
		if limit > 0 {
			n = min(n, limit-used)
		}
		if n <= 0 {
			return 0
		}
		if c.used.CompareAndSwap(used, used+n) {
			return n
		}
	}
}

func (c *Credit) release(n int64) {
	c.used.Add(-n)
	if c.outer != nil {
		c.outer.release(n)
	}
}

// wakeStarved lets every member try again if one went without, those that took the most
// lately last. No cursor's mutex may be held.
func (c *Credit) wakeStarved() {
	if c.outer != nil {
		c.outer.wakeStarved()
	}
	if !c.starved.Load() || !c.starved.CompareAndSwap(true, false) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rotate()
	for e := c.members.Front(); e != nil; e = e.Next() {
		e.Value.(*Consumer).creditBack()
	}
}

// rotate puts who took something since the last time behind the others of its rank, so that
// credit for one message goes around. mu is held.
func (c *Credit) rotate() {
	for e := c.members.Front(); e != nil; {
		end, n := e, 0
		for end != nil && end.Value.(*Consumer).opts.Rank == e.Value.(*Consumer).opts.Rank {
			end = end.Next()
			n++
		}
		for ; n > 0; n-- {
			at := e
			e = e.Next()
			switch {
			case !at.Value.(*Consumer).took.Swap(false):
			case end != nil:
				c.members.MoveBefore(at, end)
			default:
				c.members.MoveToBack(at)
			}
		}
		e = end
	}
}

// join notes a consumer on the credit and on those around it. Its places there are
// kept with it, so that it leaves at the same cost however many there are.
func (c *Credit) join(k *Consumer) {
	for at := c; at != nil; at = at.outer {
		at.mu.Lock()
		k.seats = append(k.seats, at.seat(k))
		at.mu.Unlock()
	}
}

// seat puts a consumer among the members, behind those of its rank and higher: when credit
// comes back who is first at a lower one must not be served before a higher has its own. mu
// is held.
func (c *Credit) seat(k *Consumer) *list.Element {
	e := c.members.Back()
	for e != nil && e.Value.(*Consumer).opts.Rank < k.opts.Rank {
		e = e.Prev()
	}
	if e == nil {
		return c.members.PushFront(k)
	}
	return c.members.InsertAfter(k, e)
}

func (c *Credit) leave(k *Consumer) {
	for at := c; at != nil && len(k.seats) > 0; at = at.outer {
		at.mu.Lock()
		at.members.Remove(k.seats[0])
		at.mu.Unlock()
		k.seats = k.seats[1:]
	}
}
