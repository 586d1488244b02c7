package pubsub

import (
	"crypto/rand"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// request is an iq under way.
type request struct {
	s      *Service
	h      *host
	p      Peer
	iq     *stanza.Element
	pubsub *stanza.Element // in it
	act    *stanza.Element // in that
	memory *budget.Account // of what is answered; nil: nothing was taken
	held   int64
}

// verb serves one action. What it returns stands in the result; later says that the answer comes by itself.
type verb func(*request) (payload *stanza.Element, later bool, err error)

// verbs are what can be asked, by the type of the iq, and the namespace and name of the action.
var verbs = map[[3]string]verb{
	{"set", nsPubsub, "create"}:        (*request).create,
	{"set", nsPubsub, "subscribe"}:     (*request).subscribe,
	{"set", nsPubsub, "unsubscribe"}:   (*request).unsubscribe,
	{"set", nsPubsub, "publish"}:       (*request).publish,
	{"set", nsPubsub, "retract"}:       (*request).retract,
	{"set", nsPubsub, "options"}:       (*request).setOptions,
	{"get", nsPubsub, "options"}:       (*request).options,
	{"get", nsPubsub, "items"}:         (*request).items,
	{"get", nsPubsub, "subscriptions"}: (*request).subscriptions,
	{"get", nsPubsub, "affiliations"}:  (*request).affiliations,
	{"get", nsPubsub, "default"}:       (*request).defaultOptions,
	{"get", nsOwner, "default"}:        (*request).defaults,
	{"get", nsOwner, "configure"}:      (*request).configuration,
	{"set", nsOwner, "configure"}:      (*request).configure,
	{"set", nsOwner, "delete"}:         (*request).delete,
	{"set", nsOwner, "purge"}:          (*request).purge,
	{"get", nsOwner, "subscriptions"}:  (*request).ownerSubscriptions,
	{"set", nsOwner, "subscriptions"}:  (*request).setSubscriptions,
	{"get", nsOwner, "affiliations"}:   (*request).ownerAffiliations,
	{"set", nsOwner, "affiliations"}:   (*request).setAffiliations,
}

const (
	nsDiscoInfo  = "http://jabber.org/protocol/disco#info"
	nsDiscoItems = "http://jabber.org/protocol/disco#items"
	nsPing       = "urn:xmpp:ping"
)

func (r *request) serve() error {
	r.pubsub = r.iq.First()
	if r.pubsub == nil {
		return stanza.Fail("bad-request", "the iq is empty")
	}
	kind := r.iq.Attr("type")
	var do verb
	switch {
	case kind == "get" && r.pubsub.Is(nsDiscoInfo, "query"):
		do = (*request).info
	case kind == "get" && r.pubsub.Is(nsDiscoItems, "query"):
		do = (*request).list
	case kind == "get" && r.pubsub.Is(nsPing, "ping"):
		do = func(*request) (*stanza.Element, bool, error) { return nil, false, nil }
	case r.pubsub.Is(nsPubsub, "pubsub") || r.pubsub.Is(nsOwner, "pubsub"):
		if r.act = r.action(); r.act == nil {
			return stanza.Fail("bad-request", "nothing is asked for in <pubsub/>")
		}
		if do = verbs[[3]string{kind, r.pubsub.Space, r.act.Local}]; do == nil {
			return stanza.Fail("feature-not-implemented", "there is no "+kind+" of "+clip(r.act.Local)+" in "+r.pubsub.Space)
		}
	default:
		return stanza.Fail("service-unavailable", "this address serves XEP-0060 and service discovery")
	}
	payload, later, err := do(r)
	if err != nil || later {
		return err
	}
	r.answer(payload)
	return nil
}

// charge takes memory for bytes of an answer.
func (r *request) charge(n int) error {
	if r.memory == nil {
		r.memory = r.s.budget.Open()
	}
	bytes := int64(n) * treeBytes
	if err := r.memory.Take(bytes, nil); err != nil {
		return typed("wait", stanza.Fail("resource-constraint", err.Error()+"; ask for fewer items"))
	}
	r.held += bytes
	return nil
}

// uncharge gives some of it back.
func (r *request) uncharge(n int) {
	bytes := int64(n) * treeBytes
	if bytes > 0 {
		r.memory.Give(bytes)
		r.held -= bytes
	}
}

// release gives it back.
func (r *request) release() {
	if r.memory != nil {
		r.memory.Give(r.held)
		r.memory.Close()
	}
}

// answer sends the result.
func (r *request) answer(payload *stanza.Element) { r.p.Send(stanza.Result(r.iq, payload)) }

// action is the element that says what is asked for: the first one but what goes with it.
func (r *request) action() *stanza.Element {
	for i := range r.pubsub.Nodes {
		c := r.pubsub.Nodes[i].Element
		if c == nil || c.Space != r.pubsub.Space {
			continue
		}
		if c.Local == "configure" && r.pubsub.Space == nsPubsub || c.Local == "publish-options" {
			continue
		}
		if c.Local == "options" && r.pubsub.Child(nsPubsub, "subscribe") != nil {
			continue
		}
		return c
	}
	return nil
}

// result is <pubsub> with something in it.
func result(space string, in ...*stanza.Element) *stanza.Element {
	return stanza.New(space, "pubsub").Add(in...)
}

// node finds the node that the action names, for a verb that is to come. Who may not do that does not learn whether there
// is one.
func (r *request) node(on broker.Verb) (*node, string, error) {
	name, ok := r.act.Get("node")
	if !ok || name == "" {
		return nil, "", errNodeRequired
	}
	n, err := r.named(on, name)
	return n, name, err
}

func (r *request) named(on broker.Verb, name string) (*node, error) {
	n := r.h.find(name)
	if n == nil {
		p := placeOf(name)
		if err := r.may(on, p); err != nil {
			return nil, err
		}
		return nil, stanza.Fail("item-not-found", "there is no node '"+clip(name)+"'")
	}
	if err := r.may(on, n.place); err != nil {
		return nil, err
	}
	if n.queue == nil {
		return n, nil
	}
	_, err := r.p.Session().Queue(on, n.name) // another connection's exclusive one is not ours
	return n, err
}

// placeOf is what a name stands for if there is nothing of that name.
func placeOf(name string) place {
	if rest, ok := strings.CutPrefix(name, exchangePrefix); ok {
		return place{true, rest}
	}
	rest, _ := strings.CutPrefix(name, queuePrefix)
	return place{false, rest}
}

// may asks whether the client may do something of a queue or exchange.
func (r *request) may(on broker.Verb, p place) error {
	kind := broker.OnQueue
	if p.exchange {
		kind = broker.OnExchange
		if on == broker.Consume || on == broker.Purge {
			on = broker.BindSource // which is to read it, too
		}
	}
	return r.p.Session().May(on, kind, p.name)
}

// owns tells whether the client may configure a node.
func (r *request) owns(n *node) bool { return r.may(broker.Alter, n.place) == nil }

// reads checks what the node's owner says of who may subscribe and read.
func (r *request) reads(n *node) error {
	of := r.h.settingsOf(n)
	if !of.Whitelist || of.Owner == r.bare() || r.owns(n) {
		return nil
	}
	return withMore(stanza.Fail("not-allowed", "the node is for its owner, and for who may configure it"), "closed-node")
}

// bare is the account of who asks.
func (r *request) bare() string { return r.p.JID().Bare().String() }

// newID makes an id that no item or node has.
func newID() string { return strings.ToLower(rand.Text()) }
