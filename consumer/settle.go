package consumer

import (
	"fmt"

	"github.com/leveret-mq/leveret/message"
)

type offset = message.Offset

// settling is what becomes of a message that was handed out.
type settling uint8

const (
	acked    settling = iota // done with
	requeued                 // ready again, in its place, one return more
	unseen                   // ready again as if it had never been taken
	onHold                   // see HoldReady
	later                    // see RequeueLater
)

// Ack settles the messages first..last, all of which this consumer took and did
// not settle. Otherwise the error wraps ErrNotHeld and nothing changed. It may be
// called after Cancel. One call for a run costs the same as for one message.
func (k *Consumer) Ack(first, last message.Offset) error {
	return k.settle([]Run{{First: first, Last: last}}, acked)
}

// Requeue makes messages ready again in their place, marked redelivered and with
// one more return counted. Errors are Ack's.
func (k *Consumer) Requeue(first, last message.Offset) error {
	return k.settle([]Run{{First: first, Last: last}}, requeued)
}

// ReturnRuns gives messages back that the caller took but never sent anywhere:
// ready again in their place, with the redelivered flag they had. It stops at the first run that is
// not held; what went before counts.
func (k *Consumer) ReturnRuns(runs []Run) error { return k.settle(runs, unseen) }

func (k *Consumer) settle(runs []Run, how settling) (err error) {
	c := k.cursor
	var w wakes
	var freed int64
	var drained bool
	c.mu.Lock()
	for i := range runs {
		if err = k.settleRun(runs[i], how); err != nil {
			break
		}
		freed += runs[i].Len()
	}
	if freed > 0 {
		k.held -= freed
		drained = k.opts.Drained != nil && k.closed && k.held == 0
		if k.level != nil {
			k.place()
		}
		if c.hungry.Load() > 0 {
			c.look()
			c.kick(&w)
		}
	}
	c.mu.Unlock()
	k.freeShared(freed)
	w.fire()
	if drained {
		k.opts.Drained()
	}
	return err
}

func (k *Consumer) settleRun(r Run, how settling) error {
	c := k.cursor
	if n := r.Len(); n <= 0 || n > k.held-k.heldInBox() || !c.holds(r) {
		return fmt.Errorf("settle messages %d to %d: %w", r.First, r.Last, ErrNotHeld)
	}
	switch how {
	case requeued:
		c.returned.add(r.First, r.Last)
		c.back.add(r.First, r.Last)
	case unseen:
		c.back.add(r.First, r.Last)
	case onHold:
		c.holding.add(r.First, r.Last)
	case later:
		c.returned.add(r.First, r.Last)
		c.delay(r.First, r.Last)
	default:
		c.forget(r.First, r.Last)
	}
	return nil
}

// heldInBox is the part of held that was not taken yet.
func (k *Consumer) heldInBox() int64 {
	if k.opts.NoAck {
		return 0
	}
	return k.boxed
}

// holds says if every message of the run is out and unacked.
func (c *Cursor) holds(r Run) bool {
	return c.open.size(r.First, r.Last) == r.Len() &&
		c.back.size(r.First, r.Last) == 0 &&
		(c.holding.count == 0 || c.holding.size(r.First, r.Last) == 0) &&
		c.waits(r.First, r.Last) == 0 &&
		c.dealt.size(r.First, r.Last) == 0
}
