package access

import (
	"errors"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// guestName is the user who may log in from this machine only, as in RabbitMQ.
const guestName = "guest"

// everybodyKnows tells whether it is the name of a user whose first password everybody knows.
func (o *Options) everybodyKnows(user string) bool { return user == guestName || user == o.DefaultUser }

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
	switch {
	case name == "", k.opts.NoFirst && len(old.users) == 0:
		return nil
	case len(old.users) > 0:
		k.behind.Go(k.compareDefault)
		return nil
	}
	all := Permission{VHost: k.opts.DefaultVHost, User: name, Configure: ".*", Write: ".*", Read: ".*"}
	r := &userRecord{Name: name, Tags: []string{TagAdministrator}, WellKnown: password == wellKnownPassword}
	p := old.copy()
	if err := errors.Join(p.putUser(r), p.putPermission(all)); err != nil {
		return err
	}
	if err := k.publish(old, p); err != nil {
		return err
	}
	if err := k.logins.PutPassword(r.login(&k.opts), password); err != nil {
		return err
	}
	k.made = name
	k.first = make(chan struct{})
	k.logins.Await(k.first)
	k.behind.Go(func() {
		defer close(k.first)
		if err := k.storeDefault(r, all, password); err != nil {
			k.opts.Log.Error("can't store the default user; it is there until the broker stops", "user", name, "error", err)
		}
	})
	return nil
}

// settle gives the default user that was just made all permissions in the virtual hosts
// that there are, if the one it was to have is not among them: the data may be older than
// users are.
func (k *Keeper) settle(b *broker.Broker) error {
	if _, err := b.VHost(k.opts.DefaultVHost); err == nil || k.made == "" {
		return nil
	}
	return k.Change(audit.Process("first start"), func(d *Draft) error {
		for _, v := range b.VHosts() {
			if err := d.SetPermission(Permission{VHost: v.Name, User: k.made, Configure: ".*", Write: ".*", Read: ".*"}); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeDefault writes the default user, as far as that was not changed meanwhile.
func (k *Keeper) storeDefault(r *userRecord, all Permission, password string) error {
	s, err := k.opts.newSecret(r.Name, []byte(password))
	if err != nil {
		return err
	}
	return k.Change(audit.Process("first start"), func(d *Draft) error {
		switch d.picture.users[r.Name] {
		case nil:
			return nil
		case r:
			d.note(audit.PutUser, "", r.Name, "")
			hashed := *r
			hashed.setSecret(s)
			if err := d.put(store.Key(prefixUser, r.Name), &hashed); err != nil {
				return err
			}
		}
		if g := d.picture.permissions[grant{all.VHost, all.User}]; g == nil || g.Permission != all {
			return nil
		}
		return d.put(store.Key(prefixPermission, all.VHost, all.User), permissionRecord(all))
	})
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
		"do", "log in as a user that is stored, or change users and passwords with a file of --definitions")
}
