package access

import (
	"fmt"
	"slices"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/pattern"
)

// Tags that say what a user may do with the broker as a whole.
const (
	TagAdministrator = "administrator"
	TagMonitoring    = "monitoring"
)

// Policy is the broker's: it answers by what is stored now. It waits for nothing.
//
//	of a name     by the permission of the user and virtual host: the pattern of the verb's right, or any of the three
//	vhost         whoever has a permission there
//	cluster       to look: tags administrator and monitoring; to change: administrator;
//	              to write (an id for an idempotent producer): whoever may write to anything
func (k *Keeper) Policy(q broker.Request) error {
	p := k.current.Load()
	u := p.users[q.User]
	if u == nil {
		return &broker.Error{Kind: broker.Refused, Text: fmt.Sprintf("user '%s' is deleted", q.User), On: q.On.Kind}
	}
	g := p.permissions[grant{q.VHost, q.User}]
	if g != nil && g.allows(u, q) {
		return nil
	}
	return broker.ErrDenied
}

func (g *granted) allows(u *userRecord, q broker.Request) bool {
	right := q.Verb.Right()
	switch {
	case q.On.Kind == broker.OnVHost:
		return true
	case q.On.Kind == broker.OnCluster && right == broker.RightWrite:
		return !g.write.Nothing()
	case q.On.Kind == broker.OnCluster:
		return slices.Contains(u.Tags, TagAdministrator) || right == broker.AnyRight && slices.Contains(u.Tags, TagMonitoring)
	}
	switch right {
	case broker.RightConfigure:
		return g.configure.Match(q.On.Name)
	case broker.RightWrite:
		return g.write.Match(q.On.Name)
	case broker.RightRead:
		return g.read.Match(q.On.Name)
	}
	return g.configure.Match(q.On.Name) || g.write.Match(q.On.Name) || g.read.Match(q.On.Name)
}

// Keys is the broker's KeyPolicy: which routing keys a topic permission leaves a user. A user
// without one for that exchange has all.
func (k *Keeper) Keys(q broker.KeyRequest) broker.Keys {
	t := k.current.Load().topics[grant{q.VHost, q.User}][q.Exchange]
	if t == nil {
		return nil
	}
	text := t.Read
	if q.Verb.Right() == broker.RightWrite {
		text = t.Write
	}
	known := pattern.Variables{"username": q.User, "vhost": q.VHost}
	if q.ClientID != "" {
		known["client_id"] = q.ClientID
	}
	keys, err := pattern.NewNames(known.Expand(text))
	if err != nil { // what stands for the variables makes it too long
		return nothing
	}
	return keys
}

// nothing is what is for no key at all.
var nothing broker.Keys = noKey{}

type noKey struct{}

func (noKey) MatchBytes([]byte) bool { return false }
