package xmpp

import (
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	// offlinePrefix is what the names of the queues of offline messages begin with; the user's name follows.
	offlinePrefix = "xmpp."
	// maxOffline and maxOfflineBytes are how many messages wait for one user, to whom anybody may send some.
	maxOffline      = 1000
	maxOfflineBytes = 16 << 20
)

// message is a message to a user of the domain (RFC 6121 section 8.5).
func (c *conn) message(k *Client, to stanza.JID, e *stanza.Element) error {
	kind := e.Attr("type")
	if to.Resource != "" {
		if other := c.s.registry.client(to); other != nil {
			if other.offerMessage(e) {
				return nil
			}
			if kind != "chat" {
				return errUnserved
			}
		}
	}
	user := stanza.Unescape(to.Local)
	if !c.s.opts.Users.Has(user) {
		if to.Resource != "" && c.toExchange(k, user, to.Resource, e) {
			return nil
		}
		return errUnserved
	}
	if to.Resource != "" {
		switch kind {
		case "chat":
		case "headline", "error":
			return nil
		default:
			return errUnserved
		}
	}
	switch kind {
	case "error":
		return nil
	case "groupchat":
		return errUnserved
	}
	sent := false
	for _, other := range c.s.Online(to) {
		sent = other.offerMessage(e) || sent
	}
	if sent || kind == "headline" {
		return nil
	}
	return c.s.storeOffline(k.domain, user, e)
}

// again keeps a message that was lost with a stream. Other clients of the user that are there get it from the queue at
// once, in order with what else was lost, and with the time of its first try.
func (s *Server) again(k *Client, e *stanza.Element) {
	if !s.opts.Users.Has(k.user) {
		return // and its messages go with it
	}
	if err := s.storeOffline(k.domain, k.user, e); err != nil {
		s.opts.Logger.Error("a message to a user who is gone could not be kept", "listener", "xmpp", "to", k.full, "error", err)
	}
}

// storeOffline puts a message into the queue of a user's offline messages. Anybody may send messages to a user, so it
// is the server that does it.
func (s *Server) storeOffline(d *domain, user string, e *stanza.Element) error {
	if !hasContent(e) {
		return nil // that somebody is writing is no news later
	}
	v, err := d.vhostOf()
	if err != nil {
		return errUnserved
	}
	session := v.NewInnerSession()
	defer session.Close()
	name := offlinePrefix + user
	if _, err := v.Queue(name); err != nil {
		args := field.AppendTableInt(nil, "x-max-length", maxOffline)
		args = field.AppendTableInt(args, "x-max-length-bytes", maxOfflineBytes)
		args = field.AppendTableString(args, "x-overflow", "reject-publish")
		if _, err := session.DeclareQueue(name, broker.QueueOptions{Durable: true, Args: args}); err != nil {
			return errUnserved
		}
		if err := markOffline(v, name); err != nil {
			s.opts.Logger.Warn("a queue of messages for a user is not marked as such; it may outlive its user", "listener", "xmpp", "queue", name, "error", err)
		}
	}
	p := session.NewPublisher()
	in := inboundOf(e, user)
	in.Key, in.Persistent, in.Ref = []byte(name), true, 1
	in.TimestampMs = now().UnixMilli()
	if routed, err := p.Publish(in); err != nil || !routed {
		return errUnserved
	}
	p.Store()
	refused := len(p.Refused()) > 0
	if err := p.Commit(nil); err != nil || refused {
		return stanza.Fail("service-unavailable", "too many messages wait for the user")
	}
	for _, other := range s.Online(stanza.JID{Local: stanza.Escape(user), Domain: d.name}) { // who has come meanwhile
		other.wantOffline()
	}
	return nil
}

// Deliver sends a message to a bare or a full address of a domain that is served: to who is there, as one of another
// user's would be, else it waits in the offline queue. e has its addresses; it is not kept. The error says why it went
// nowhere.
func (s *Server) Deliver(to stanza.JID, e *stanza.Element) error {
	d := s.domains[to.Domain]
	if d == nil {
		return stanza.Fail("remote-server-not-found", "")
	}
	if to.Resource != "" {
		if other := s.registry.client(to); other != nil && other.offerMessage(e) {
			return nil
		}
	}
	sent := false
	for _, other := range s.Online(to.Bare()) {
		sent = other.offerMessage(e) || sent
	}
	user := stanza.Unescape(to.Local)
	switch {
	case sent:
		return nil
	case !s.opts.Users.Has(user):
		return errUnserved
	}
	return s.storeOffline(d, user, e)
}
