package stomp

import (
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// about is what a client said of itself. It does not change.
type about struct {
	name       string
	properties []broker.Property
}

// introduce keeps what a client says of itself when it signs in.
func (c *conn) introduce(f *frame.Frame) {
	a := &about{properties: []broker.Property{{Name: "version", Value: c.version.String()}}}
	for _, name := range []string{"client-id", "host", "heart-beat"} {
		if value, ok := f.Get(name); ok {
			a.properties = append(a.properties, broker.Property{Name: name, Value: clip(value)})
			if name == "client-id" {
				a.name = clip(value)
			}
		}
	}
	c.about.Store(a)
}

// Describe implements broker.Client. A connection is one channel.
func (c *conn) Describe(i *broker.ConnectionInfo) {
	if a := c.about.Load(); a != nil {
		i.Name, i.Properties = a.name, a.properties
	}
	i.Traffic = broker.Traffic{
		BytesIn: c.rb.Bytes(), BytesOut: c.w.Net().Bytes(),
		FramesIn: c.framesRead.Load(), FramesOut: c.w.Written(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	one := broker.ChannelInfo{Number: 1, Consumers: len(c.subs), Published: c.published.Load(), Delivered: c.w.Delivered()}
	for _, k := range c.byNumber {
		one.Unacked += k.unacked.Len()
	}
	i.Channels = append(i.Channels, one)
}
