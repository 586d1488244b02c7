package xmpp

import (
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Subscriptions to presence (RFC 6121 section 3): what one account says of another one changes the contact that each
// is in the other's roster, in one write.
//
//	says           in its own roster          in the other's
//	subscribe      ask                        asked; from, if that has approved it or shows it already
//	subscribed     from, if it was asked;     to, if that has asked
//	               else approved
//	unsubscribe    neither to nor ask         neither from nor asked
//	unsubscribed   none of from, asked and    neither to nor ask
//	               approved

// says changes a contact by what its account says to it. route is whether the contact is to hear of it.
func (c *contact) says(kind string) (route bool) {
	switch kind {
	case "subscribe":
		c.Listed, c.Ask = true, !c.To
		return true
	case "subscribed":
		c.Listed = true
		if route = c.Asked; route {
			c.From, c.Asked = true, false
		} else if !c.From {
			c.Approved = true
		}
		return route
	case "unsubscribe":
		c.To, c.Ask = false, false
		return true
	case "unsubscribed":
		route = c.From || c.Asked
		c.From, c.Asked, c.Approved = false, false, false
		return route
	}
	return false
}

// hears changes a contact by what it says to its account. tell is whether the account's clients hear of it; answer is
// what is said for the account at once, "" being nothing.
func (c *contact) hears(kind string) (tell bool, answer string) {
	switch kind {
	case "subscribe":
		switch {
		case c.From:
			return false, "subscribed"
		case c.Approved:
			c.From, c.Listed, c.Asked = true, true, false
			return false, "subscribed"
		}
		tell, c.Asked = !c.Asked, true
		return tell, ""
	case "subscribed":
		if tell = c.Ask; tell {
			c.Ask, c.To = false, true
		}
		return tell, ""
	case "unsubscribe":
		tell = c.From || c.Asked
		c.From, c.Asked = false, false
		return tell, ""
	case "unsubscribed":
		tell = c.To || c.Ask
		c.To, c.Ask = false, false
		return tell, ""
	}
	return false, ""
}

// isSubscription tells whether a type of presence is about subscriptions.
func isSubscription(kind string) bool {
	return kind == "subscribe" || kind == "subscribed" || kind == "unsubscribe" || kind == "unsubscribed"
}

// word is what is said to an account's clients when a change is written.
type word struct {
	from, to stanza.JID
	e        *stanza.Element // presence; nil: from's own, or that it is not there
	kind     string
}

// subscribe is what a client's account says to another account of the domain.
func (d *domain) subscribe(k *Client, to stanza.JID, e *stanza.Element) error {
	own := k.jid.Bare()
	if to = to.Bare(); to == own {
		return nil // everybody sees their own presence
	}
	var words []word
	err := d.change(func(t *draft) error {
		words = t.say(own, to, e.Attr("type"), e)
		return nil
	})
	if err == nil {
		d.tell(words)
	}
	return err
}

// say has one account say something to another, and returns what clients are to hear. Nothing is kept at an account
// that is not there, and nobody is told that it is not.
func (t *draft) say(from, to stanza.JID, kind string, e *stanza.Element) (words []word) {
	own, other := from.String(), to.String()
	mine := t.contact(own, other)
	shown, sees := mine.From, mine.To
	route := mine.says(kind)
	t.put(own, other, mine)
	if !route || !t.d.s.opts.Users.Has(stanza.Unescape(to.Local)) {
		return nil
	}
	theirs := t.contact(other, own)
	tell, answer := theirs.hears(kind)
	t.put(other, own, theirs)
	if tell {
		words = append(words, word{from: from, to: to, e: e, kind: kind})
	}
	switch {
	case kind == "subscribed":
		words = append(words, word{from: from, to: to, kind: ""})
	case kind == "unsubscribed" && shown:
		words = append(words, word{from: from, to: to, kind: "unavailable"})
	case kind == "unsubscribe" && sees:
		words = append(words, word{from: to, to: from, kind: "unavailable"})
	case answer != "":
		mine = t.contact(own, other)
		heard, _ := mine.hears(answer)
		t.put(own, other, mine)
		if heard {
			words = append(words, word{from: to, to: from, kind: answer})
		}
		words = append(words, word{from: to, to: from, kind: ""})
	}
	return words
}

// tell sends clients what was said.
func (d *domain) tell(words []word) {
	for _, w := range words {
		switch {
		case isSubscription(w.kind):
			e := stanza.New(stanza.NSClient, "presence", "type", w.kind)
			if w.e != nil {
				e = w.e.With()
			}
			e.Set("from", w.from.String())
			e.Set("to", w.to.String())
			d.s.show(w.to, e)
		default:
			for _, k := range d.s.registry.of(w.from) {
				if shown := k.shown(); shown != nil {
					d.s.show(w.to, presenceOf(k, shown, w.kind, w.to))
				}
			}
		}
	}
}

// presenceOf is the presence of a client for somebody: as it was sent, or that the client is not available.
func presenceOf(k *Client, sent *stanza.Element, kind string, to stanza.JID) *stanza.Element {
	if kind != "" {
		return stanza.New(stanza.NSClient, "presence", "type", kind, "from", k.full, "to", to.String())
	}
	return sent.With().Set("to", to.String())
}

// show sends presence to the clients of an account who are available.
func (s *Server) show(to stanza.JID, e *stanza.Element) {
	for _, other := range s.registry.of(to) {
		if _, ok := other.Available(); ok {
			other.Offer(e)
		}
	}
}

// removeContact takes a contact out of the account's roster, and ends what there is between the two.
func (d *domain) removeContact(k *Client, jid stanza.JID) error {
	own := k.jid.Bare()
	var words []word
	err := d.change(func(t *draft) error {
		if c := t.contact(own.String(), jid.String()); !c.Listed {
			return stanza.Fail("item-not-found", "that is no contact")
		}
		words = t.part(own, jid)
		return nil
	})
	if err == nil {
		d.tell(words)
	}
	return err
}

// part ends what there is between an account and a contact of its, which is no contact any more.
func (t *draft) part(own, jid stanza.JID) (words []word) {
	c := t.contact(own.String(), jid.String())
	if jid.Domain == t.d.name && jid.Local != "" {
		if c.To || c.Ask {
			words = append(words, t.say(own, jid, "unsubscribe", nil)...)
		}
		if c.From || c.Asked {
			words = append(words, t.say(own, jid, "unsubscribed", nil)...)
		}
	}
	t.put(own.String(), jid.String(), contact{})
	return words
}

// subscribeQueue is a subscription to the presence of a queue, which is there as long as the queue is: everybody who may
// see the queue may see that.
func (q *queueService) subscribe(k *Client, name string, to stanza.JID, kind string) error {
	own, jid := k.bare(), to.Bare().String()
	there := queuePresent(k, name)
	if kind == "subscribe" && !there {
		return errNoQueue
	}
	if err := k.domain.change(func(t *draft) error {
		c := t.contact(own, jid)
		switch kind {
		case "subscribe":
			c.Listed, c.To, c.Ask = true, true, false
		case "unsubscribe":
			c.To, c.Ask = false, false
		default:
			return nil // a queue asks nobody
		}
		t.put(own, jid, c)
		return nil
	}); err != nil {
		return err
	}
	switch kind {
	case "subscribe":
		k.Send(stanza.New(stanza.NSClient, "presence", "type", "subscribed", "from", jid, "to", own))
		k.Send(stanza.New(stanza.NSClient, "presence", "from", jid, "to", own))
	case "unsubscribe":
		k.Send(stanza.New(stanza.NSClient, "presence", "type", "unavailable", "from", jid, "to", own))
	}
	return nil
}

// queuePresent tells whether there is a queue that the client may see.
func queuePresent(k *Client, name string) bool {
	_, err := k.Session().Queue(broker.Look, name)
	return err == nil
}
