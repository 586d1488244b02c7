package consumer

import (
	"container/heap"
	"slices"

	"github.com/leveret-mq/leveret/message"
)

// What is returned may have to wait before it is ready again:
//
//	held by a consumer ── RequeueLater ──► waits ── RetryDue, when it is time ──► ready, in its place
//
// What waits is in the queue and delivered to nobody: the floor does not pass it, and a
// cursor that is opened anew has it ready. There is no timer: the caller asks RetryDue in time,
// and tells what time it is by a clock of its own.
//
// retries are those of a cursor: a bit for each message that waits, and 16 bytes for each run
// of messages that are due together. Times are rounded up, by a thousandth of the wait at most,
// so that there are not more of them than that for any wait.
//
//	waiting   ··▓▓▓···▓▓··▓····
//	dues      1000 ms ─► {2..4} {9..9}
//	(a heap)  1008 ms ─► {7..8}
type retries struct {
	waiting set // subset of open, in no other set
	dues    dueHeap
	at      map[int64]*due
}

// due is what is ready again at a time. Runs may hold what was purged since.
type due struct {
	at   int64
	runs []span
}

type span struct{ first, last message.Offset }

// retryStep is what times are rounded up to: a thousandth of the wait, as a power of two.
func retryStep(wait int64) int64 {
	step := int64(1)
	for step <= wait>>11 {
		step <<= 1
	}
	return step
}

// RequeueLater is Requeue for messages that are ready again only when a time has passed since
// now; after says how long for one that was returned that often. next is when the first of all
// that wait is due. Errors are Ack's.
func (k *Consumer) RequeueLater(first, last message.Offset, now int64, after func(returns int) int64) (next int64, err error) {
	if err := k.settle([]Run{{First: first, Last: last}}, later); err != nil {
		return 0, err
	}
	c := k.cursor
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retries == nil {
		return now, nil // purged meanwhile
	}
	for first <= last {
		n, end := c.returned.same(first, last)
		wait := after(n)
		step := retryStep(wait)
		c.retries.add((now+wait+step-1)/step*step, span{first, end})
		first = end + 1
	}
	return c.retries.dues[0].at, nil
}

// delay has messages wait, still without a time.
func (c *Cursor) delay(first, last message.Offset) {
	if c.retries == nil {
		c.retries = &retries{waiting: set{pages: &c.pages, touched: c.back.touched}, at: map[int64]*due{}}
	}
	c.retries.waiting.add(first, last)
}

func (r *retries) add(at int64, s span) {
	d := r.at[at]
	if d == nil {
		d = &due{at: at}
		r.at[at] = d
		heap.Push(&r.dues, d)
	}
	d.add(s)
}

// add puts a run behind the others. Where memory would grow for it, neighbours become one first;
// it grows all the same where few are, or they would be sorted for each that comes.
func (d *due) add(s span) {
	if n := len(d.runs); n > 0 {
		switch l := &d.runs[n-1]; {
		case l.last+1 == s.first:
			l.last = s.last
			return
		case s.last+1 == l.first:
			l.first = s.first
			return
		}
	}
	if n := len(d.runs); n == cap(d.runs) && n >= 64 {
		if d.join(); len(d.runs) > n/2 {
			d.runs = slices.Grow(d.runs, n)
		}
	}
	d.runs = append(d.runs, s)
}

// join makes one run of those that meet.
func (d *due) join() {
	slices.SortFunc(d.runs, func(a, b span) int { return int(a.first - b.first) })
	kept := d.runs[:1]
	for _, s := range d.runs[1:] {
		if l := &kept[len(kept)-1]; l.last+1 >= s.first {
			l.last = max(l.last, s.last)
		} else {
			kept = append(kept, s)
		}
	}
	d.runs = kept
}

// retryTurn is how many runs are made ready at a time.
const retryTurn = 4096

// RetryDue makes ready what is due, and says when the next is, if there is one. Much is done
// in turns, of which each is as long as others wait for the cursor.
func (c *Cursor) RetryDue(now int64) (next int64, ok bool) {
	for {
		next, ok = c.retryTurn(now)
		if !ok || next > now {
			return next, ok
		}
	}
}

func (c *Cursor) retryTurn(now int64) (next int64, ok bool) {
	var w wakes
	c.mu.Lock()
	r := c.retries
	for n := 0; r != nil && n < retryTurn && len(r.dues) > 0 && r.dues[0].at <= now; {
		d := r.dues[0]
		last := len(d.runs) - 1
		if last < 0 {
			heap.Pop(&r.dues)
			delete(r.at, d.at)
			continue
		}
		n += c.retry(d.runs[last])
		d.runs = d.runs[:last]
	}
	if r != nil && len(r.dues) > 0 {
		next, ok = r.dues[0].at, true
	} else if r != nil && r.waiting.count == 0 {
		c.retries = nil
	}
	c.look()
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
	return next, ok
}

// retry makes those of a run ready that still wait, and says in how many pieces.
func (c *Cursor) retry(s span) (n int) {
	for {
		n++
		first, last, ok := c.retries.waiting.run(s.first, int64(s.last-s.first)+1)
		if !ok || first > s.last {
			return n
		}
		last = min(last, s.last)
		c.retries.waiting.remove(first, last)
		c.back.add(first, last)
		s.first = last + 1
		if s.first > s.last {
			return n
		}
	}
}

// waits says how many of first..last wait.
func (c *Cursor) waits(first, last message.Offset) int64 {
	if c.retries == nil {
		return 0
	}
	return c.retries.waiting.size(first, last)
}

// waitingCount is how many messages wait.
func (c *Cursor) waitingCount() int64 {
	if c.retries == nil {
		return 0
	}
	return c.retries.waiting.count
}

// purgeRetries ends all messages that wait, and says how many they were.
func (c *Cursor) purgeRetries() int64 {
	n := c.waitingCount()
	if n == 0 {
		return 0
	}
	for {
		first, last, ok := c.retries.waiting.run(0, 1<<62)
		if !ok {
			break
		}
		c.retries.waiting.remove(first, last)
		c.forget(first, last)
	}
	c.retries = nil
	return n
}

// Retrying is how many messages came back and wait for their time.
func (c *Cursor) Retrying() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waitingCount()
}

// dueHeap is for package container/heap: the first that is due is at its top.
type dueHeap []*due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a time at the end.
func (h *dueHeap) Push(d any) { *h = append(*h, d.(*due)) }

// Pop takes the last one.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
