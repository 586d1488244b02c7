package access

import (
	"net"
	"slices"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// ScramUsers lists the users who have SCRAM credentials, by name.
func (k *Keeper) ScramUsers() []string {
	var out []string
	for name, r := range k.current.Load().users {
		if len(r.Scram) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// ScramCredentials are those of a user; none of one who is not there. They must not be changed.
func (k *Keeper) ScramCredentials(user string) []auth.Credential {
	if r := k.current.Load().users[user]; r != nil {
		return r.secret().Credentials
	}
	return nil
}

// AlterScram is Draft.AlterScram as a change of its own, by who asks for it over Kafka.
func (k *Keeper) AlterScram(by auth.Identity, from net.Addr, user string, put []auth.Credential, drop []auth.Mechanism) error {
	actor := audit.Actor{User: by.Name, From: from.String(), Protocol: "kafka"}
	return k.Change(actor, func(d *Draft) error { return d.AlterScram(user, put, drop) })
}

// AlterScram puts credentials of a user, who is made when there is none, and takes some away.
// What is put is of a new password: nothing that was known of the old one stays. It is known
// in every form again once the user has logged in with it.
func (d *Draft) AlterScram(user string, put []auth.Credential, drop []auth.Mechanism) error {
	d.note(audit.PutUser, "SCRAM credentials", user, "")
	r := &userRecord{Name: user}
	if old := d.picture.users[user]; old != nil {
		changed := *old
		r = &changed
	}
	for _, m := range drop {
		i := slices.IndexFunc(r.Scram, func(c credentialRecord) bool { return c.Mechanism == m })
		if i < 0 {
			return missing("user '%s' has no credential for %s", user, m)
		}
		r.Scram = slices.Delete(slices.Clone(r.Scram), i, i+1)
	}
	if len(put) > 0 {
		r.setSecret(auth.Secret{Credentials: put})
		r.Imported, r.WellKnown = nil, d.k.opts.everybodyKnows(user) && slices.ContainsFunc(put, isWellKnown)
	}
	if err := checkUser(r); err != nil {
		return err
	}
	return d.put(store.Key(prefixUser, user), r)
}

// isWellKnown tells whether a credential is of the password that everybody knows.
func isWellKnown(c auth.Credential) bool { return c.Matches([]byte(wellKnownPassword)) }
