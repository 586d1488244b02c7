package pubsub

import (
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Fields of the options of a subscription.
const (
	fieldMode     = "leveret#mode"
	fieldKey      = "leveret#key"
	fieldReceipts = "leveret#receipts"
)

// address is who a subscription is for: the one who asks, by its full or its bare address.
func (r *request) address() (string, *stanza.Error) {
	text := r.act.Attr("jid")
	if text == "" {
		return "", withMore(stanza.Fail("bad-request", "whom? The attribute jid is missing"), "jid-required")
	}
	j, err := stanza.ParseJID(text)
	if err != nil || j != r.p.JID() && j != r.p.JID().Bare() {
		return "", withMore(stanza.Fail("bad-request", "jid must be your own address, bare or full"), "invalid-jid")
	}
	return j.String(), nil
}

// subscribe makes a subscription; one that is there is answered again, with other options changed.
func (r *request) subscribe() (*stanza.Element, bool, error) {
	n, name, err := r.node(broker.Consume)
	if err != nil {
		return nil, false, err
	}
	jid, e := r.address()
	if e != nil {
		return nil, false, e
	}
	if err := r.reads(n); err != nil {
		return nil, false, err
	}
	want := &subscription{JID: jid, Node: name, Mode: modeAll}
	options := r.pubsub.Child(nsPubsub, "options")
	if options != nil {
		from, _, e := readForm(options, formOptions)
		if e != nil {
			return nil, false, e
		}
		if e := want.take(from); e != nil {
			return nil, false, e
		}
	}
	want.takeKeys(r.pubsub)
	r.p.Flush()
	r.h.changing.Lock()
	defer r.h.changing.Unlock()
	if err := r.enter(n, want, options != nil); err != nil {
		return nil, false, err
	}
	answer := result(nsPubsub, stanza.New(nsPubsub, "subscription", "node", name, "jid", jid, "subscription", "subscribed"))
	if options != nil {
		answer.Add(stanza.New(nsPubsub, "options").Add(form("submit", formOptions, want.fields(n)...)))
	}
	return answer, false, nil
}

// enter has a subscription be there. host.changing is held.
func (r *request) enter(n *node, want *subscription, asked bool) error {
	if e := want.check(n); e != nil {
		return e
	}
	r.h.mu.Lock()
	n = r.h.known(n)
	have := n.subs[want.JID]
	many := len(r.h.byAccount[r.bare()]) >= maxSubscriptions
	r.h.mu.Unlock()
	switch {
	case have != nil && (!asked || have.same(want)):
		*want = subscription{JID: have.JID, Node: have.Node, Mode: have.Mode, Keys: have.Keys, Receipts: have.Receipts}
		return nil
	case have != nil && have.Mode != want.Mode:
		return stanza.Fail("not-acceptable", "the mode of a subscription can't be changed: unsubscribe first")
	case have == nil && many:
		return withMore(typed("wait", stanza.Fail("policy-violation", "an account has at most 1000 subscriptions")), "too-many-subscriptions")
	}
	if n.place.exchange {
		if err := r.bind(n, want, have); err != nil {
			return err
		}
	} else if want.Mode == modeAll {
		if have != nil {
			r.h.mu.Lock()
			want.positions = slices.Clone(have.positions)
			r.h.mu.Unlock()
		} else if err := r.begin(n, want); err != nil {
			return err
		}
	}
	return r.h.subscribe(n, want)
}

func (s *subscription) same(as *subscription) bool {
	return s.Mode == as.Mode && s.Receipts == as.Receipts && slices.Equal(s.Keys, as.Keys) && s.Node == as.Node
}

// begin has a subscriber get what comes from now on, and the last item if the node's owner wants that.
func (r *request) begin(n *node, sub *subscription) error {
	for _, p := range n.queue.Partitions() {
		start, end, err := r.p.Session().Extent(p)
		if err != nil {
			return err
		}
		if r.h.settingsOf(n).LastOnSub && end > start {
			end--
		}
		sub.positions = append(sub.positions, end)
	}
	return nil
}

// bind has the messages of an exchange come to a queue of the subscriber's own.
func (r *request) bind(n *node, want, have *subscription) error {
	s := r.p.Session()
	want.Queue = queueOf(n.name, want.JID)
	if _, err := s.DeclareQueue(want.Queue, broker.QueueOptions{Durable: true}); err != nil {
		return err
	}
	undo := func() {
		if have == nil {
			_, _ = s.DeleteQueue(want.Queue, false, false)
		}
	}
	for _, key := range want.Keys {
		if err := s.Bind(broker.Binding{Source: n.name, Dest: want.Queue, Key: key}); err != nil {
			undo()
			return err
		}
	}
	if have == nil {
		return nil
	}
	for _, key := range have.Keys {
		if !slices.Contains(want.Keys, key) {
			if err := s.Unbind(broker.Binding{Source: n.name, Dest: want.Queue, Key: key}); err != nil {
				return err
			}
		}
	}
	return nil
}

// take takes options.
func (s *subscription) take(from submitted) *stanza.Error {
	if text, ok := from.one(fieldMode); ok {
		s.Mode = mode(text)
		if s.Mode != modeAll && s.Mode != modeOne {
			return withMore(stanza.Fail("bad-request", fieldMode+" is all or one, not '"+clip(text)+"'"), "invalid-options")
		}
	}
	if text, ok := from.one(fieldReceipts); ok {
		if s.Receipts, ok = boolean(text); !ok {
			return withMore(stanza.Fail("bad-request", fieldReceipts+" is neither true nor false"), "invalid-options")
		}
	}
	s.Keys = append(s.Keys, from[fieldKey]...)
	return nil
}

// takeKeys takes routing keys from SHIM headers called key.
func (s *subscription) takeKeys(pubsub *stanza.Element) {
	for _, hs := range children(pubsub, nsShim, "headers") {
		for _, h := range children(hs, nsShim, "header") {
			if h.Attr("name") == "key" {
				s.Keys = append(s.Keys, h.Text())
			}
		}
	}
}

// check says what is wrong with options for a node, and puts in what was not said.
func (s *subscription) check(n *node) *stanza.Error {
	if !n.place.exchange {
		if f, ok := field.Find(n.queue.Args, "x-queue-type"); ok && string(f.Text()) == "stream" && s.Mode == modeOne {
			return withMore(stanza.Fail("not-acceptable", "the consumers of a stream do not compete: subscribe to it with "+fieldMode+"=all"), "invalid-options")
		}
		if len(s.Keys) > 0 {
			return withMore(stanza.Fail("bad-request", "a queue has no routing keys: subscribe to the exchange with "+fieldKey), "invalid-options")
		}
		return nil
	}
	if s.Mode == modeOne {
		return withMore(stanza.Fail("bad-request", "for an exchange each subscriber has a queue of its own: subscribe to a queue with "+fieldMode+"=one"), "invalid-options")
	}
	if len(s.Keys) == 0 {
		switch n.exchange.Type {
		case "topic":
			s.Keys = []string{"#"}
		case "direct":
			return withMore(stanza.Fail("not-acceptable", "a direct exchange needs a routing key: give it as the option "+fieldKey), "configuration-required")
		default:
			s.Keys = []string{""}
		}
	}
	slices.Sort(s.Keys)
	s.Keys = slices.Compact(s.Keys)
	for _, key := range s.Keys {
		if len(key) > maxShort {
			return withMore(stanza.Fail("bad-request", "a routing key has at most 255 bytes"), "invalid-options")
		}
	}
	if len(s.Keys) > maxKeys {
		return withMore(stanza.Fail("not-acceptable", "a subscription has at most 64 routing keys"), "invalid-options")
	}
	return nil
}

// fields are the options of a subscription.
func (s *subscription) fields(n *node) []formField {
	out := []formField{{name: fieldReceipts, kind: "boolean", label: "An item comes again that was not acknowledged with a receipt (XEP-0184)", values: yes(s.Receipts)}}
	if n != nil && n.place.exchange {
		return append(out, formField{name: fieldKey, kind: "text-multi", label: "Routing keys", values: s.Keys})
	}
	return append(out, formField{name: fieldMode, kind: "list-single", label: "Who gets an item", values: []string{string(s.Mode)},
		options: []string{string(modeAll), "every subscriber", string(modeOne), "one of those who subscribed so, and of the queue's consumers"}})
}

// mine finds the subscription that the action is about.
func (r *request) mine(n *node) (*subscription, error) {
	jid, e := r.address()
	if e != nil {
		return nil, e
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	sub := n.subs[jid]
	if sub == nil {
		return nil, withMore(typed("modify", stanza.Fail("unexpected-request", jid+" is not subscribed to this node")), "not-subscribed")
	}
	return sub, nil
}

func (r *request) unsubscribe() (*stanza.Element, bool, error) {
	n, name, err := r.node(broker.Look)
	if err != nil {
		return nil, false, err
	}
	r.h.changing.Lock()
	defer r.h.changing.Unlock()
	sub, err := r.mine(n)
	if err == nil {
		err = r.h.end(sub)
	}
	if err != nil {
		return nil, false, err
	}
	return result(nsPubsub, stanza.New(nsPubsub, "subscription", "node", name, "jid", sub.JID, "subscription", "none")), false, nil
}

// end ends a subscription, and with it the queue that it has. changing is held.
func (h *host) end(sub *subscription) error {
	if err := h.unsubscribe(sub); err != nil {
		return err
	}
	if sub.Queue != "" {
		h.dropQueue(sub.Queue)
	}
	return nil
}

func (r *request) options() (*stanza.Element, bool, error) {
	n, name, err := r.node(broker.Look)
	if err != nil {
		return nil, false, err
	}
	sub, err := r.mine(n)
	if err != nil {
		return nil, false, err
	}
	return result(nsPubsub, stanza.New(nsPubsub, "options", "node", name, "jid", sub.JID).Add(form("form", formOptions, sub.fields(n)...))), false, nil
}

func (r *request) setOptions() (*stanza.Element, bool, error) {
	n, _, err := r.node(broker.Consume)
	if err != nil {
		return nil, false, err
	}
	from, cancelled, e := readForm(r.act, formOptions)
	if e != nil || cancelled {
		return nil, false, orNil(e)
	}
	r.h.changing.Lock()
	defer r.h.changing.Unlock()
	sub, err := r.mine(n)
	if err != nil {
		return nil, false, err
	}
	want := &subscription{JID: sub.JID, Node: sub.Node, Mode: sub.Mode, Receipts: sub.Receipts}
	if _, said := from[fieldKey]; !said {
		want.Keys = slices.Clone(sub.Keys)
	}
	if e := want.take(from); e != nil {
		return nil, false, e
	}
	return nil, false, r.enter(n, want, true)
}

// orNil is an error that is nil if e is.
func orNil(e *stanza.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// defaultOptions are those of who subscribes without.
func (r *request) defaultOptions() (*stanza.Element, bool, error) {
	var n *node
	if name := r.act.Attr("node"); name != "" {
		var err error
		if n, err = r.named(broker.Look, name); err != nil {
			return nil, false, err
		}
	}
	sub := subscription{Mode: modeAll}
	return result(nsPubsub, stanza.New(nsPubsub, "default").Add(form("form", formOptions, sub.fields(n)...))), false, nil
}

// subscriptions lists those of the account that asks, of all nodes or of one.
func (r *request) subscriptions() (*stanza.Element, bool, error) {
	list := stanza.New(nsPubsub, "subscriptions")
	var only *node
	if name := r.act.Attr("node"); name != "" {
		var err error
		if only, err = r.named(broker.Look, name); err != nil {
			return nil, false, err
		}
		list.Set("node", name)
	}
	for _, sub := range r.h.subscriptions(r.bare()) {
		if only == nil || sub.node.place == only.place {
			list.Add(stanza.New(nsPubsub, "subscription", "node", sub.Node, "jid", sub.JID, "subscription", "subscribed"))
		}
	}
	return result(nsPubsub, list), false, nil
}

// ownerSubscriptions lists those of a node.
func (r *request) ownerSubscriptions() (*stanza.Element, bool, error) {
	n, name, err := r.node(broker.Alter)
	if err != nil {
		return nil, false, err
	}
	list := stanza.New(nsOwner, "subscriptions", "node", name)
	for _, sub := range r.h.subscribers(n) {
		list.Add(stanza.New(nsOwner, "subscription", "node", name, "jid", sub.JID, "subscription", "subscribed"))
	}
	return result(nsOwner, list), false, nil
}

// setSubscriptions ends those of others.
func (r *request) setSubscriptions() (*stanza.Element, bool, error) {
	n, _, err := r.node(broker.Alter)
	if err != nil {
		return nil, false, err
	}
	r.h.changing.Lock()
	defer r.h.changing.Unlock()
	for _, s := range children(r.act, nsOwner, "subscription") {
		r.h.mu.Lock()
		sub := n.subs[s.Attr("jid")]
		r.h.mu.Unlock()
		switch state := s.Attr("subscription"); {
		case state == "none" && sub != nil:
			if err := r.h.end(sub); err != nil {
				return nil, false, err
			}
		case state == "none", state == "subscribed" && sub != nil:
		default:
			return nil, false, stanza.Fail("not-allowed", "who wants to be subscribed does it: only the end of a subscription can be set")
		}
	}
	return nil, false, nil
}

// affiliation is what an account may do with a node: what its permissions say.
func (r *request) affiliation(n *node) string {
	switch {
	case r.owns(n):
		return "owner"
	case r.reads(n) != nil || r.may(broker.Consume, n.place) != nil:
		if r.mayPublish(n) {
			return "publish-only"
		}
		return "none"
	case r.mayPublish(n):
		return "publisher"
	}
	return "member"
}

func (r *request) mayPublish(n *node) bool {
	exchange := ""
	if n.place.exchange {
		exchange = n.name
	}
	return r.p.Session().May(broker.Publish, broker.OnExchange, exchange) == nil
}

// affiliations lists the nodes that the account that asks has created, or what it may do with one.
func (r *request) affiliations() (*stanza.Element, bool, error) {
	list := stanza.New(nsPubsub, "affiliations")
	if name := r.act.Attr("node"); name != "" {
		n, err := r.named(broker.Look, name)
		if err != nil {
			return nil, false, err
		}
		return result(nsPubsub, list.Set("node", name).Add(stanza.New(nsPubsub, "affiliation", "node", name, "affiliation", r.affiliation(n)))), false, nil
	}
	for _, n := range r.h.owned(r.bare()) {
		list.Add(stanza.New(nsPubsub, "affiliation", "node", r.h.nameOf(n), "affiliation", r.affiliation(n)))
	}
	return result(nsPubsub, list), false, nil
}

// owned lists the nodes that an account has created, in the order of names.
func (h *host) owned(account string) (out []*node) {
	h.mu.Lock()
	for _, n := range h.nodes {
		if n.settings.Owner == account {
			out = append(out, n)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(out, func(a, b *node) int { return strings.Compare(a.nodeName(), b.nodeName()) })
	return out
}

// ownerAffiliations lists who owns a node: its creator, and who asks, who may configure it.
func (r *request) ownerAffiliations() (*stanza.Element, bool, error) {
	n, name, err := r.node(broker.Alter)
	if err != nil {
		return nil, false, err
	}
	list := stanza.New(nsOwner, "affiliations", "node", name)
	owner := r.h.settingsOf(n).Owner
	if owner == "" {
		owner = r.bare()
	}
	return result(nsOwner, list.Add(stanza.New(nsOwner, "affiliation", "jid", owner, "affiliation", "owner"))), false, nil
}

// setAffiliations is refused, but for what is so already.
func (r *request) setAffiliations() (*stanza.Element, bool, error) {
	if _, _, err := r.node(broker.Alter); err != nil {
		return nil, false, err
	}
	return nil, false, withFeature(stanza.Fail("not-allowed", "who may do what with a queue or exchange is said by the permissions of users"), "modify-affiliations")
}
