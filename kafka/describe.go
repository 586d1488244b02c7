package kafka

import "github.com/leveret-mq/leveret/broker"

// maxAboutBytes bounds what is kept of each thing that a client says of itself.
const maxAboutBytes = 255

// about is what a client says of itself. It does not change.
type about struct{ client, software, version string }

func clip(s string) string { return s[:min(len(s), maxAboutBytes)] }

// introduce keeps the client id of a request that has another than the last.
func (c *conn) introduce(id string) {
	c.client = id
	a := c.said()
	a.client = id
	c.about.Store(&a)
	if c.session != nil {
		c.session.SetClientID(id)
	}
}

// introduceSoftware keeps what a client is made with.
func (c *conn) introduceSoftware(name, version string) {
	a := c.said()
	a.software, a.version = clip(name), clip(version)
	c.about.Store(&a)
}

// said is a copy of what the client has said by now.
func (c *conn) said() about {
	if a := c.about.Load(); a != nil {
		return *a
	}
	return about{}
}

// Describe implements broker.Client.
func (c *conn) Describe(i *broker.ConnectionInfo) {
	a := c.said()
	i.Name = a.client
	if a.software != "" {
		i.Properties = []broker.Property{{Name: "software", Value: a.software}, {Name: "version", Value: a.version}}
	}
	i.Traffic = broker.Traffic{
		BytesIn: c.frames.Bytes(), BytesOut: c.out.w.Bytes(),
		FramesIn: c.requests.Load(), FramesOut: c.out.answers.Load(),
	}
}

// Close implements broker.Client: the connection ends after the request that runs.
func (c *conn) Close(string) { c.frames.stop() }

// Evict implements broker.Client: Kafka has no words for it, so the socket is closed, whatever
// the client waits for.
func (c *conn) Evict(string) {
	_ = c.nc.Close()
	c.frames.stop()
}
