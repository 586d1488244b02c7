package amqp

import (
	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
)

// held says whether an alarm holds the read loop up before it stores publishes. When the disk takes none, only those
// without confirms wait: their client would hear of a refusal by the loss of its connection only, and has nothing to
// send them again by; with confirms each is refused by itself instead. When memory is short, all wait, as on RabbitMQ.
func (c *conn) held(plain bool) bool {
	disk, memory := c.s.opts.Broker.Alarms()
	return memory != "" || disk != "" && plain
}

// waitAlarm holds the read loop up while it is held. The wait ends with the alarm, the client or the broker.
func (c *conn) waitAlarm(plain bool) {
	netx.Hold(c.nc, c.writerDone, 0, func() bool { return c.held(plain) && !c.forced.Load() })
	c.tellUnblocked() // before the answers to what has waited, whoever notices first
}

// tellBlocked tells a client that publishes that the broker takes no messages, and why, before it hears what became
// of its publishes. It may go on: see waitAlarm. Its other methods are served as ever. Any goroutine.
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
	if !c.blocked || c.silent || c.s.opts.Broker.Alarm() != "" {
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
