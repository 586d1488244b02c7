package access

import (
	"reflect"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// latePassword is one in clear that is hashed, or compared with what is stored, behind a change.
type latePassword struct {
	name, password string
	was            auth.Secret // what is stored behind the change
}

// ChangeBehind is Change for a start, which must not take as long as hashing does: passwords in clear are
// hashed behind it, and compared with what is stored before that. Until that is done nobody logs in by a password, whatever
// the name, as the old one must not be good any more. A kill in between leaves new users without a
// password, which the same change then gives them at the next start.
func (k *Keeper) ChangeBehind(by audit.Actor, edit func(*Draft) error) error {
	var late []latePassword
	ready := make(chan struct{})
	first := k.first // is awaited until here, and is no more
	k.logins.Await(ready)
	err := k.change(by, edit, &late)
	k.behind.Go(func() {
		defer close(ready)
		if first != nil {
			<-first
		}
		for _, p := range late {
			if err := k.setLate(by, &p); err != nil {
				k.opts.Log.Error("can't store a password; the user can't log in by it until the next start", "user", p.name, "error", err)
			}
		}
	})
	return err
}

// setLate hashes a password and stores it, unless it was changed meanwhile or is the one that is stored.
func (k *Keeper) setLate(by audit.Actor, p *latePassword) error {
	if len(p.was.Credentials) > 0 && p.was.Hash.Matches([]byte(p.password)) {
		return nil
	}
	s, err := k.opts.newSecret(p.name, []byte(p.password))
	if err != nil {
		return err
	}
	return k.Change(by, func(d *Draft) error {
		r := d.picture.users[p.name]
		if r == nil || !reflect.DeepEqual(r.secret(), p.was) {
			return nil
		}
		d.note(audit.PutUser, "password", p.name, "")
		changed := *r
		changed.setSecret(s)
		changed.Imported, changed.WellKnown = nil, k.opts.everybodyKnows(p.name) && p.password == wellKnownPassword
		return d.put(store.Key(prefixUser, p.name), &changed)
	})
}
