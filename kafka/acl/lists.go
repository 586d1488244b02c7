package acl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/pattern"
)

// Refused is what access lists here can't say, or what makes no sense in one.
type Refused struct{ text string }

func (r *Refused) Error() string { return r.text }

func refused(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// Actor is who changes lists.
type Actor = audit.Actor

// Lists are the access lists of all virtual hosts.
type Lists struct{ keeper *access.Keeper }

// New makes the lists of what a keeper keeps.
func New(k *access.Keeper) *Lists { return &Lists{k} }

// Describe calls emit for every entry that a filter chooses, by user, and ends with its first error.
func (l *Lists) Describe(vhost string, f Filter, emit func(Binding) error) error {
	if err := f.check(); err != nil {
		return err
	}
	for _, p := range l.keeper.Permissions() {
		if p.VHost != vhost || f.nobody(p.User) {
			continue
		}
		u, err := l.keeper.User(p.User)
		if err != nil {
			continue // deleted meanwhile
		}
		r := row{Permission: p, tags: u.Tags}
		for _, b := range r.bindings() {
			if !f.chooses(&b) {
				continue
			}
			if err := emit(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// Creation is an entry that is to be made.
type Creation struct {
	Binding
	Host       string
	Permission kmsg.ACLPermissionType
}

// Create makes entries, each by itself; what was wrong with which is told in their order. An
// error besides is that none was made.
func (l *Lists) Create(by Actor, vhost string, list []Creation) (each []error, err error) {
	err = l.keeper.Change(by, func(d *access.Draft) error {
		e := edit{draft: d, vhost: vhost, of: map[string]*row{}}
		each = make([]error, len(list))
		for _, implied := range []bool{false, true} { // what comes with others is looked at behind them
			for i := range list {
				c := &list[i]
				if c.implied() == implied {
					each[i] = e.create(c)
				}
			}
		}
		return e.save()
	})
	return each, err
}

// Deleted is what a filter took away.
type Deleted struct {
	Bindings []Binding
	Err      error
}

// Delete takes the entries away that filters choose, and with them those that were allowed
// by the same; all of them are told. An error besides is that nothing was.
func (l *Lists) Delete(by Actor, vhost string, filters []Filter) (each []Deleted, err error) {
	err = l.keeper.Change(by, func(d *access.Draft) error {
		e := edit{draft: d, vhost: vhost, of: map[string]*row{}}
		each = make([]Deleted, len(filters))
		for i := range filters {
			each[i].Bindings, each[i].Err = e.delete(&filters[i])
		}
		return e.save()
	})
	return each, err
}

// edit is a change under way.
type edit struct {
	draft *access.Draft
	vhost string
	rows  []*row          // in the order in which they were first asked for
	of    map[string]*row // by user
}

// row is the permission of a user, as far as the change has come.
func (e *edit) row(user string) (*row, error) {
	if r := e.of[user]; r != nil {
		return r, nil
	}
	u, err := e.draft.User(user)
	if err != nil {
		return nil, refused("%v", err)
	}
	p, ok := e.draft.Permission(e.vhost, user)
	if !ok {
		p = access.Permission{VHost: e.vhost, User: user, Configure: pattern.Join(nil), Write: pattern.Join(nil), Read: pattern.Join(nil)}
	}
	r := &row{Permission: p, tags: u.Tags}
	e.rows = append(e.rows, r)
	e.of[user] = r
	return r, nil
}

// save hands over what was changed.
func (e *edit) save() error {
	for _, r := range e.rows {
		if !r.changed {
			continue
		}
		if err := e.draft.SetPermission(r.Permission); err != nil {
			return err
		}
	}
	return nil
}

// create makes one entry.
func (e *edit) create(c *Creation) error {
	if err := c.check(); err != nil {
		return err
	}
	r, err := e.row(strings.TrimPrefix(c.Principal, userPrincipal))
	if err != nil {
		return err
	}
	if c.ResourceType == kmsg.ACLResourceTypeCluster {
		return r.hasOfCluster(c)
	}
	term, err := termOf(c.Name, c.PatternType)
	if err != nil {
		return err
	}
	o := c.operation()
	if o.implied() {
		if slices.ContainsFunc(r.granted(), func(g granted) bool { return g.Covers(term) }) {
			return nil
		}
		return refused("%s comes with other operations: allow Read, Write, Create, Delete or Alter", c.Operation)
	}
	return r.grant(o.of, term)
}

// grant adds a term to the patterns of some rights.
func (r *row) grant(of rights, term pattern.Term) error {
	next := *r
	for right := configure; right <= read; right <<= 1 {
		text := next.of(right)
		terms := pattern.Terms(*text)
		if of&right == 0 || slices.ContainsFunc(terms, term.Is) {
			continue
		}
		*text, next.changed = pattern.Join(append(terms, term)), true
		if _, err := pattern.NewNames(*text); err != nil {
			return refused("the permission would be too long: %v", err)
		}
	}
	*r = next
	return nil
}

// delete takes away what a filter chooses.
func (e *edit) delete(f *Filter) (gone []Binding, err error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	for _, user := range e.draft.UsersIn(e.vhost) {
		if f.nobody(user) {
			continue
		}
		r, err := e.row(user)
		if err != nil {
			return nil, err
		}
		some, err := r.revoke(f)
		if err != nil {
			return nil, err
		}
		gone = append(gone, some...)
	}
	return gone, nil
}

// revoke takes away what a filter chooses of a row.
func (r *row) revoke(f *Filter) (gone []Binding, err error) {
	before := r.bindings()
	for _, g := range r.granted() {
		b := Binding{Principal: userPrincipal + r.User}
		b.Name, b.PatternType = nameOf(g.Term)
		for _, b.ResourceType = range named {
			for _, o := range operations[b.ResourceType] {
				if b.Operation = o.op; o.allowed(g.rights) && f.chooses(&b) {
					gone = append(gone, b)
					if !o.implied() {
						r.take(o.of, g.Term)
					}
				}
			}
		}
	}
	after := r.bindings()
	for _, b := range before {
		switch {
		case slices.Contains(gone, b):
		case !slices.Contains(after, b):
			gone = append(gone, b)
		case b.ResourceType == kmsg.ACLResourceTypeCluster && f.ResourceType == b.ResourceType && f.chooses(&b):
			return nil, refused("%s on the cluster comes with %s: it can't be taken away by itself", b.Operation, comesWith(b.Operation))
		}
	}
	return gone, nil
}

// take takes a term out of the patterns of some rights.
func (r *row) take(of rights, term pattern.Term) {
	for right := configure; right <= read; right <<= 1 {
		text := r.of(right)
		terms := pattern.Terms(*text)
		if left := slices.DeleteFunc(terms, term.Is); of&right != 0 && len(left) < len(terms) {
			*text, r.changed = pattern.Join(left), true
		}
	}
}
