package xmpp

import (
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Describe implements broker.Client. A connection is one channel.
func (c *conn) Describe(i *broker.ConnectionInfo) {
	l := c.link.Load()
	i.Traffic = broker.Traffic{BytesIn: l.rb.Bytes(), BytesOut: l.out.Bytes(), FramesIn: c.stanzas.Load(), FramesOut: c.written.Load()}
	k := c.client.Load()
	if k == nil {
		return
	}
	i.Name = k.full
	i.Properties = []broker.Property{{Name: "domain", Value: k.domain.name}, {Name: "resource", Value: k.jid.Resource}}
	one := broker.ChannelInfo{Number: 1, Published: c.feed.published.Load()}
	k.mu.Lock()
	if k.conn == c {
		one.Consumers, one.Delivered = len(k.consumers), k.delivered
		for q := range k.consumers {
			one.Unacked += q.unacked.Len()
		}
	}
	k.mu.Unlock()
	i.Channels = append(i.Channels, one)
}

// Close implements broker.Client.
func (c *conn) Close(reason string) { c.sendAway("system-shutdown", reason) }

// Evict implements broker.Client.
func (c *conn) Evict(reason string) { c.sendAway("not-authorized", reason) }

// sendAway ends the stream with an error. What was read is dealt with, unless that hangs on a disk.
func (c *conn) sendAway(condition, reason string) {
	c.forced.Store(true)
	if !c.running.Load() {
		c.close()
		return
	}
	c.session.GiveUp()
	c.memory.Close() // who waits for memory does no longer
	c.lastWord(appendStreamError(nil, &stanza.StreamError{Condition: condition, Text: reason}, ""))
	_ = c.rb().Until(time.Now()) // the read loop looks up
}

// isSentAway tells whether the stream ends by somebody else's word.
func (c *conn) isSentAway() bool { return c.forced.Load() || c.replaced.Load() || c.told.Load() }

// rate is how many stanzas a client sends.
type rate struct {
	since time.Time
	n     int
}

// came notes a stanza, and says how long to read no more when there may be limit of them a second; 0 is any number.
func (r *rate) came(limit int, now time.Time) time.Duration {
	if limit == 0 {
		return 0
	}
	passed := now.Sub(r.since)
	if passed >= time.Second {
		r.since, r.n, passed = now, 0, 0
	}
	if r.n++; r.n <= limit {
		return 0
	}
	r.n = 0
	r.since = now.Add(time.Second - passed)
	return time.Second - passed
}

// pace holds the read loop up while the client is over the byte rates of its user or its virtual host.
func (c *conn) pace(n int) {
	if c.session == nil {
		return
	}
	p := c.session.Pacer()
	if p == nil {
		return
	}
	if wait := c.feed.inflow.Read(p, n, len(c.rb().Unread()) > n, c.rb().Now()); wait > 0 {
		netx.Hold(c.nc(), c.writerDone, wait, func() bool { return c.session.Pacer() == p && !c.isSentAway() })
	}
}
