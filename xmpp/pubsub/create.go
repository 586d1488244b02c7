package pubsub

import (
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// create declares a durable queue, or for a node called x/NAME, a collection, or one with a type of exchange, a durable exchange.
func (r *request) create() (*stanza.Element, bool, error) {
	name, named := r.act.Get("node")
	instant := !named || name == ""
	if instant {
		name = newID()
	}
	want, e := r.wanted()
	if e != nil {
		return nil, false, e
	}
	p := placeOf(name)
	kind, e := exchangeType(want, &p)
	if e != nil {
		return nil, false, e
	}
	if p.name == "" || len(p.name) > maxNodeName {
		return nil, false, stanza.Fail("not-acceptable", "the name of a node has 1 to 255 bytes")
	}
	of := settings{Owner: r.bare(), Name: name, Created: time.Now().UTC().Truncate(time.Second)}
	if e := of.configure(want); e != nil {
		return nil, false, e
	}
	r.h.changing.Lock()
	defer r.h.changing.Unlock()
	if err := r.may(broker.Create, p); err != nil {
		return nil, false, err
	}
	if r.h.find(name) != nil {
		return nil, false, stanza.Fail("conflict", "there is a node, queue or exchange '"+clip(name)+"'")
	}
	if err := r.declare(p, kind); err != nil {
		return nil, false, err
	}
	r.h.mu.Lock()
	n := r.h.at(p)
	r.h.mu.Unlock()
	if n != nil {
		if err := r.h.keep(n, of); err != nil {
			return nil, false, err
		}
	}
	if instant {
		return result(nsPubsub, stanza.New(nsPubsub, "create", "node", name)), false, nil
	}
	return nil, false, nil
}

// wanted is what stands in <configure/> beside the action.
func (r *request) wanted() (submitted, *stanza.Error) {
	c := r.pubsub.Child(nsPubsub, "configure")
	if c == nil {
		return nil, nil
	}
	want, _, e := readForm(c, formConfig)
	return want, e
}

// exchangeType is the type of exchange that a node is to be, "" for a queue.
func exchangeType(want submitted, p *place) (string, *stanza.Error) {
	kind := ""
	if p.exchange {
		kind = "topic"
	}
	switch t, _ := want.one("pubsub#node_type"); t {
	case "collection":
		kind = "topic"
	case "", "leaf":
	default:
		return "", stanza.Fail("not-acceptable", "pubsub#node_type is leaf or collection, not '"+clip(t)+"'")
	}
	if t, ok := want.one(fieldExchange); ok {
		kind = t
	} else if t, _ := want.one("pubsub#type"); len(t) > len("exchange-") && t[:len("exchange-")] == "exchange-" {
		kind = t[len("exchange-"):]
		delete(want, "pubsub#type")
	}
	p.exchange = p.exchange || kind != ""
	return kind, nil
}

func (r *request) declare(p place, kind string) (err error) {
	if p.exchange {
		_, err = r.p.Session().DeclareExchange(p.name, broker.ExchangeOptions{Type: kind, Durable: true})
	} else {
		_, err = r.p.Session().DeclareQueue(p.name, broker.QueueOptions{Durable: true})
	}
	return err
}

// defaults is the configuration that a node has for which none was asked.
func (r *request) defaults() (*stanza.Element, bool, error) {
	var of settings
	return result(nsOwner, stanza.New(nsOwner, "default").Add(form("form", formConfig, of.fields()...))), false, nil
}

// configuration is the form of a node.
func (r *request) configuration() (*stanza.Element, bool, error) {
	n, name, err := r.node(broker.Alter)
	if err != nil {
		return nil, false, err
	}
	of := r.h.settingsOf(n)
	return result(nsOwner, stanza.New(nsOwner, "configure", "node", name).Add(form("form", formConfig, of.fields()...))), false, nil
}

// configure takes a form of a node.
func (r *request) configure() (*stanza.Element, bool, error) {
	n, _, err := r.node(broker.Alter)
	if err != nil {
		return nil, false, err
	}
	want, cancelled, e := readForm(r.act, formConfig)
	switch {
	case e != nil:
		return nil, false, e
	case cancelled:
		return nil, false, nil
	case want == nil:
		return nil, false, stanza.Fail("bad-request", "there is no form in <configure/>")
	}
	r.h.changing.Lock()
	defer r.h.changing.Unlock()
	of := r.h.settingsOf(n)
	if e := of.configure(want); e != nil {
		return nil, false, e
	}
	return nil, false, r.h.keep(n, of)
}

// delete deletes the queue or exchange behind a node. Its subscribers hear of it by Service.deleted.
func (r *request) delete() (*stanza.Element, bool, error) {
	n, _, err := r.node(broker.Delete)
	if err != nil {
		return nil, false, err
	}
	if n.place.exchange {
		return nil, false, r.p.Session().DeleteExchange(n.name, false)
	}
	_, err = r.p.Session().DeleteQueue(n.name, false, false)
	return nil, false, err
}

// purge takes all items that wait out of a queue, or moves the start of a topic.
func (r *request) purge() (*stanza.Element, bool, error) {
	n, _, err := r.node(broker.Purge)
	if err != nil {
		return nil, false, err
	}
	if n.place.exchange {
		return nil, false, unsupported("purge-nodes", "an exchange has no items of its own")
	}
	r.p.Flush()
	if !n.queue.Topic {
		return nil, false, r.h.purge(r.p.Session(), n)
	}
	for _, p := range n.queue.Partitions() {
		if _, err := r.p.Session().Truncate(p, -1); err != nil {
			return nil, false, err
		}
	}
	r.h.purged(n)
	return nil, false, nil
}

// retract is refused: a log is added to, and what is in it stays until its queue lets go of it.
func (r *request) retract() (*stanza.Element, bool, error) {
	if _, _, err := r.node(broker.Look); err != nil {
		return nil, false, err
	}
	return nil, false, withFeature(stanza.Fail("not-allowed", "single items can't be taken back: consume them by AMQP, Kafka or STOMP, let them expire, or purge the node"), "retract-items")
}

func withFeature(e *stanza.Error, feature string) *stanza.Error {
	withMore(e, "unsupported").More.Set("feature", feature)
	return e
}
