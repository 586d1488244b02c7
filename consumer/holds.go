package consumer

import "github.com/leveret-mq/leveret/message"

// Holds reports whether any message in [first, last] may still be delivered or
// settled: it is open, or was never dealt. Once it says no it stays no.
func (c *Cursor) Holds(first, last message.Offset) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return last >= c.next || c.open.size(first, last) > 0
}

// Left is what is not acked: open messages below next, which are unacked, in an inbox,
// or returned and ready again, and all that are fresh, from next on.
func (c *Cursor) Left() (open int64, next message.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open.count, c.next
}

// Held is what a cursor held at a moment.
type Held struct {
	open set
	next offset
}

// Held is what Holds says now, for who asks later.
func (c *Cursor) Held() *Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Held{open: c.open.clone(), next: c.next}
}

// Holds reports whether any message in [first, last] could still be delivered or settled.
func (h *Held) Holds(first, last message.Offset) bool {
	return last >= h.next || h.open.size(first, last) > 0
}
