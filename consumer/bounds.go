package consumer

import "github.com/leveret-mq/leveret/message"

// What a queue whose length is limited asks of its cursor. Only what is ready counts, and a
// message for which a consumer is free is never ready: it is dealt before anybody counts.

const (
	// handoverLimit is how many messages beside those in its inbox a consumer that is free
	// is handed at once.
	handoverLimit = 8192
)

// DealOut deals to consumers that are free what is ready, as if it had been handed over when
// it came. It may wait for the source.
func (c *Cursor) DealOut() { c.dealOut(true) }

// DealOutNow is DealOut without waiting: it says whether it is done.
func (c *Cursor) DealOutNow() bool { return c.dealOut(false) }

func (c *Cursor) dealOut(wait bool) bool {
	var w wakes
	c.mu.Lock()
	c.err = nil // try again
	done := c.dealReady(&w, wait)
	c.mu.Unlock()
	w.fire()
	return done
}

func (c *Cursor) dealReady(w *wakes, wait bool) (done bool) {
	c.look()
	for {
		l := c.freeLevel()
		if l == nil {
			return true
		}
		if !c.dealable() {
			if !c.unknown() {
				return true
			}
			if !c.lookUp(w, wait) {
				return false
			}
			continue
		}
		k := l.turns.head
		d := dealing{c: c}
		if n := d.handOver(k, l); n > 0 {
			w.add(k)
		} else if k.inRing && !k.noShared {
			return true // nothing was there after all
		}
		if k.inRing && l.turns.head == k {
			l.turns.head = l.turns.next(k)
		}
	}
}

// freeLevel is the highest priority at which someone can take.
func (c *Cursor) freeLevel() *level {
	for _, l := range c.levels {
		if l.turns.len > 0 {
			return l
		}
	}
	return nil
}

// handOver deals k its share of what is ready.
func (d *dealing) handOver(k *Consumer, l *level) int64 {
	backlog := d.c.back.count + max(int64(d.c.end-d.c.next), 0)
	d.inbox = inboxLimit + handoverLimit
	return d.give(k, max(backlog/int64(l.turns.len), maxTurn))
}

// Appetite is how many messages more the consumers that are free would be dealt at once.
// It is 0 while anything is ready.
func (c *Cursor) Appetite() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back.count > 0 || c.next < c.end && c.known() {
		return 0
	}
	var shared []*Credit
	for _, l := range c.levels {
		for i, k := 0, l.turns.head; i < l.turns.len; i, k = i+1, l.turns.next(k) {
			room := min(k.room(), inboxLimit+handoverLimit-k.boxed)
			switch s := k.opts.Shared; {
			case s == nil:
			case k.opts.NoAck:
				if s.left() == 0 {
					room = 0
				}
			default:
				for _, seen := range shared {
					if seen == s {
						room = 0 // counted with another; who is asked next finds out what is left
					}
				}
				shared = append(shared, s)
				room = min(room, s.left())
			}
			n += room
		}
	}
	return n
}

// left is how many messages more may be out on the credit.
func (c *Credit) left() int64 {
	n := int64(1) << 40
	for at := c; at != nil; at = at.outer {
		if limit := at.limit.Load(); limit > 0 {
			n = min(n, max(limit-at.used.Load(), 0))
		}
	}
	return n
}

// HoldFirst puts the first n messages that are ready on hold, or as many as there are, and
// appends them to into. It may wait for the source.
func (c *Cursor) HoldFirst(n int64, into []Run) []Run {
	var w wakes
	c.mu.Lock()
	c.err = nil // try again
	c.look()
	for n > 0 {
		if !c.dealable() {
			if !c.unknown() {
				break
			}
			c.lookUp(&w, true)
			continue
		}
		r, back, ok := c.peek(n)
		if !ok {
			break
		}
		c.step(r, back)
		if !back {
			c.open.add(r.First, r.Last)
		}
		c.holding.add(r.First, r.Last)
		into = append(into, r)
		n -= r.Len()
	}
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
	return into
}

// Readiness is what of a log is ready at a moment, or waits to be again: everything in
// [Next, End), and of what lies before that the runs in Back. Pages are those pages of 4,096 offsets in which the
// latter changed since the last call.
type Readiness struct {
	Next, End message.Offset
	Pages     []int64
	Back      []Run // in Pages
}

// PageOf numbers the page of an offset.
func PageOf(o message.Offset) int64 { return int64(o) >> pageShift }

// PageStart is the first offset of a page.
func PageStart(page int64) message.Offset { return message.Offset(page << pageShift) }

// TrackReadiness has the next call of Readiness tell of all there is, and later ones of what
// changed.
func (c *Cursor) TrackReadiness() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back.touched = map[int64]struct{}{}
	c.back.trackIn(c.back.touched)
	if c.retries != nil {
		c.retries.waiting.trackIn(c.back.touched)
	}
}

// UntrackReadiness ends that.
func (c *Cursor) UntrackReadiness() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back.touched = nil
	if c.retries != nil {
		c.retries.waiting.touched = nil
	}
}

// Readiness tells what changed.
func (c *Cursor) Readiness(r *Readiness) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	r.Next, r.End, r.Pages, r.Back = c.next, c.end, r.Pages[:0], r.Back[:0]
	for no := range c.back.touched {
		r.Pages = append(r.Pages, no)
		r.Back = c.back.appendRuns(r.Back, PageStart(no), PageStart(no+1)-1)
		if c.retries != nil {
			r.Back = c.retries.waiting.appendRuns(r.Back, PageStart(no), PageStart(no+1)-1)
		}
	}
	clear(c.back.touched)
}

// trackIn has the pages in which the set changes noted, and those in which it has members now.
func (s *set) trackIn(touched map[int64]struct{}) {
	s.touched = touched
	for _, e := range s.all[s.head:] {
		touched[e.no] = struct{}{}
	}
}

// appendRuns appends the members in first..last.
func (s *set) appendRuns(to []Run, first, last message.Offset) []Run {
	for first <= last {
		f, l, ok := s.run(first, int64(last-first)+1)
		if !ok || f > last {
			break
		}
		l = min(l, last)
		to = append(to, Run{First: f, Last: l})
		first = l + 1
	}
	return to
}

// touch notes the pages in which a tracked set changes.
func (s *set) touch(first, last message.Offset) {
	for no := PageOf(first); no <= PageOf(last); no++ {
		s.touched[no] = struct{}{}
	}
}
