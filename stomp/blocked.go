package stomp

import "github.com/leveret-mq/leveret/internal/netx"

// held says whether an alarm holds the read loop up before it stores messages. When the disk takes none, only those
// without a receipt wait, which their client would lose with nobody telling; those with one are refused. When memory is short all wait.
func (c *conn) held(plain bool) bool {
	disk, memory := c.s.opts.Broker.Alarms()
	return memory != "" || disk != "" && plain
}

// waitAlarm holds the read loop up while it is held. STOMP has no word for that: its client sees that its bytes are
// not taken. The wait ends with the alarm, the client or the broker.
func (c *conn) waitAlarm(plain bool) {
	netx.Hold(c.nc, c.writerDone, 0, func() bool { return c.held(plain) && !c.forced.Load() })
}
