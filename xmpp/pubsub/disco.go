package pubsub

import (
	"slices"
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// features are what the service can do, as XEP-0060 calls it.
var features = []string{
	"access-open", "access-whitelist", "config-node", "config-node-max", "create-and-configure", "create-nodes", "delete-nodes",
	"instant-nodes", "item-ids", "manage-subscriptions", "meta-data", "multi-items", "persistent-items", "publish",
	"publish-options", "publisher-affiliation", "purge-nodes", "retrieve-affiliations", "retrieve-default", "retrieve-default-sub", "retrieve-items",
	"retrieve-subscriptions", "rsm", "subscribe", "subscription-options",
}

const (
	// maxListed is how many nodes an answer lists; who wants more asks for pages.
	maxListed = 1000
)

// info describes the service, or a node.
func (r *request) info() (*stanza.Element, bool, error) {
	name := r.pubsub.Attr("node")
	if name == "" {
		all := []string{nsDiscoInfo, nsDiscoItems, nsPubsub, nsForm, nsRSM, nsShim, nsPing}
		for _, f := range features {
			all = append(all, nsPubsub+"#"+f)
		}
		return xmpp.Info("", "pubsub", "service", "Leveret's queues and exchanges", all...), false, nil
	}
	n, err := r.named(broker.Look, name)
	if err != nil {
		return nil, false, err
	}
	kind := "leaf"
	if n.place.exchange {
		kind = "collection"
	}
	of := r.h.settingsOf(n)
	q := xmpp.Info(name, "pubsub", kind, of.Title, nsPubsub)
	fields := of.fields()[:3]
	fields = append(fields, formField{name: "pubsub#access_model", values: []string{of.accessModel()}}, formField{name: "pubsub#max_items", values: []string{of.maxItems()}},
		formField{name: "pubsub#num_subscribers", values: []string{strconv.Itoa(len(r.h.subscribers(n)))}})
	if of.Owner != "" {
		fields = append(fields, formField{name: "pubsub#owner", values: []string{of.Owner}})
	}
	if !of.Created.IsZero() {
		fields = append(fields, formField{name: "pubsub#creation_date", values: []string{of.Created.UTC().Format("2006-01-02T15:04:05Z")}})
	}
	return q.Add(form("result", formMeta, fields...)), false, nil
}

// list lists the nodes, or the items of one.
func (r *request) list() (*stanza.Element, bool, error) {
	if name := r.pubsub.Attr("node"); name != "" {
		return r.listItems(name)
	}
	set := r.pubsub.Child(nsRSM, "set")
	asked := rsmSet{max: maxListed}
	if set != nil {
		var e *stanza.Error
		if asked, e = readSet(set); e != nil {
			return nil, false, e
		}
	}
	all := r.nodes()
	list, first := all, 0
	switch {
	case asked.before != nil && *asked.before == "":
		first = max(0, len(all)-asked.limit())
		list = all[first:]
	case asked.before != nil:
		i, _ := slices.BinarySearchFunc(all, *asked.before, func(n listed, name string) int { return strings.Compare(n.name, name) })
		first = max(0, i-asked.limit())
		list = all[first:i]
	case asked.after != nil:
		i, found := slices.BinarySearchFunc(all, *asked.after, func(n listed, name string) int { return strings.Compare(n.name, name) })
		if first = i; found {
			first++
		}
		list = all[first:]
	}
	list = list[:min(len(list), asked.limit())]
	q := stanza.New(nsDiscoItems, "query")
	service := r.iq.Attr("to")
	for _, n := range list {
		e := stanza.New(nsDiscoItems, "item", "jid", service, "node", n.name)
		if n.title != "" {
			e.Set("name", n.title)
		}
		q.Add(e)
	}
	if set != nil || len(list) < len(all) {
		out := stanza.New(nsRSM, "set")
		if len(list) > 0 {
			out.Add(stanza.New(nsRSM, "first", "index", strconv.Itoa(first)).AddText(list[0].name), stanza.New(nsRSM, "last").AddText(list[len(list)-1].name))
		}
		q.Add(out.Add(stanza.New(nsRSM, "count").AddText(strconv.Itoa(len(all)))))
	}
	return q, false, nil
}

func (s *rsmSet) limit() int {
	if s.max < 0 {
		return maxListed
	}
	return min(s.max, maxListed)
}

// listed is a node in a list.
type listed struct{ name, title string }

// nodes are the queues and exchanges that the client may see, in the order of names; the queues of subscribers are
// left out.
func (r *request) nodes() (out []listed) {
	seen := map[string]bool{}
	add := func(p place) {
		r.h.mu.Lock()
		l := listed{name: p.nodeName()}
		if n := r.h.at(p); n != nil {
			l = listed{r.h.nameOf0(n), n.settings.Title}
		}
		r.h.mu.Unlock()
		if seen[l.name] {
			l.name = p.nodeName()
		}
		seen[l.name] = true
		out = append(out, l)
	}
	for _, q := range r.p.Session().Queues() {
		if !strings.HasPrefix(q.Name, subscriberQueue) && stanza.Carries([]byte(q.Name)) {
			add(place{false, q.Name})
		}
	}
	for _, x := range r.h.v.Exchanges() {
		if x.Name != "" && stanza.Carries([]byte(x.Name)) && r.may(broker.Look, place{true, x.Name}) == nil {
			add(place{true, x.Name})
		}
	}
	slices.SortFunc(out, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return out
}

// nameOf is what a node is called: as its creator did, if that leads to it.
func (h *host) nameOf(n *node) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.nameOf0(n)
}

// nameOf0 is nameOf with h.mu held.
func (h *host) nameOf0(n *node) string {
	name := n.settings.Name
	if name == "" {
		return n.nodeName()
	}
	if n.place.exchange && name == n.name && h.at(place{false, name}) != nil {
		return n.nodeName() // a queue of that name came since
	}
	return name
}

// listItems lists the last items of a node by their ids.
func (r *request) listItems(name string) (*stanza.Element, bool, error) {
	n, err := r.named(broker.Consume, name)
	if err != nil {
		return nil, false, err
	}
	if err := r.reads(n); err != nil {
		return nil, false, err
	}
	q := stanza.New(nsDiscoItems, "query", "node", name)
	of := r.h.settingsOf(n)
	if n.place.exchange || of.Transient {
		return q, false, nil
	}
	r.p.Flush()
	limit := maxItems
	if of.MaxItems > 0 {
		limit = min(limit, of.MaxItems)
	}
	list, err := r.last(n, nil, limit)
	if err != nil {
		return nil, false, err
	}
	for _, it := range list {
		q.Add(stanza.New(nsDiscoItems, "item", "jid", r.iq.Attr("to"), "name", it.id))
	}
	return q, false, nil
}
