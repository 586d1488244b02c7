package kafka

import (
	"math"
	"time"

	"github.com/leveret-mq/leveret/internal/netx"
)

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
	netx.Hold(c.nc, c.s.stop, wait, func() bool { return c.session.Pacer() == pacer }) // or who wants no answer sends and goes
	return nil
}

// throttleMillis is a wait as answers say it, rounded up.
func throttleMillis(wait time.Duration) int32 {
	return int32(min((wait+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
}
