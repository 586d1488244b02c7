package amqp

import (
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
)

// Times of a connection that the broker ends.
const (
	// confirmPatience is how long the confirms under way may take before the client is told
	// to go.
	confirmPatience = time.Second
	// confirmPoll is how often they are looked for.
	confirmPoll = 2 * time.Millisecond
	// farewellPatience is how long the client may take to answer.
	farewellPatience = time.Second
)

// Close implements broker.Client.
func (c *conn) Close(reason string) {
	c.Evict("broker forced connection closure with reason '" + reason + "'")
}

// Evict implements broker.Client. What was read is stored and confirmed before
// connection.close, behind which no client listens: one that publishes with confirms
// knows then of each of its messages whether it is there. The read loop does that; where
// it hangs on a disk the client is told without it.
func (c *conn) Evict(reason string) {
	c.reason.CompareAndSwap(nil, &reason)
	c.forced.Store(true)
	if !c.running.Load() {
		c.nc.Close()
		return
	}
	c.session.GiveUp()
	c.memory.Close()       // who waits for memory does no longer
	c.rb.Until(time.Now()) // the read loop looks up
	time.AfterFunc(confirmPatience, c.farewell)
}

// part is the read loop's part of Evict. From here on publishes with confirms are dropped.
func (c *conn) part() {
	if c.parting {
		return
	}
	c.parting = true
	for until := time.Now().Add(confirmPatience); c.unconfirmed() && time.Now().Before(until); {
		c.signal()
		time.Sleep(confirmPoll)
	}
	c.farewell()
}

// unconfirmed tells whether a publish still waits to be confirmed.
func (c *conn) unconfirmed() bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	c.out = c.appendConfirms(c.out)
	return c.confirms.Len() > 0
}

// farewell tells the client once to go, and bounds how long it may take.
func (c *conn) farewell() {
	if c.told.Swap(true) {
		return
	}
	c.send(0, &wire.ConnectionClose{ReplyCode: wire.ConnectionForced, ReplyText: wire.ReplyText(wire.ConnectionForced, *c.reason.Load())})
	c.rb.Until(time.Now().Add(farewellPatience))
}
