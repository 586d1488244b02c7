package stomp

import (
	"time"

	"github.com/leveret-mq/leveret/broker"
)

// What a user, or a virtual host, may send and get in a second (broker.Pacer) is held by not reading a
// connection that sends too much, and by not delivering to one that gets too much. Nobody else waits for it.

// paceReading holds the read loop up if it has published more than its rate allows. n bytes were read: they count
// with what they are a part of, and not if that is no publish.
func (c *conn) paceReading(p *broker.Pacer, n int) {
	c.unpaid += n
	switch {
	case c.fed:
		n, c.unpaid, c.fed = c.unpaid, 0, false
		c.rest(p, p.Came(n, c.rb.Now()))
	case len(c.rb.Unread()) == 0:
		c.unpaid = 0
	}
}

// rest holds the read loop up for a while. That ends with the rates, the client or the broker.
func (c *conn) rest(p *broker.Pacer, wait time.Duration) {
	if wait <= 0 {
		return
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	poll := time.NewTicker(alarmPoll)
	defer poll.Stop()
	gone := c.gone()
	for c.session.Pacer() == p && !c.forced.Load() {
		select {
		case <-poll.C:
		case <-over.C:
			return
		case <-gone:
			return
		case <-c.writerDone:
			return
		}
	}
}

// isLate says whether nothing may be delivered for now by a pacer, nil if there is none, and has the writer come back when it may.
func (w *writer) isLate(p *broker.Pacer) bool {
	wait := time.Duration(0)
	if p != nil {
		wait = p.Owed(time.Now())
	}
	if wait <= 0 {
		w.late.Store(false)
		return false
	}
	w.late.Store(true)
	w.passOn()
	if wait = min(wait, time.Second); w.again == nil { // the rates may change meanwhile
		w.again = time.AfterFunc(wait, w.c.signal)
	} else {
		w.again.Reset(wait)
	}
	return true
}

// busy says whether a delivery would have to wait for something else than its turn.
func (w *writer) busy() bool { return w.writing.Load() || w.late.Load() }
