package access

import (
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
)

// Administrator is the tag of those who may do everything.
const Administrator = "administrator"

// guestName is the user who may log in from this machine only, as in RabbitMQ.
const guestName = "guest"

// wellKnown tells whether it is the password that everybody knows, of a user whom
// everybody knows.
func (o *Options) wellKnown(user, password string) bool {
	return password == wellKnownPassword && (user == guestName || user == o.DefaultUser)
}

// loopbackOnly is the rule who may log in from this machine only: whose password
// everybody knows, and guest, unless the configuration gives guest another password.
func (o *Options) loopbackOnly(r *userRecord) bool {
	freed := o.DefaultUser == guestName && o.DefaultPassword != wellKnownPassword
	return !o.Remote && (r.WellKnown || r.Name == guestName && !freed)
}

// firstUser makes the default user when there is no user. Its password is hashed and
// written behind the start, which that would double. Needs k.mu.
func (k *Keeper) firstUser() error {
	old := k.current.Load()
	name, password := k.opts.DefaultUser, k.opts.DefaultPassword
	if len(old.users) > 0 {
		k.behind.Go(k.compareDefault)
		return nil
	}
	all := Permission{VHost: broker.DefaultVHost, User: name, Configure: ".*", Write: ".*", Read: ".*"}
	r := &userRecord{Name: name, Tags: []string{Administrator}, WellKnown: k.opts.wellKnown(name, password)}
	p := old.copy()
	if err := p.putUser(r); err != nil {
		return err
	}
	if err := p.putPermission(all); err != nil {
		return err
	}
	if err := k.publish(old, p); err != nil {
		return err
	}
	if password != "" {
		if err := k.logins.PutPassword(r.login(&k.opts), password); err != nil {
			return err
		}
	}
	k.behind.Go(func() { k.storeDefault(r, all, password) })
	return nil
}

// storeDefault writes the default user, unless that was changed meanwhile.
func (k *Keeper) storeDefault(r *userRecord, all Permission, password string) {
	var hash auth.Hash
	if password != "" {
		hash = auth.HashPassword([]byte(password))
	}
	by := audit.Process("default user")
	err := k.Change(by, func(d *Draft) error {
		d.note(audit.PutUser, "", r.Name, "")
		if d.picture.users[r.Name] == r {
			hashed := *r
			hashed.Hash = hash
			if err := d.put(keyOf(prefixUser, r.Name), &hashed); err != nil {
				return err
			}
		}
		g := d.picture.permissions[grant{all.VHost, all.User}]
		if g == nil || g.Permission != all {
			return nil
		}
		return d.put(keyOf(prefixPermission, all.VHost, all.User), permissionRecord(all))
	})
	if err != nil {
		k.opts.Log.Error("can't store the default user; it is there until the broker stops", "user", r.Name, "error", err)
	}
}

// compareDefault says when the configuration asks for a default user or password that is
// not the one that is stored.
func (k *Keeper) compareDefault() {
	name, password := k.opts.DefaultUser, k.opts.DefaultPassword
	if password == wellKnownPassword && name == guestName {
		return // nobody asked for anything
	}
	r := k.current.Load().users[name]
	why := ""
	switch {
	case r == nil:
		why = "there is no such user, and others are stored already"
	case !r.Hash.Matches([]byte(password)):
		why = "the user is stored with another password"
	default:
		return
	}
	k.opts.Log.Warn("the default user of the configuration is left aside: it is made only when no user is stored", "user", name, "why", why,
		"do", "log in as a user that is stored, or change users and passwords with a definitions file")
}
