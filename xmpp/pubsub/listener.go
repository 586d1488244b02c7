package pubsub

import (
	"github.com/leveret-mq/leveret/xmpp"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Service is one of the listener's, and its clients are Peers.
var (
	_ xmpp.Service = (*Service)(nil)
	_ Peer         = (*xmpp.Client)(nil)
)

// Label implements xmpp.Service.
func (s *Service) Label() string { return Label }

// Open implements xmpp.Service.
func (s *Service) Open(*xmpp.Server) {}

// Presence implements xmpp.Service.
func (s *Service) Presence(c *xmpp.Client, available bool) {
	if priority, _ := c.Available(); priority < 0 {
		available = false // messages to the account are not for it
	}
	s.Join(c, available)
}

// Gone implements xmpp.Service.
func (s *Service) Gone(c *xmpp.Client) { s.Leave(c) }

// Stanza implements xmpp.Service.
func (s *Service) Stanza(c *xmpp.Client, to stanza.JID, e *stanza.Element) error {
	if to.Local != "" || to.Resource != "" {
		return stanza.Fail("item-not-found", "nobody is at "+clip(to.String())+"; nodes are named in the request")
	}
	kind := e.Attr("type")
	switch e.Local {
	case "iq":
		if kind != "get" && kind != "set" {
			return nil
		}
		if c.Set(joinedKey{}, true) == nil { // a subscription to its full address reaches it without presence
			priority, ok := c.Available()
			s.Join(c, ok && priority >= 0)
		}
		return s.Answer(c, e)
	case "message":
		if e.Child(nsReceipts, "received") == nil && kind != "error" {
			return stanza.Fail("service-unavailable", "publish by an iq, as XEP-0060 says")
		}
		s.Receipt(c, e)
	}
	return nil
}

// joinedKey is what Client.Set keeps that the client is known by.
type joinedKey struct{}
