package access

import (
	"cmp"
	"slices"

	"github.com/leveret-mq/leveret/internal/audit"
)

// Permission is what a user may do in a virtual host: three patterns of names. A user
// without one may not enter it.
type Permission struct{ VHost, User, Configure, Write, Read string }

// TopicPermission bounds, for one topic exchange, the routing keys that a user may
// publish with and the binding keys that a user may bind with.
type TopicPermission struct{ VHost, User, Exchange, Write, Read string }

// SetPermission is Draft.SetPermission as a change of its own. So are the others below.
func (k *Keeper) SetPermission(by audit.Actor, p Permission) error {
	return k.Change(by, func(d *Draft) error { return d.SetPermission(p) })
}

// ClearPermission shuts a user out of a virtual host.
func (k *Keeper) ClearPermission(by audit.Actor, vhost, user string) error {
	return k.Change(by, func(d *Draft) error { return d.ClearPermission(vhost, user) })
}

// SetTopicPermission bounds routing keys.
func (k *Keeper) SetTopicPermission(by audit.Actor, p TopicPermission) error {
	return k.Change(by, func(d *Draft) error { return d.SetTopicPermission(p) })
}

// ClearTopicPermission takes the bounds for one exchange away.
func (k *Keeper) ClearTopicPermission(by audit.Actor, vhost, user, exchange string) error {
	return k.Change(by, func(d *Draft) error { return d.ClearTopicPermission(vhost, user, exchange) })
}

// ClearTopicPermissions takes the bounds for all exchanges of a virtual host away.
func (k *Keeper) ClearTopicPermissions(by audit.Actor, vhost, user string) error {
	return k.Change(by, func(d *Draft) error { return d.ClearTopicPermissions(vhost, user) })
}

// Permissions lists all permissions, by virtual host and user.
func (k *Keeper) Permissions() []Permission { return k.current.Load().listPermissions() }

func (p *picture) listPermissions() []Permission {
	out := make([]Permission, 0, len(p.permissions))
	for _, g := range p.permissions {
		out = append(out, g.Permission)
	}
	slices.SortFunc(out, func(a, b Permission) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.User, b.User))
	})
	return out
}

// Home is the one virtual host that a user may enter, "" when there are several or none.
func (k *Keeper) Home(user string) (vhost string) {
	for g := range k.current.Load().permissions {
		if g.user != user {
			continue
		}
		if vhost != "" {
			return ""
		}
		vhost = g.vhost
	}
	return vhost
}

// Permission finds the permission of a user in a virtual host.
func (k *Keeper) Permission(vhost, user string) (Permission, bool) {
	g := k.current.Load().permissions[grant{vhost, user}]
	if g == nil {
		return Permission{}, false
	}
	return g.Permission, true
}

// TopicPermissions lists all topic permissions, by virtual host, user and exchange.
func (k *Keeper) TopicPermissions() []TopicPermission { return k.current.Load().listTopicPermissions() }

func (p *picture) listTopicPermissions() []TopicPermission {
	var out []TopicPermission
	for _, of := range p.topics {
		for _, g := range of {
			out = append(out, g.TopicPermission)
		}
	}
	slices.SortFunc(out, func(a, b TopicPermission) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.User, b.User), cmp.Compare(a.Exchange, b.Exchange))
	})
	return out
}
