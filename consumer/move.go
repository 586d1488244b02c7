package consumer

import (
	"errors"

	"github.com/leveret-mq/leveret/message"
)

// ErrHeld says that consumers hold messages, or that copies are made of some, so that the cursor can't go back.
var ErrHeld = errors.New("messages of the queue are held by consumers")

// SkipTo drops the messages below an offset that are ready, and says how many. What consumers hold or were dealt stays theirs.
// The call may wait for the source; an error is the source's.
func (c *Cursor) SkipTo(to message.Offset) (n int64, err error) {
	var w wakes
	c.mu.Lock()
	c.err = nil // try again
	c.look()
	for {
		first, last, ok := c.back.run(0, 1<<62)
		if !ok || first >= to {
			break
		}
		last = min(last, to-1)
		n += c.back.remove(first, last)
		c.forget(first, last)
	}
	for c.next < to {
		if !c.known() {
			if !c.unknown() {
				break
			}
			c.lookUp(&w, true)
			continue
		}
		r := Run{First: c.next, Last: min(c.run.Last, to-1)}
		c.step(r, false)
		n += r.Len()
	}
	err = c.err
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
	return n, err
}

// Rewind makes all messages from an offset on ready again, settled or not, as if none had come back before; what is below it is
// settled. It is for logs that keep what is settled. ErrHeld while somebody holds one.
func (c *Cursor) Rewind(to message.Offset) error {
	var w wakes
	c.mu.Lock()
	if c.open.count != c.back.count {
		c.mu.Unlock()
		return ErrHeld
	}
	for {
		first, last, ok := c.back.run(0, 1<<62)
		if !ok {
			break
		}
		c.back.remove(first, last)
		c.forget(first, last)
	}
	start, end := c.src.Bounds()
	c.end = end
	c.old = max(c.old, c.handed) // who had them before may have worked on them
	c.next, c.runOK = min(max(to, start), end), false
	c.counted, c.fresh = c.next, 0
	c.skips++
	c.err = nil
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
	return nil
}
