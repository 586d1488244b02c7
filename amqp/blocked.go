package amqp

import (
	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

// tellBlocked tells a client that publishes that the broker takes no messages, and why, before it hears what became
// of its publishes. It may go on and be refused each of them; its other methods are served as ever. Any goroutine.
func (c *conn) tellBlocked() {
	if !c.caps.blocked {
		return
	}
	c.outMu.Lock()
	defer c.outMu.Unlock()
	reason := c.s.opts.Broker.Alarm()
	if reason == "" || c.blocked || c.silent {
		return
	}
	c.blocked = true
	c.out = wire.AppendMethod(c.out, 0, &wire.ConnectionBlocked{Reason: wire.ShortText(reason)})
	c.signal()
}

// tellUnblocked tells a client that was told that it is over. Any goroutine.
func (c *conn) tellUnblocked() {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if !c.blocked || c.silent {
		return
	}
	c.blocked = false
	c.out = wire.AppendMethod(c.out, 0, &wire.ConnectionUnblocked{})
	c.signal()
}

// alarmChanged is called by the broker. Who hears of an alarm is up to each connection's next publish.
func (s *Server) alarmChanged(reason string) {
	if reason != "" {
		return
	}
	s.clients.Each(func(c broker.Client) { c.(*conn).tellUnblocked() })
}
