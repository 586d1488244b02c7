package stomp

import "time"

// farewellPatience is how long the read loop may take before the client is told to go without it.
const farewellPatience = 2 * time.Second

// Close implements broker.Client.
func (c *conn) Close(reason string) {
	c.Evict("broker forced connection closure with reason '" + reason + "'")
}

// Evict implements broker.Client. What was read is stored and its receipts sent before the ERROR. The read loop does
// that; where it hangs on a disk the client is told without it.
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
	time.AfterFunc(farewellPatience, c.farewell)
}

// part is the read loop's part of Evict.
func (c *conn) part() {
	c.awaitReceipts(receiptPatience)
	c.farewell()
}

// farewell tells the client to go, unless it has heard its last word.
func (c *conn) farewell() { c.lastFrame(fail("connection_forced", "%s", *c.reason.Load())) }
