package pubsub

import (
	"sync/atomic"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// publish puts items into the queue, or through the exchange. It is answered when they are as durable as that promises.
func (r *request) publish() (*stanza.Element, bool, error) {
	n, name, err := r.publishTo()
	if err != nil {
		return nil, false, err
	}
	of := r.h.settingsOf(n)
	if o := r.pubsub.Child(nsPubsub, "publish-options"); o != nil {
		want, _, e := readForm(o, formPublish)
		if e != nil {
			return nil, false, e
		}
		if f := of.differs(want); f != "" {
			return nil, false, withMore(stanza.Fail("conflict", "the node does not have what was asked for in "+f), "precondition-not-met")
		}
	}
	items := children(r.act, nsPubsub, "item")
	switch {
	case of.notifies() && len(items) == 0:
		items = append(items, stanza.New(nsPubsub, "item"))
	case of.notifies():
		return nil, false, withMore(stanza.Fail("bad-request", "the node tells that something has happened, and takes no items"), "item-forbidden")
	case len(items) == 0:
		return nil, false, withMore(stanza.Fail("bad-request", "there is no item in <publish/>"), "item-required")
	case len(items) > maxPosts:
		return nil, false, withMore(stanza.Fail("not-allowed", "at most 64 items are published at a time"), "max-items-exceeded")
	}
	var posts []*post
	for _, it := range items {
		p, e := r.post(it, &of)
		if e != nil {
			return nil, false, e
		}
		posts = append(posts, p)
	}
	answer := stanza.New(nsPubsub, "publish", "node", name)
	for _, p := range posts {
		answer.Add(stanza.New(nsPubsub, "item", "id", p.id))
	}
	return nil, true, r.post0(n, posts, result(nsPubsub, answer))
}

// publishTo finds the node that is published to: through the exchange that it is, or through the one without a name, as
// which rights are asked.
func (r *request) publishTo() (*node, string, error) {
	name := r.act.Attr("node")
	if name == "" {
		return nil, "", errNodeRequired
	}
	n := r.h.find(name)
	if n == nil {
		return nil, "", stanza.Fail("item-not-found", "there is no node '"+clip(name)+"'; create it first")
	}
	exchange := ""
	if n.place.exchange {
		exchange = n.name
	}
	return n, name, r.p.Session().May(broker.Publish, broker.OnExchange, exchange)
}

// post reads one item.
func (r *request) post(it *stanza.Element, of *settings) (*post, *stanza.Error) {
	var payload *stanza.Element
	more := children(r.pubsub, nsShim, "headers")
	more = append(more, children(r.act, nsShim, "headers")...)
	for _, c := range it.Children() {
		switch {
		case c.Is(nsShim, "headers"):
			more = append(more, c)
		case payload != nil:
			return nil, withMore(stanza.Fail("bad-request", "an item has one element in it"), "invalid-payload")
		default:
			payload = c
		}
	}
	id, ok := it.Get("id")
	if !ok || id == "" {
		id = newID()
	}
	return write(id, payload, more, r.p.JID(), r.p.User(), of.Transient)
}

// post0 publishes, and answers when all of it is stored.
func (r *request) post0(n *node, posts []*post, answer *stanza.Element) error {
	exchange := []byte{}
	if n.place.exchange {
		exchange = []byte(n.name)
	}
	left := new(atomic.Int32)
	left.Store(int32(len(posts)))
	failed := new(atomic.Pointer[error])
	then := func(err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
		if left.Add(-1) > 0 {
			return
		}
		if e := failed.Load(); e != nil {
			r.p.Send(stanza.Refusal(r.iq, asError(*e)))
			return
		}
		r.answer(answer)
	}
	for i, p := range posts {
		key := p.key
		if !n.place.exchange {
			key = []byte(n.name)
		}
		_, err := r.p.Publish(&broker.Inbound{Exchange: exchange, Key: key, Properties: p.properties, Headers: p.headers, Body: p.body,
			Persistent: p.persistent, TimestampMs: r.p.Now()}, then)
		switch {
		case err != nil && i == 0:
			return err
		case err != nil: // those before it are on their way
			for range posts[i:] {
				then(err)
			}
			return nil
		}
	}
	return nil
}
