package xmpp

import (
	"strconv"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// broadcast is presence without an address: the client says whether it is there.
func (c *conn) broadcast(k *Client, e *stanza.Element) error {
	switch e.Attr("type") {
	case "":
	case "unavailable":
		k.mu.Lock()
		was := k.present
		k.present = false
		k.mu.Unlock()
		k.leaveOffline()
		k.echo(e)
		if was {
			k.tellServices(false)
		}
		return nil
	case "error":
		return nil
	case "probe", "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		return stanza.Fail("bad-request", "presence of this type needs an address")
	default:
		return stanza.Fail("bad-request", "there is no such type of presence")
	}
	priority := 0
	if text := e.ChildText(stanza.NSClient, "priority"); text != "" {
		n, err := strconv.ParseInt(text, 10, 8)
		if err != nil {
			return stanza.Fail("bad-request", "the priority is a number from -128 to 127")
		}
		priority = int(n)
	}
	k.mu.Lock()
	k.present, k.priority = true, priority
	k.mu.Unlock()
	k.echo(e)
	if priority >= 0 {
		k.wantOffline()
	} else {
		k.leaveOffline()
	}
	k.tellServices(true)
	return nil
}

// echo shows a client its own presence, as everybody who has a subscription to it sees it.
func (k *Client) echo(e *stanza.Element) {
	out := e.With()
	out.Set("to", k.full)
	k.Send(out)
}

func (k *Client) tellServices(available bool) {
	for _, label := range k.domain.order {
		k.domain.services[label].Presence(k, available)
	}
}

// toAccount takes a stanza to a user of the domain.
func (c *conn) toAccount(k *Client, to stanza.JID, e *stanza.Element) error {
	own := to.Local == k.jid.Local
	if to.Resource == "" && e.Local == "iq" {
		if own {
			return k.domain.ownAccount(k, e)
		}
		return errUnserved
	}
	switch e.Local {
	case "message":
		return c.message(k, to, e)
	case "presence":
		return c.presenceTo(k, to, e)
	}
	if other := c.s.registry.client(to); other == nil || !other.Offer(e) {
		return errUnserved
	}
	return nil
}

// presenceTo is presence for a user. There are no subscriptions between users: who is asked for one gets to see it,
// and nothing is kept.
func (c *conn) presenceTo(k *Client, to stanza.JID, e *stanza.Element) error {
	switch e.Attr("type") {
	case "", "unavailable":
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		from := e.With()
		from.Set("from", k.jid.Bare().String())
		from.Set("to", to.Bare().String())
		for _, other := range c.s.registry.of(to) {
			if _, ok := other.Available(); ok {
				other.Offer(from)
			}
		}
		return nil
	default:
		return nil
	}
	if to.Resource != "" {
		if other := c.s.registry.client(to); other != nil {
			other.Offer(e)
		}
		return nil
	}
	for _, other := range c.s.Online(to) {
		other.Offer(e)
	}
	return nil
}
