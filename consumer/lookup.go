package consumer

import (
	"errors"

	"github.com/leveret-mq/leveret/message"
)

// The log may have to be read to know which offset comes next, or how many there
// are. That is done outside the mutex, and the answer handed in afterwards:
//
//	mutex   ──┐ what is asked              ┌── what of the answer still holds
//	source    └──── Next, Records (disk) ──┘
//
// Meanwhile everything else goes on: acks, returns, other consumers, a purge,
// retention. A consumer does not wait for it either: what the source would have to
// wait for is asked of it later (Source.Later), and consumers are woken with the
// answer. Only who asks for one message or a count waits. next moves forward only, so an answer can be overtaken, but never
// gets wrong for what lies ahead of next.

// lookup is a question for the run at an offset, and its answer.
type lookup struct {
	from, end   message.Offset // asked of a log that ended there
	first, last message.Offset
	ok          bool
	err         error
}

// known reports whether next stands in a run.
func (c *Cursor) known() bool { return c.runOK && c.next <= c.run.Last }

// dealable reports whether there is a message that can be dealt now.
func (c *Cursor) dealable() bool { return c.back.count > 0 || c.known() }

// unknown reports whether the source must be asked for what is at next; a log that
// failed is asked again when it grows or someone takes.
func (c *Cursor) unknown() bool { return !c.known() && c.next < c.end && c.err == nil }

// ready says if there may be a message for someone; gaps at the log's end look
// like messages until someone steps over them. While the source is being asked
// there is none: whoever asks wakes the others with the answer. A failure that
// nobody has heard of is for someone, too.
func (c *Cursor) ready() bool {
	return c.dealable() || c.untold || c.looking == 0 && c.unknown()
}

// lookUp asks the source for the run at next. The mutex is released for it, and w
// fired: what was dealt does not wait for the disk. It is false when the source may
// not wait and would have to.
func (c *Cursor) lookUp(w *wakes, wait bool) bool {
	l := lookup{from: c.next, end: c.end}
	c.looking++
	c.mu.Unlock()
	w.fire()
	l.first, l.last, l.ok, l.err = c.src.Next(l.from, wait)
	c.mu.Lock()
	c.looking--
	c.look()
	if !wait && errors.Is(l.err, ErrWait) {
		return false
	}
	c.learn(l)
	return true
}

// lookUpHead asks until it is known whether there is a message that can be dealt.
func (c *Cursor) lookUpHead(w *wakes, wait bool) (known bool) {
	c.look()
	for !c.dealable() && c.unknown() {
		if !c.lookUp(w, wait) {
			return false
		}
	}
	return true
}

// askLater has the source asked behind everybody's back, unless it is being asked.
func (c *Cursor) askLater() {
	if c.looking == 0 && c.unknown() {
		c.looking++
		c.src.Later(c.ask)
	}
}

// ask waits for the source, and wakes a consumer with the answer: all of those that are
// of several ranks, since each left what is ready at lower ones.
func (c *Cursor) ask() {
	var w wakes
	c.mu.Lock()
	c.looking-- // lookUp counts it
	if c.unknown() {
		c.lookUp(&w, true)
		c.untold = c.err != nil
	}
	c.kick(&w)
	for _, l := range c.levels {
		for l.waits.len > 0 && l.waits.head.opts.Ranked {
			w.add(l.waits.head)
		}
	}
	c.mu.Unlock()
	w.fire()
}

// learn takes over what an answer says about the offsets from next on.
func (c *Cursor) learn(l lookup) {
	switch {
	case c.known(): // another has asked too
	case l.from > c.next: // the cursor went back meanwhile
	case l.err != nil:
		c.err = l.err
	case !l.ok:
		c.skipTo(l.end) // nothing but a gap, as far as the log went then
	case l.last >= c.next:
		c.advance(max(l.first, c.next))
		c.run, c.runOK = Run{First: l.first, Last: l.last}, true
	}
}

// advance moves next over a gap, in which there is nothing to count.
func (c *Cursor) advance(to message.Offset) {
	c.next = to
	if to >= c.counted {
		c.counted, c.fresh = to, 0
	}
}

// Recount has what is ahead looked up and counted anew, since messages of the log went that nobody acked.
func (c *Cursor) Recount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skips++
	c.runOK = false
	c.counted, c.fresh = c.next, 0
}

// countFresh counts up to where the log ends now. Most of the way it was counted
// before, or lies in the run that the cursor stands in; for the rest the mutex is
// released. What is dealt meanwhile is known and taken off; when messages were
// passed over uncounted, the source is asked again.
// exact is false when that may not be waited for and would have to.
func (c *Cursor) countFresh(wait bool) (n int64, exact bool) {
	for {
		if c.runOK && c.run.First <= c.counted && c.counted <= c.run.Last {
			c.fresh += int64(c.run.Last-c.counted) + 1
			c.counted = c.run.Last + 1
		}
		if c.counted >= c.end {
			return c.fresh, true
		}
		from, end, all, skips := c.counted, c.end, c.fresh+c.dealtN, c.skips
		c.mu.Unlock()
		n, exact := c.src.Records(from, end, wait)
		c.mu.Lock()
		c.look()
		switch {
		case c.skips != skips:
			continue
		case !exact && !wait:
			return max(0, all+n-c.dealtN), c.counted >= c.end
		case c.counted < end:
			c.counted, c.fresh = end, all+n-c.dealtN
		}
		return c.fresh, true
	}
}
