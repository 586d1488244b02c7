package pubsub

import (
	"maps"
	"slices"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

var _ xmpp.UserKeeper = (*Service)(nil)

// UserDeleted implements xmpp.UserKeeper: the subscriptions of the account end, with their queues and places, and nodes that
// it has created are nobody's.
func (s *Service) UserDeleted(v *broker.VHost, account stanza.JID) {
	h := s.host(v)
	bare := account.Bare().String()
	h.changing.Lock()
	defer h.changing.Unlock()
	for _, sub := range h.subscriptions(bare) {
		if err := h.end(sub); err != nil {
			s.cantDrop(v, sub.Node, bare, err)
		}
	}
	for _, n := range h.owned(bare) {
		to := h.settingsOf(n)
		to.Owner = ""
		if err := h.keep(n, to); err != nil && broker.KindOf(err) != broker.NotFound {
			s.cantDrop(v, n.nodeName(), bare, err)
		}
	}
}

func (s *Service) cantDrop(v *broker.VHost, node, account string, err error) {
	if !v.Gone() {
		s.log.Error("what a user who was deleted has at a pubsub node can't be dropped; the next start tries again", "vhost", v.Name, "node", node, "account", account, "error", err)
	}
}

// Accounts implements xmpp.UserKeeper.
func (s *Service) Accounts(v *broker.VHost) []stanza.JID {
	h := s.host(v)
	h.mu.Lock()
	defer h.mu.Unlock()
	known := map[string]bool{}
	for account := range h.byAccount {
		known[account] = true
	}
	for _, n := range h.nodes {
		if n.settings.Owner != "" {
			known[n.settings.Owner] = true
		}
	}
	var out []stanza.JID
	for _, account := range slices.Sorted(maps.Keys(known)) {
		if jid, err := stanza.ParseJID(account); err == nil {
			out = append(out, jid)
		}
	}
	return out
}
