package kafka

import "time"

const (
	// maxHold is how long a produce waits at most while memory is short: five of them, which
	// clients send before the first is answered, within the time that they wait for an answer.
	maxHold = 2 * time.Second
	// holdPoll is how often one that waits looks whether it still must.
	holdPoll = 20 * time.Millisecond
)

// hold has a produce wait while the process has more memory than it should, as a broker delays
// those over their quota. Then it is stored: what it takes for good is in the log, and a
// producer that is refused may have nothing to send again. The wait ends early with the alarm,
// the client or the server.
func (c *conn) hold() error {
	if !c.memoryShort() {
		return nil
	}
	if err := c.out.send(); err != nil { // answers to what came before
		return err
	}
	defer c.frames.Touch()
	poll, end := time.NewTicker(holdPoll), time.NewTimer(maxHold)
	defer poll.Stop()
	defer end.Stop()
	for c.memoryShort() {
		select {
		case <-poll.C:
		case <-end.C:
			return nil
		case <-c.frames.gone(): // who wants no answer may send and go
			return nil
		case <-c.s.stop:
			return nil
		}
	}
	return nil
}

func (c *conn) memoryShort() bool {
	_, memory := c.s.broker.Alarms()
	return memory != ""
}
