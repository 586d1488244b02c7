package kafka

import (
	"math"
	"time"
)

// mutePoll is how often a connection that is not read looks whether it still must not be.
const mutePoll = 50 * time.Millisecond

// mute leaves a connection unread that went over the rates of its user or its virtual host, for
// the time that its answer says: as Kafka does it, the answer goes out at once, and clients that
// know of it ask nothing meanwhile. The wait ends early with the rates, the client or the server.
func (c *conn) mute(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	if err := c.out.send(); err != nil {
		return err
	}
	defer c.frames.Touch()
	pacer := c.session.Pacer()
	poll, over := time.NewTicker(mutePoll), time.NewTimer(wait)
	defer poll.Stop()
	defer over.Stop()
	for c.session.Pacer() == pacer {
		select {
		case <-poll.C:
		case <-over.C:
			return nil
		case <-c.frames.gone(): // who wants no answer may send and go
			return nil
		case <-c.s.stop:
			return nil
		}
	}
	return nil
}

// throttleMillis is a wait as answers say it, rounded up.
func throttleMillis(wait time.Duration) int32 {
	return int32(min((wait+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
}
