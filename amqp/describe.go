package amqp

import (
	"cmp"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

const (
	// maxAboutBytes bounds what is kept of a client's properties; clients send some 500 bytes.
	maxAboutBytes = 4 << 10
	// maxPropertyBytes bounds what is shown of one of them.
	maxPropertyBytes = 255
)

// about is what a client said of itself. It does not change.
type about struct {
	name       string
	properties wire.Table
}

// introduce keeps what a client says of itself when it logs in.
func (c *conn) introduce(properties wire.Table) {
	a := &about{}
	for _, key := range []string{"connection_name", "product"} {
		if f, ok := properties.Get(key); ok && f.Tag == 'S' && a.name == "" {
			a.name = clip(f.Value)
		}
	}
	if len(properties) <= maxAboutBytes {
		a.properties = slices.Clone(properties)
	}
	c.about.Store(a)
}

func clip(b []byte) string { return string(b[:min(len(b), maxPropertyBytes)]) }

// agreed is what the handshake came to. It does not change.
type agreed struct {
	mechanism            string
	channelMax, frameMax int
	heartbeat            time.Duration
}

// shown is what others are told of a channel, which its read loop changes.
type shown struct {
	confirms, transactional atomic.Bool
	prefetch, shared        atomic.Int32
	numbered, confirmed     atomic.Uint64 // the last publish that is to be confirmed, and that was
	heldBack                atomic.Int64  // publishes in the transaction
}

// unconfirmed is how many publishes wait to be confirmed.
func (s *shown) unconfirmed() int {
	confirmed := s.confirmed.Load() // first: it follows the other
	return int(s.numbered.Load() - confirmed)
}

// Describe implements broker.Client.
func (c *conn) Describe(i *broker.ConnectionInfo) {
	if a := c.about.Load(); a != nil {
		i.Name = a.name
		i.Properties = appendProperties(nil, "", a.properties)
	}
	i.Version = "0-9-1"
	if a := c.agreed.Load(); a != nil {
		i.Mechanism, i.ChannelMax, i.FrameMax, i.Heartbeat = a.mechanism, a.channelMax, a.frameMax, a.heartbeat
	}
	i.Traffic = broker.Traffic{
		BytesIn: c.rb.Bytes(), BytesOut: c.w.Net().Bytes(),
		FramesIn: c.framesRead.Load(), FramesOut: c.w.Written(),
	}
	var open []*channel
	c.outMu.Lock()
	c.channels.each(func(ch *channel) { open = append(open, ch) })
	c.outMu.Unlock()
	for _, ch := range open {
		i.Channels = append(i.Channels, ch.info())
	}
	slices.SortFunc(i.Channels, func(a, b broker.ChannelInfo) int { return cmp.Compare(a.Number, b.Number) })
}

func (ch *channel) info() broker.ChannelInfo {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	consumers := len(ch.consumers)
	if ch.replies != nil {
		consumers++
	}
	return broker.ChannelInfo{
		Number: int(ch.number), Consumers: consumers, Unacked: ch.unacked.Len(),
		Published: ch.published.Load(), Delivered: ch.unacked.Last(),
		Confirms: ch.shown.confirms.Load(), Transactional: ch.shown.transactional.Load(),
		Prefetch: int(ch.shown.prefetch.Load()), SharedPrefetch: int(ch.shown.shared.Load()),
		Unconfirmed: ch.shown.unconfirmed(), Uncommitted: int(ch.shown.heldBack.Load()), UncommittedAcks: ch.unacked.Proposals(),
	}
}

// appendProperties lists what can be written in a word; the fields of a table stand behind its name.
func appendProperties(out []broker.Property, prefix string, t wire.Table) []broker.Property {
	for {
		name, f, rest, ok := t.Next()
		if !ok {
			return out
		}
		t = rest
		key := prefix + clip(name)
		if inner, isTable := f.Table(); isTable && prefix == "" {
			out = appendProperties(out, key+".", inner)
			continue
		}
		value := ""
		if b, isBool := f.Bool(); isBool {
			value = strconv.FormatBool(b)
		} else if n, isInt := f.Int(); isInt {
			value = strconv.FormatInt(n, 10)
		} else if f.Tag == 'S' {
			value = clip(f.Value)
		} else {
			continue
		}
		out = append(out, broker.Property{Name: key, Value: value})
	}
}

// countPublished tells others how much came in on the channels that had something since the last time.
func (c *conn) countPublished() {
	for i, ch := range c.publishing {
		ch.published.Add(ch.uncounted)
		ch.uncounted = 0
		c.publishing[i] = nil
	}
	c.publishing = c.publishing[:0]
	c.framesRead.Store(c.frames)
}
