package consumer

import "github.com/leveret-mq/leveret/message"

// MessageState is where a message stands on its way through the queue.
type MessageState uint8

// The states.
const (
	Settled MessageState = iota // acked, or gone for another reason
	Ready                       // for the next consumer
	Unacked                     // a consumer holds it, or it lies in one's inbox
	Waiting                     // it came back and waits until it is ready again, or a copy is being made elsewhere
)

// StateOf is the state of the message at an offset, at this moment.
func (c *Cursor) StateOf(o message.Offset) MessageState {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case o >= c.next:
		return Ready
	case c.open.size(o, o) == 0:
		return Settled
	case c.back.size(o, o) > 0:
		return Ready
	case c.holding.size(o, o) > 0 || c.waits(o, o) > 0:
		return Waiting
	}
	return Unacked
}
