package xmpp

import (
	"strconv"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	// maxPresenceBytes is the longest presence for everybody: it is kept while the client is there.
	maxPresenceBytes = 16 << 10
	// maxDirected is how many addresses that were sent presence hear of its end.
	maxDirected = 256
)

// broadcast is presence without an address: the client says whether it is there.
func (c *conn) broadcast(k *Client, e *stanza.Element) error {
	switch e.Attr("type") {
	case "":
	case "unavailable":
		k.mu.Lock()
		was := k.present
		k.present, k.seen = false, nil
		k.mu.Unlock()
		k.leaveOffline()
		k.echo(e)
		k.fade(e, was)
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
	if len(e.AppendTo(nil, stanza.NSClient)) > maxPresenceBytes {
		return stanza.Fail("policy-violation", "presence for everybody has at most 16 KiB")
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
	first := !k.present
	k.present, k.priority, k.seen = true, priority, e
	k.mu.Unlock()
	k.echo(e)
	k.spread(e)
	if first {
		k.welcome()
	}
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

// shown is the presence of a client that is available; nil of another.
func (k *Client) shown() *stanza.Element {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.present || k.gone || k.leaving {
		return nil
	}
	return k.seen
}

// contacts is the roster of the client's account; nil where there is none.
func (k *Client) contacts() map[string]contact {
	v, err := k.domain.vhostOf()
	if err != nil {
		return nil
	}
	return k.s.rosters.of(v, k.bare()).contacts
}

// spread shows presence to those contacts who may see it, and to the account's other clients.
func (k *Client) spread(e *stanza.Element) {
	for text, c := range k.contacts() {
		if !c.From {
			continue
		}
		if jid, err := stanza.ParseJID(text); err == nil && jid.Domain == k.domain.name {
			k.s.show(jid, e.With().Set("to", text))
		}
	}
	for _, other := range k.s.registry.of(k.jid) {
		if _, ok := other.Available(); ok && other != k {
			other.Offer(e.With().Set("to", other.full))
		}
	}
}

// fade shows that the client is not available any more, by its own word or without, to all who were shown that it was:
// everybody who may see it, if it was available, and those to whom it has sent presence.
func (k *Client) fade(e *stanza.Element, was bool) {
	k.mu.Lock()
	directed := k.directed
	k.directed = nil
	k.mu.Unlock()
	if e == nil {
		e = stanza.New(stanza.NSClient, "presence", "type", "unavailable", "from", k.full)
	}
	if was {
		k.spread(e)
	}
	if len(directed) == 0 {
		return
	}
	contacts := k.contacts()
	for jid := range directed {
		if !was || !contacts[jid.Bare().String()].From {
			k.showTo(jid, e)
		}
	}
}

// showTo sends presence to a full address, or to all clients of a bare one who are available.
func (k *Client) showTo(to stanza.JID, e *stanza.Element) {
	out := e.With().Set("to", to.String())
	if to.Resource == "" {
		k.s.show(to, out)
	} else if other := k.s.registry.client(to); other != nil {
		other.Offer(out)
	}
}

// welcome shows a client that has become available what it missed: who of its account and of its contacts is there, and
// who has asked for its presence.
func (k *Client) welcome() {
	for _, other := range k.s.registry.of(k.jid) {
		if e := other.shown(); e != nil && other != k {
			k.Offer(e.With().Set("to", k.full))
		}
	}
	for text, c := range k.contacts() {
		jid, err := stanza.ParseJID(text)
		if err != nil {
			continue
		}
		if c.Asked {
			k.Offer(stanza.New(stanza.NSClient, "presence", "type", "subscribe", "from", text, "to", k.bare()))
		}
		switch {
		case !c.To:
		case jid.Domain == k.domain.name:
			k.probe(jid)
		case jid.Domain == "queues."+k.domain.name && queuePresent(k, stanza.Unescape(jid.Local)):
			k.Offer(stanza.New(stanza.NSClient, "presence", "from", text, "to", k.full))
		}
	}
}

// probe shows a client who of an account is there, if that account lets its own see it.
func (k *Client) probe(jid stanza.JID) {
	v, err := k.domain.vhostOf()
	if err != nil || jid != k.jid.Bare() && !k.s.rosters.of(v, jid.String()).contacts[k.bare()].From {
		return
	}
	for _, other := range k.s.registry.of(jid) {
		if e := other.shown(); e != nil {
			k.Offer(e.With().Set("to", k.full))
		}
	}
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

// presenceTo is presence for a user: what the client shows to somebody who need not have asked, or a word about
// subscriptions.
func (c *conn) presenceTo(k *Client, to stanza.JID, e *stanza.Element) error {
	kind := e.Attr("type")
	switch {
	case isSubscription(kind):
		return k.domain.subscribe(k, to, e)
	case kind == "probe":
		k.probe(to.Bare())
		return nil
	case kind != "" && kind != "unavailable":
		return nil
	}
	k.mu.Lock()
	if kind == "unavailable" {
		delete(k.directed, to)
	} else if len(k.directed) < maxDirected {
		if k.directed == nil {
			k.directed = map[stanza.JID]struct{}{}
		}
		k.directed[to] = struct{}{}
	}
	k.mu.Unlock()
	k.showTo(to, e)
	return nil
}
