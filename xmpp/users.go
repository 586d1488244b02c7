package xmpp

import (
	"encoding/json"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// What a user leaves goes with it: its contacts, what others have said of it, the messages that wait for it, and what
// services keep (see UserKeeper). A kill may come between; what is left then goes at the next start.

// UserKeeper is a Service that keeps something of accounts.
type UserKeeper interface {
	// UserDeleted is told that a user of the domain's virtual host is gone. It may write to a disk.
	UserDeleted(v *broker.VHost, account stanza.JID)
	// Accounts are those of which something is kept in a virtual host, of whatever domain.
	Accounts(v *broker.VHost) []stanza.JID
}

// keyOffline marks the queues of offline messages that were made here.
const keyOffline = "xmpp.offline"

// userDeleted drops what is kept of a user who was deleted.
func (s *Server) userDeleted(name string) {
	for _, d := range s.domains {
		account := stanza.JID{Local: stanza.Escape(name), Domain: d.name}
		s.registry.endWaiting(account)
		v, err := d.vhostOf()
		if err != nil {
			continue
		}
		s.dropRoster(d, v, account)
		s.dropOffline(v, name)
		for _, service := range s.opts.Services {
			if keeper, ok := service.(UserKeeper); ok {
				keeper.UserDeleted(v, account)
			}
		}
	}
}

// dropRoster ends the contacts of an account, on both sides.
func (s *Server) dropRoster(d *domain, v *broker.VHost, account stanza.JID) {
	var words []word
	err := d.change(func(t *draft) error {
		for text := range s.rosters.of(v, account.String()).contacts {
			if jid, err := stanza.ParseJID(text); err == nil {
				words = append(words, t.part(account, jid)...)
			}
		}
		return nil
	})
	if err != nil {
		s.opts.Logger.Error("the contacts of a user who was deleted can't be dropped; the next start tries again", "listener", "xmpp", "account", account.String(), "error", err)
		return
	}
	d.tell(words)
}

// dropOffline deletes the queue of a user's offline messages.
func (s *Server) dropOffline(v *broker.VHost, name string) {
	session := v.NewInnerSession()
	defer session.Close()
	if _, err := session.DeleteQueue(offlinePrefix+name, false, false); err != nil && broker.KindOf(err) != broker.NotFound && !v.Gone() {
		s.opts.Logger.Error("the messages that wait for a user who was deleted can't be dropped; the next start tries again", "listener", "xmpp", "queue", offlinePrefix+name, "error", err)
	}
}

// markOffline notes that a queue of offline messages was made here.
func markOffline(v *broker.VHost, queue string) error {
	return v.Attach(broker.Attachment{Of: queue, Key: keyOffline, Value: json.RawMessage("true")})
}

// sweep drops what is left of users who are gone.
func (s *Server) sweep() {
	gone := map[string]bool{}
	for _, d := range s.domains {
		v, err := d.vhostOf()
		if err != nil {
			continue
		}
		for _, user := range s.usersOf(d, v) {
			if !s.opts.Users.Has(user) {
				gone[user] = true
			}
		}
	}
	for user := range gone {
		if s.stopping.Err() == nil {
			s.opts.Logger.Info("dropping what is left of a user who was deleted", "listener", "xmpp", "user", user)
			s.userDeleted(user)
		}
	}
}

// usersOf lists those of whom something is kept.
func (s *Server) usersOf(d *domain, v *broker.VHost) (users []string) {
	of := func(jid stanza.JID) {
		if jid.Domain == d.name && jid.Local != "" {
			users = append(users, stanza.Unescape(jid.Local))
		}
	}
	for _, a := range v.Attachments() {
		if account, ok := strings.CutPrefix(a.Of, rosterPrefix); ok && a.ToVHost {
			if jid, err := stanza.ParseJID(account); err == nil {
				of(jid)
			}
		} else if a.Key == keyOffline && !a.ToVHost && !a.ToExchange {
			users = append(users, strings.TrimPrefix(a.Of, offlinePrefix))
		}
	}
	for _, service := range s.opts.Services {
		if keeper, ok := service.(UserKeeper); ok {
			for _, jid := range keeper.Accounts(v) {
				of(jid)
			}
		}
	}
	return users
}
