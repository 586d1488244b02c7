package consumer

import "github.com/leveret-mq/leveret/message"

// Floor is the offset below which everything is acked.
func (c *Cursor) Floor() message.Offset {
	floor, _ := c.Progress()
	return floor
}

// Returned is how often the message was requeued after it had been handed out.
func (c *Cursor) Returned(o message.Offset) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.returned.count(o)
}

// Consumers is how many consumers there are.
func (c *Cursor) Consumers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.consumers
}

// AckRuns settles several runs under one lock. It stops at the first run that is
// not held, with that error.
func (k *Consumer) AckRuns(runs []Run) error { return k.settle(runs, acked) }

func (r *returns) count(o message.Offset) int {
	if !r.once.has(o) {
		return 0
	}
	n := 1
	for i := range r.digits {
		if r.digits[i].has(o) {
			n += 1 << i
		}
	}
	return n
}

func (s *set) has(o message.Offset) bool {
	if s.count == 0 {
		return false
	}
	i, ok := s.find(int64(o) >> pageShift)
	if !ok {
		return false
	}
	bit := uint(o & (pageBits - 1))
	return s.all[i].bits == nil || s.all[i].bits[bit>>6]>>(bit&63)&1 == 1
}
