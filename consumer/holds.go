package consumer

import "github.com/leveret-mq/leveret/message"

// Holds reports whether any message in [first, last] may still be delivered or
// settled: it is open, or was never dealt. Once it says no it stays no.
func (c *Cursor) Holds(first, last message.Offset) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return last >= c.next || c.open.size(first, last) > 0
}

// Open is how many messages below the fresh ones are not acked: unacked, in an
// inbox, or returned and ready again.
func (c *Cursor) Open() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open.count
}
