package amqp

import (
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
)

// rest holds the read loop up for a while. That ends with the rates, the client or the broker.
func (c *conn) rest(p *broker.Pacer, wait time.Duration) {
	if wait > 0 {
		netx.Hold(c.nc, c.writerDone, wait, func() bool { return c.session.Pacer() == p && !c.forced.Load() })
	}
}
