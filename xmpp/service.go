package xmpp

import "github.com/leveret-mq/leveret/xmpp/stanza"

// Service answers what clients send to an address one label below a domain, or to anybody at it. Its methods are
// called by the goroutine that reads the client's stream, so that what one client sends comes in order; of different
// clients they are called at a time.
type Service interface {
	// Label is that label: "pubsub" for pubsub.DOMAIN.
	Label() string
	// Open is called once, before all else.
	Open(s *Server)
	// Stanza takes an iq, a message or a presence of c; to is whom it is for. Of it and c all may be kept, and
	// nothing of it is changed later. Its attribute from is c's full address. To an iq of type get or set exactly one
	// of c.Reply and c.Refuse must come, now or later; a result or an error comes as well, and is not answered.
	// The error is that of a stanza that could not be served, a *stanza.Error or one of the broker's: it is sent in
	// answer, unless it is one of an iq result or an error.
	Stanza(c *Client, to stanza.JID, s *stanza.Element) error
	// Presence is called when c has become available, has changed its priority, and when it is not available any
	// more, its stream having ended or not.
	Presence(c *Client, available bool)
}

// A Service that has a method Gone(*Client) is told so, of each client, that it has ended for good.
