package consumer

import "github.com/leveret-mq/leveret/message"

// Other than by an ack, messages leave in two steps, so that a copy can be made
// elsewhere in between:
//
//	ready              ── HoldReady ──┐             ┌── Free ───► gone
//	                                  ├── on hold ──┤
//	held by a consumer ── Hold ───────┘             └── Unhold ─► ready, as before
//
// What is on hold is delivered to nobody and counts against nobody's prefetch, but
// is in the queue: the floor does not pass it, and a cursor that is opened anew
// after a crash has it ready.

// Head is the first run of messages that are ready, at most limit of them, which
// stay where they are. The call may wait for the source.
func (c *Cursor) Head(limit int64) (Run, bool) {
	r, ok, _ := c.head(limit, true)
	return r, ok
}

// HeadNow is Head without waiting; known is false when Head would have to.
func (c *Cursor) HeadNow(limit int64) (r Run, ok, known bool) { return c.head(limit, false) }

func (c *Cursor) head(limit int64, wait bool) (r Run, ok, known bool) {
	var w wakes
	c.mu.Lock()
	if known = c.lookUpHead(&w, wait); known {
		r, _, ok = c.peek(limit)
	}
	c.kick(&w) // who came while the source was asked waits for the answer
	c.mu.Unlock()
	w.fire()
	return r, ok, known
}

// HoldReady puts those of first..last that are still ready on hold, and appends them
// to into. They are all messages, as a run of Head is.
func (c *Cursor) HoldReady(first, last message.Offset, into []Run) []Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	for {
		f, l, ok := c.back.run(first, int64(last-first)+1)
		if !ok || f > last {
			break
		}
		l = min(l, last)
		c.back.remove(f, l)
		c.holding.add(f, l)
		into = append(into, Run{First: f, Last: l})
	}
	for c.known() && first <= c.next && c.next <= last {
		r := Run{First: c.next, Last: min(c.run.Last, last)}
		c.step(r, false)
		c.open.add(r.First, r.Last)
		c.holding.add(r.First, r.Last)
		into = append(into, r)
	}
	return into
}

// Hold puts the messages first..last, all of which this consumer took and did not
// settle, on hold. Errors are Ack's.
func (k *Consumer) Hold(first, last message.Offset) error {
	return k.settle([]Run{{First: first, Last: last}}, onHold)
}

// Free ends messages that are on hold: they are gone.
func (c *Cursor) Free(first, last message.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding.remove(first, last)
	c.forget(first, last)
}

// Unhold makes messages that are on hold ready again, in their places.
func (c *Cursor) Unhold(first, last message.Offset) {
	var w wakes
	c.mu.Lock()
	c.holding.remove(first, last)
	c.back.add(first, last)
	c.look()
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
}

// Lost is how many messages were ready and went with the log's start, since the last
// call. It costs an atomic load when there are none.
func (c *Cursor) Lost() int64 {
	if c.lost.Load() == 0 {
		return 0
	}
	return c.lost.Swap(0)
}

// loseFresh counts the fresh messages below start, from which on the log can be
// read. Offsets that were never looked at are taken for messages.
func (c *Cursor) loseFresh(start message.Offset) {
	if c.counted < start {
		c.lost.Add(c.fresh + int64(start-c.counted))
	} else {
		c.lost.Add(min(c.fresh, int64(start-c.next)))
	}
}

// Spent are those of first..last that were returned limit times already: with one
// return more they are over it.
func (c *Cursor) Spent(first, last message.Offset, limit int, into []Run) []Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	for first <= last {
		n, end := c.returned.same(first, last)
		if n >= limit {
			into = append(into, Run{First: first, Last: end})
		}
		first = end + 1
	}
	return into
}

// HoldOnly puts the message at an offset on hold if it is ready, whatever is ready before it, which stays so. It may wait
// for the source.
func (c *Cursor) HoldOnly(o message.Offset) bool {
	var w wakes
	c.mu.Lock()
	c.err = nil // try again
	c.look()
	for c.next <= o {
		if !c.known() {
			if !c.unknown() {
				break
			}
			c.lookUp(&w, true)
			continue
		}
		r := Run{First: c.next, Last: min(c.run.Last, o)}
		c.step(r, false)
		c.open.add(r.First, r.Last)
		c.back.add(r.First, r.Last)
	}
	ready := c.back.size(o, o) > 0
	if ready {
		c.back.remove(o, o)
		c.holding.add(o, o)
	}
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
	return ready
}
