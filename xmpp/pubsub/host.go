package pubsub

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
)

// Keys of attachments.
const (
	keySettings     = "xmpp/node"
	keySubscription = "xmpp/sub/"
	keyPosition     = "xmpp/at/"
)

// host is what is kept of the nodes of one virtual host.
type host struct {
	s *Service
	v *broker.VHost

	changing sync.Mutex // held over a change that is written

	mu        sync.Mutex // guards the rest
	nodes     map[place]*node
	byAccount map[string]map[*subscription]struct{} // by bare address
	agents    map[string]*agent                     // by bare address
	dirty     map[*subscription]struct{}            // whose positions are to be written
	indexed   []*node                               // whose ids are known, the last used last
	purging   map[*broker.Queue]int                 // purges that clients here do, of which the broker tells as well
	replaced  map[any]*node                         // whose queue or exchange has another of its name in its place, until its end is told
}

func newHost(s *Service, v *broker.VHost) *host {
	h := &host{s: s, v: v, nodes: map[place]*node{}, byAccount: map[string]map[*subscription]struct{}{}, agents: map[string]*agent{},
		dirty: map[*subscription]struct{}{}, purging: map[*broker.Queue]int{}, replaced: map[any]*node{}}
	h.load()
	h.sweep()
	return h
}

// load reads what is attached. What can't be read is told and left alone.
func (h *host) load() {
	positions := map[place]map[string][]message.Offset{}
	for _, a := range h.v.Attachments() {
		if a.ToVHost {
			continue
		}
		at := place{a.ToExchange, a.Of}
		n := h.at(at)
		if n == nil {
			continue
		}
		var err error
		switch {
		case a.Key == keySettings:
			err = json.Unmarshal(a.Value, &n.settings)
		case strings.HasPrefix(a.Key, keySubscription):
			sub := new(subscription)
			if err = json.Unmarshal(a.Value, sub); err == nil {
				h.add(n, sub)
			}
		case strings.HasPrefix(a.Key, keyPosition):
			var list []message.Offset
			if err = json.Unmarshal(a.Value, &list); err == nil {
				if positions[at] == nil {
					positions[at] = map[string][]message.Offset{}
				}
				positions[at][strings.TrimPrefix(a.Key, keyPosition)] = list
			}
		default:
			continue
		}
		if err != nil {
			h.s.log.Error("what is kept of a pubsub node can't be read", "vhost", h.v.Name, "node", at.nodeName(), "key", a.Key, "error", err)
			continue
		}
		h.nodes[at] = n
	}
	for at, of := range positions {
		for jid, list := range of {
			if sub := h.nodes[at].subs[jid]; sub != nil {
				sub.positions, sub.written = list, slices.Clone(list)
			}
		}
	}
}

// sweep deletes queues of subscribers that no subscription has: a kill may have come between the end of an exchange and that
// of the queues of its subscribers.
func (h *host) sweep() {
	used := map[string]bool{}
	for _, of := range h.byAccount {
		for sub := range of {
			used[sub.Queue] = true
		}
	}
	for _, q := range h.v.Queues() {
		if strings.HasPrefix(q.Name, subscriberQueue) && !used[q.Name] {
			h.s.log.Info("deleting the queue of a pubsub subscriber whose subscription is gone", "vhost", h.v.Name, "queue", q.Name)
			h.dropQueue(q.Name)
		}
	}
}

// at is the node of a place: the one of which something is known, or one of its own; nil if there is no such queue or
// exchange. h.mu is held, or nobody else knows h.
func (h *host) at(p place) *node {
	have := h.nodes[p]
	if p.exchange {
		x, err := h.v.Exchange(p.name)
		switch {
		case err != nil || p.name == "":
			return nil
		case have != nil && have.exchange == x:
			return have
		}
		h.replace(have)
		return &node{place: p, exchange: x}
	}
	q, err := h.v.Queue(p.name)
	switch {
	case err != nil:
		return nil
	case have != nil && have.queue == q:
		return have
	}
	h.replace(have)
	return &node{place: p, queue: q}
}

// replace puts a node aside whose end was not told yet. h.mu is held.
func (h *host) replace(n *node) {
	if n != nil {
		delete(h.nodes, n.place)
		h.replaced[n.behind()] = n
	}
}

// behind is what is behind the node.
func (n *node) behind() any {
	if n.queue != nil {
		return n.queue
	}
	return n.exchange
}

// add has a subscription be there. h.mu is held.
func (h *host) add(n *node, sub *subscription) {
	if n.subs == nil {
		n.subs = map[string]*subscription{}
	}
	sub.node = n
	n.subs[sub.JID] = sub
	h.nodes[n.place] = n
	account := bareOf(sub.JID)
	if h.byAccount[account] == nil {
		h.byAccount[account] = map[*subscription]struct{}{}
	}
	h.byAccount[account][sub] = struct{}{}
}

// remove ends that. h.mu is held.
func (h *host) remove(sub *subscription) {
	if sub.node.subs[sub.JID] == sub {
		delete(sub.node.subs, sub.JID)
	}
	account := bareOf(sub.JID)
	delete(h.byAccount[account], sub)
	if len(h.byAccount[account]) == 0 {
		delete(h.byAccount, account)
	}
	delete(h.dirty, sub)
}

// bareOf is the account that an address is of.
func bareOf(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return bare
}

