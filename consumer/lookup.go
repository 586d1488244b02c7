package consumer

import "github.com/leveret-mq/leveret/message"

// The log may have to be read to know which offset comes next, or how many there
// are. That is done outside the mutex, and the answer handed in afterwards:
//
//	mutex   ──┐ what is asked              ┌── what of the answer still holds
//	source    └──── Next, Records (disk) ──┘
//
// Meanwhile everything else goes on: acks, returns, other consumers, a purge,
// retention. next moves forward only, so an answer can be overtaken, but never
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
// there is none: whoever asks wakes the others with the answer.
func (c *Cursor) ready() bool {
	return c.dealable() || c.looking == 0 && c.unknown()
}

// lookUp asks the source for the run at next. The mutex is released for it, and w
// fired: what was dealt does not wait for the disk.
func (c *Cursor) lookUp(w *wakes) {
	l := lookup{from: c.next, end: c.end}
	c.looking++
	c.mu.Unlock()
	w.fire()
	l.first, l.last, l.ok, l.err = c.src.Next(l.from)
	c.mu.Lock()
	c.looking--
	c.look()
	c.learn(l)
}

// learn takes over what an answer says about the offsets from next on.
func (c *Cursor) learn(l lookup) {
	switch {
	case c.known(): // another has asked too
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

// countFresh counts up to where the log ends now. Most of the way it was counted
// before, or lies in the run that the cursor stands in; for the rest the mutex is
// released. What is dealt meanwhile is known and taken off; when messages were
// passed over uncounted, the source is asked again.
func (c *Cursor) countFresh() int64 {
	for {
		if c.runOK && c.run.First <= c.counted && c.counted <= c.run.Last {
			c.fresh += int64(c.run.Last-c.counted) + 1
			c.counted = c.run.Last + 1
		}
		if c.counted >= c.end {
			return c.fresh
		}
		from, end, all, skips := c.counted, c.end, c.fresh+c.dealtN, c.skips
		c.mu.Unlock()
		n := c.src.Records(from, end)
		c.mu.Lock()
		c.look()
		if c.skips != skips {
			continue
		}
		if c.counted < end {
			c.counted, c.fresh = end, all+n-c.dealtN
		}
		return c.fresh
	}
}
