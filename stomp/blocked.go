package stomp

import "time"

// alarmPoll is how often one who waits for the end of an alarm looks for it.
const alarmPoll = 50 * time.Millisecond

// held says whether an alarm holds the read loop up before it stores messages. When the disk takes none, only those
// without a receipt wait, which their client would lose with nobody telling; those with one are refused. When memory is short all wait.
func (c *conn) held(plain bool) bool {
	disk, memory := c.s.opts.Broker.Alarms()
	return memory != "" || disk != "" && plain
}

// waitAlarm holds the read loop up while it is held. STOMP has no word for that: its client sees that its bytes are
// not taken. The wait ends with the alarm, the client or the broker.
func (c *conn) waitAlarm(plain bool) {
	if !c.held(plain) {
		return
	}
	gone := c.gone()
	poll := time.NewTicker(alarmPoll)
	defer poll.Stop()
	for c.held(plain) && !c.forced.Load() {
		select {
		case <-poll.C:
		case <-gone:
			return
		case <-c.writerDone:
			return
		}
	}
}

// gone is closed when the client is seen to have left; nil where that can't be seen.
func (c *conn) gone() <-chan struct{} {
	if w, ok := c.nc.(interface{ Gone() <-chan struct{} }); ok {
		return w.Gone()
	}
	return nil
}
