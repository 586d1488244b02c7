package stomp

import (
	"slices"
	"time"

	"github.com/leveret-mq/leveret/stomp/frame"
)

const (
	// maxWaiting is how many reads' receipts may wait for the disk before the read loop stops reading.
	maxWaiting = 4096
	// receiptPatience is how long the receipts under way may take before an ERROR is sent.
	receiptPatience = time.Second
	// receiptPoll is how often they are looked for.
	receiptPoll = 2 * time.Millisecond
)

// receipts are some that leave together, in order. Their identifiers are copied: the slices are used again.
type receipts struct {
	ids   []byte // one behind the other
	marks []mark
}

// mark is one of them.
type mark struct {
	end     int  // of its identifier in ids
	refused bool // a queue had no room for the message
}

func (r *receipts) add(id []byte) {
	r.ids = append(r.ids, id...)
	r.marks = append(r.marks, mark{end: len(r.ids)})
}

func (r *receipts) reset() { r.ids, r.marks = r.ids[:0], r.marks[:0] }

// receipt answers a frame that is done, behind the receipts of those before it.
func (c *conn) receipt(id []byte) {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	c.out = c.appendReceipts(c.out)
	if c.waiting.Len() == 0 {
		if !c.lastWord {
			c.out = c.appendReceipt(c.out, id)
		}
	} else {
		answer := c.waiting.New()
		answer.Value.add(id)
		c.waiting.Push(answer)
	}
	c.signal()
}

func (c *conn) appendReceipt(buf, id []byte) []byte {
	at := len(buf)
	buf = frame.AppendHeader(append(buf, "RECEIPT\n"...), c.version, "receipt-id", id)
	return c.seal(frame.AppendEnd(append(buf, '\n')), at)
}

// unstored is called by the store, on any goroutine, when messages that receipts wait for could not be stored.
func (c *conn) unstored(err error) {
	c.outMu.Lock()
	c.storeErr = err
	c.outMu.Unlock()
	e := asFailure(err)
	c.log.Refused(frame.Send.String(), e, e.advice)
}

// appendReceipts appends the receipts that wait for nothing more. The first that can't be given becomes an ERROR,
// which is the last frame. conn.outMu is held.
func (c *conn) appendReceipts(buf []byte) []byte {
	for {
		answer := c.waiting.Next()
		if answer == nil {
			return buf
		}
		from := 0
		for _, m := range answer.Value.marks {
			id := answer.Value.ids[from:m.end]
			from = m.end
			switch {
			case c.lastWord:
			case m.refused || answer.Failed():
				buf = c.seal(c.notStored(id, m.refused).append(buf, c.version), len(buf))
				c.lastWord = true
				c.rb.Until(time.Now()) // the read loop looks up
			default:
				buf = c.appendReceipt(buf, id)
			}
		}
		answer.Value.reset()
		c.waiting.Recycle(answer)
	}
}

// receiptsDue puts the receipts that wait for nothing more into the outbox. The writer does so behind its deliveries:
// a client that gets its own message back, and goes when it has the receipt, has the message then.
func (c *conn) receiptsDue() bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	c.out = c.appendReceipts(c.out)
	return len(c.out) > 0
}

// notStored is what the client hears in the place of a receipt.
func (c *conn) notStored(id []byte, refused bool) *failure {
	e := fail("Message refused", "a queue has reached its maximum length, or has the message already")
	if !refused {
		e = fail("resource_error", "the message could not be stored")
		if c.storeErr != nil {
			e.detail += ": " + c.storeErr.Error()
		}
	}
	e.receipt = string(id)
	return e
}

// awaitReceipts waits until the receipts under way have left, as long as that may take.
func (c *conn) awaitReceipts(patience time.Duration) {
	for until := time.Now().Add(patience); c.owed() && time.Now().Before(until); {
		time.Sleep(receiptPoll)
	}
}

// owed tells whether a receipt still waits.
func (c *conn) owed() bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	c.out = c.appendReceipts(c.out)
	return c.waiting.Len() > 0
}

// markRefused notes which of the messages a queue has refused; refused is in order.
func (r *receipts) markRefused(refused []uint64) {
	for i := range r.marks {
		_, r.marks[i].refused = slices.BinarySearch(refused, uint64(i+1))
	}
}