// find is the node that a client means; nil if there is none.
func (h *host) find(name string) *node {
	h.mu.Lock()
	defer h.mu.Unlock()
	if rest, ok := strings.CutPrefix(name, queuePrefix); ok {
		if n := h.at(place{false, rest}); n != nil {
			return n
		}
	}
	if rest, ok := strings.CutPrefix(name, exchangePrefix); ok {
		if n := h.at(place{true, rest}); n != nil {
			return n
		}
	}
	if n := h.at(place{false, name}); n != nil {
		return n
	}
	return h.at(place{true, name})
}

// settingsOf are what the owner says of a node.
func (h *host) settingsOf(n *node) settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return n.settings
}

// known is the node of which something is kept, if n is another one of the same. h.mu is held.
func (h *host) known(n *node) *node {
	if have := h.nodes[n.place]; have != nil && have.behind() == n.behind() {
		return have
	}
	return n
}

// attachment is one of a node; a nil value ends it.
func (n *node) attachment(key string, value any) broker.Attachment {
	a := broker.Attachment{ToExchange: n.place.exchange, Of: n.name, Key: key}
	if value != nil {
		a.Value, _ = json.Marshal(value) // of plain structs
	}
	return a
}

// keep writes settings of a node, and shows them. h.changing is held.
func (h *host) keep(n *node, to settings) error {
	if err := h.v.Attach(n.attachment(keySettings, &to)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n = h.known(n)
	n.settings = to
	h.nodes[n.place] = n
	return nil
}

// subscribe writes a subscription, and has its account's agent read for it. h.changing is held.
func (h *host) subscribe(n *node, sub *subscription) error {
	list := []broker.Attachment{n.attachment(keySubscription+sub.JID, sub)}
	if sub.positions != nil {
		list = append(list, n.attachment(keyPosition+sub.JID, sub.positions))
	}
	if err := h.v.Attach(list...); err != nil {
		return err
	}
	h.mu.Lock()
	n = h.known(n)
	if old := n.subs[sub.JID]; old != nil {
		h.remove(old)
	}
	sub.written = slices.Clone(sub.positions)
	h.add(n, sub)
	a := h.agents[bareOf(sub.JID)]
	h.mu.Unlock()
	if a != nil {
		a.look()
	}
	return nil
}

// unsubscribe ends a subscription. h.changing is held.
func (h *host) unsubscribe(sub *subscription) error {
	n := sub.node
	list := []broker.Attachment{n.attachment(keySubscription+sub.JID, nil), n.attachment(keyPosition+sub.JID, nil)}
	if err := h.v.Attach(list...); err != nil && broker.KindOf(err) != broker.NotFound {
		return err
	}
	h.mu.Lock()
	h.remove(sub)
	a := h.agents[bareOf(sub.JID)]
	h.mu.Unlock()
	if a != nil {
		a.look()
	}
	return nil
}

// subscriptions lists those of an account, in the order of nodes and addresses.
func (h *host) subscriptions(account string) []*subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Keys(h.byAccount[account]), func(a, b *subscription) int {
		return strings.Compare(a.Node+"\x00"+a.JID, b.Node+"\x00"+b.JID)
	})
}

// subscribers lists a node's subscriptions in the order of addresses.
func (h *host) subscribers(n *node) []*subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(n.subs), func(a, b *subscription) int { return strings.Compare(a.JID, b.JID) })
}

// moved notes that a subscriber has acknowledged everything before an offset of a partition. It is written within
// positionsEvery.
func (h *host) moved(sub *subscription, partition int, to message.Offset) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(sub.positions) <= partition {
		sub.positions = append(sub.positions, 0)
	}
	if to <= sub.positions[partition] {
		return
	}
	sub.positions[partition] = to
	if sub.node.subs[sub.JID] == sub {
		h.dirty[sub] = struct{}{}
	}
}

// positionsEvery is how long a kill can make a subscriber get again what it has acknowledged.
const positionsEvery = time.Second

// save writes the positions that have moved.
func (h *host) save() {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.mu.Lock()
	var list []broker.Attachment
	for sub := range h.dirty {
		if !slices.Equal(sub.positions, sub.written) {
			sub.written = slices.Clone(sub.positions)
			list = append(list, sub.node.attachment(keyPosition+sub.JID, sub.written))
		}
	}
	clear(h.dirty)
	h.mu.Unlock()
	for len(list) > 0 {
		n := min(len(list), 256)
		if err := h.v.Attach(list[:n]...); err != nil {
			h.saveEach(list[:n])
		}
		list = list[n:]
	}
}

// saveEach is save where one of several could not be written: of a queue that was deleted meanwhile.
func (h *host) saveEach(list []broker.Attachment) {
	for _, a := range list {
		if err := h.v.Attach(a); err != nil && broker.KindOf(err) != broker.NotFound && !h.v.Gone() {
			h.s.log.Error("how far a pubsub subscriber has come can't be written; it may get items twice", "vhost", h.v.Name, "node", a.Of, "error", err)
		}
	}
}

// gone forgets the node of a queue or exchange that was deleted, and returns it with its subscriptions; nil if nothing
// was known of it.
func (h *host) gone(p place, behind any) (*node, []*subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.replaced[behind]
	if delete(h.replaced, behind); n == nil {
		if n = h.nodes[p]; n == nil || n.behind() != behind {
			return nil, nil
		}
		delete(h.nodes, p)
	}
	h.unindex(n)
	subs := slices.Collect(maps.Values(n.subs))
	for _, sub := range subs {
		h.remove(sub)
	}
	return n, subs
}
