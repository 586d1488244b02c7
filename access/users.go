package access

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/audit"
)

// User is one user. What it refers to is the caller's own.
type User struct {
	Name   string
	Hash   auth.Hash        // "" when nobody can log in by a password, or by one that only Scram knows
	Scram  []auth.Mechanism // of which there are credentials
	Tags   []string
	Limits map[string]int64 // see broker.CheckLimit; -1 is no limit
	// WellKnown says that the password is the one that everybody knows.
	WellKnown bool
	// LoopbackOnly says that the user may log in from this machine only.
	LoopbackOnly bool
}

// NewUser is what is known of a user who is made or changed.
type NewUser struct {
	Name string
	Tags []string
	// Password is the password in clear; nil with Hash "" is nobody by password.
	Password *string
	// Hash is a stored password instead: what an Algorithm of RabbitMQ makes, or our own
	// text form.
	Hash      string
	Algorithm string
	// Limits replace those that there are; nil leaves them.
	Limits map[string]int64
}

// wellKnownPassword is the one that the default user has.
const wellKnownPassword = "guest"

// fill sets what is stored of the password. What comes as it came before, as it does from a
// file that is read at each start, leaves what there is.
func (u *NewUser) fill(d *Draft, r, old *userRecord) error {
	if u.Password != nil && u.Hash != "" {
		return bad("both_password_and_password_hash_are_provided")
	}
	keep := func() { r.Hash, r.Scram, r.Imported, r.WellKnown = old.Hash, old.Scram, old.Imported, old.WellKnown }
	if u.Password == nil {
		hash, err := auth.ImportHash(u.Algorithm, u.Hash)
		if err != nil {
			return bad("user '%s': %v", u.Name, err)
		}
		imported := digest(hash)
		if old != nil && hash != "" && (hash == old.Hash || bytes.Equal(imported, old.Imported)) {
			keep()
			return nil
		}
		r.Hash, r.Imported = hash, imported
		r.WellKnown = d.k.opts.everybodyKnows(u.Name) && !d.checking && hash.Matches([]byte(wellKnownPassword))
		return nil
	}
	if *u.Password == "" || d.checking {
		return nil // an empty password never logs in
	}
	if d.late != nil {
		if r.WellKnown = d.k.opts.everybodyKnows(u.Name) && *u.Password == wellKnownPassword; old != nil {
			keep()
		}
		*d.late = append(*d.late, latePassword{u.Name, *u.Password, r.secret()})
		return nil
	}
	if old != nil && len(old.Scram) > 0 && old.Hash.Matches([]byte(*u.Password)) {
		keep()
		return nil
	}
	s, err := d.k.opts.newSecret(u.Name, []byte(*u.Password))
	if err != nil {
		return err
	}
	r.setSecret(s)
	r.WellKnown = d.k.opts.everybodyKnows(u.Name) && *u.Password == wellKnownPassword
	return nil
}

// digest is what is remembered of a hash that came in; nil of none.
func digest(h auth.Hash) []byte {
	if h == "" {
		return nil
	}
	d := sha256.Sum256([]byte(h))
	return d[:]
}

// PutUser is Draft.PutUser as a change of its own. So are the others below.
func (k *Keeper) PutUser(by audit.Actor, u NewUser) error {
	return k.Change(by, func(d *Draft) error { return d.PutUser(u) })
}

// DeleteUser takes a user away.
func (k *Keeper) DeleteUser(by audit.Actor, name string) error {
	return k.Change(by, func(d *Draft) error { return d.DeleteUser(name) })
}

// SetUserLimit sets a limit of a user.
func (k *Keeper) SetUserLimit(by audit.Actor, name, limit string, n int64) error {
	return k.Change(by, func(d *Draft) error { return d.SetUserLimit(name, limit, n) })
}

// ClearUserLimit takes a limit of a user away.
func (k *Keeper) ClearUserLimit(by audit.Actor, name, limit string) error {
	return k.Change(by, func(d *Draft) error { return d.ClearUserLimit(name, limit) })
}

// User finds a user.
func (k *Keeper) User(name string) (User, error) {
	r := k.current.Load().users[name]
	if r == nil {
		return User{}, missing("no such user '%s'", name)
	}
	return r.user(&k.opts), nil
}

// Users lists the users, by name.
func (k *Keeper) Users() []User { return k.current.Load().listUsers(&k.opts) }

func (p *picture) listUsers(o *Options) []User {
	out := make([]User, 0, len(p.users))
	for _, r := range p.users {
		out = append(out, r.user(o))
	}
	slices.SortFunc(out, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Limits are those of a user. The map must not be changed.
func (k *Keeper) Limits(user string) map[string]int64 {
	if r := k.current.Load().users[user]; r != nil {
		return r.Limits
	}
	return nil
}

// Limit is a limit of a user, -1 when there is none.
func (k *Keeper) Limit(user, limit string) int64 {
	if r := k.current.Load().users[user]; r != nil {
		if n, ok := r.Limits[limit]; ok {
			return n
		}
	}
	return -1
}
