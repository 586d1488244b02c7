package access

import (
	"maps"
	"reflect"
	"slices"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// Draft is a change under way. It is used by the function that Change was given, during
// the call.
type Draft struct {
	k        *Keeper
	picture  *picture
	entries  map[string][]byte // by key; nil takes it away
	acts     []act
	checking bool            // nothing of it will be done
	vhosts   []string        // taken to be there
	late     *[]latePassword // for those that are hashed later; nil hashes them
}

// act is one line of the audit.
type act struct {
	act       audit.Act
	on, vhost string
}

func (k *Keeper) draft(p *picture) *Draft {
	return &Draft{k: k, picture: p.copy(), entries: map[string][]byte{}}
}

// note is what is said of an act: on whom, and what of the user.
func (d *Draft) note(a audit.Act, what, user, vhost string) {
	on := "user '" + user + "'"
	if what != "" {
		on = what + " of " + on
	}
	d.acts = append(d.acts, act{a, on, vhost})
}

// put writes a record, in the picture and for the table.
func (d *Draft) put(key string, v any) error {
	e, err := encodeRecord(key, v)
	if err == nil {
		err = d.picture.load(e)
	}
	if err == nil {
		d.entries[key] = e.Value
	}
	return err
}

// unnoted is the end of an act that changes nothing, as most do that come from a file that is read at
// each start: nothing is written and nothing said.
func (d *Draft) unnoted() error {
	d.acts = d.acts[:len(d.acts)-1]
	return nil
}

// drop takes a record away.
func (d *Draft) drop(key string) error {
	d.entries[key] = nil
	return d.picture.load(store.Entry{Key: key})
}

func (d *Draft) hasVHost(name string) error {
	if slices.Contains(d.vhosts, name) {
		return nil
	}
	return d.k.hasVHost(name)
}

func (d *Draft) hasUser(name string) error {
	if d.picture.users[name] == nil {
		return missing("no such user '%s'", name)
	}
	return nil
}

// PutUser makes a user, or changes one. What NewUser leaves open of one who is there
// stays as it is, but for the password.
func (d *Draft) PutUser(u NewUser) error {
	d.note(audit.PutUser, "", u.Name, "")
	r := &userRecord{Name: u.Name, Tags: tidyTags(u.Tags)}
	old := d.picture.users[u.Name]
	if old != nil {
		r.Limits = old.Limits
	}
	if u.Limits != nil {
		r.Limits = maps.Clone(u.Limits)
	}
	if err := u.fill(d, r, old); err != nil {
		return err
	}
	if err := checkUser(r); err != nil {
		return err
	}
	if old != nil && reflect.DeepEqual(old.tidy(), r.tidy()) {
		return d.unnoted()
	}
	return d.put(store.Key(prefixUser, r.Name), r)
}

// User finds a user, as the change has it by now.
func (d *Draft) User(name string) (User, error) {
	if err := d.hasUser(name); err != nil {
		return User{}, err
	}
	return d.picture.users[name].user(&d.k.opts), nil
}

// Permission finds a permission, as the change has it by now.
func (d *Draft) Permission(vhost, user string) (p Permission, ok bool) {
	g := d.picture.permissions[grant{vhost, user}]
	if g == nil {
		return p, false
	}
	return g.Permission, true
}

// UsersIn are those who have a permission in a virtual host, by name.
func (d *Draft) UsersIn(vhost string) []string {
	var out []string
	for g := range d.picture.permissions {
		if g.vhost == vhost {
			out = append(out, g.user)
		}
	}
	slices.Sort(out)
	return out
}

// DeleteUser takes a user away, with all permissions. Connections of the user end.
func (d *Draft) DeleteUser(name string) error {
	d.note(audit.DeleteUser, "", name, "")
	if err := d.hasUser(name); err != nil {
		return err
	}
	return d.dropAll(func(g grant) bool { return g.user == name }, store.Key(prefixUser, name))
}

// ForgetVHost takes all permissions for a virtual host away. It is done when one is deleted.
func (d *Draft) ForgetVHost(name string) error {
	return d.dropAll(func(g grant) bool { return g.vhost == name })
}

// dropAll takes away the permissions for which which is true, and some records more.
func (d *Draft) dropAll(which func(grant) bool, keys ...string) error {
	for g := range d.picture.permissions {
		if which(g) {
			keys = append(keys, store.Key(prefixPermission, g.vhost, g.user))
		}
	}
	for g, of := range d.picture.topics {
		if !which(g) {
			continue
		}
		for exchange := range of {
			keys = append(keys, store.Key(prefixTopic, g.vhost, g.user, exchange))
		}
	}
	for _, key := range keys {
		if err := d.drop(key); err != nil {
			return err
		}
	}
	return nil
}

// SetUserLimit sets a limit of a user; -1 is no limit, and kept.
func (d *Draft) SetUserLimit(name, limit string, n int64) error {
	return d.changeLimits(audit.SetUserLimit, name, limit, func(limits map[string]int64) { limits[limit] = n })
}

// ClearUserLimit takes a limit of a user away.
func (d *Draft) ClearUserLimit(name, limit string) error {
	return d.changeLimits(audit.ClearUserLimit, name, limit, func(limits map[string]int64) { delete(limits, limit) })
}

func (d *Draft) changeLimits(a audit.Act, name, limit string, change func(map[string]int64)) error {
	d.note(a, limit, name, "")
	if err := d.hasUser(name); err != nil {
		return err
	}
	if err := broker.CheckLimit(limit, 1); err != nil {
		return err
	}
	r := *d.picture.users[name]
	r.Limits = maps.Clone(r.Limits)
	if r.Limits == nil {
		r.Limits = map[string]int64{}
	}
	change(r.Limits)
	return d.put(store.Key(prefixUser, name), &r)
}

// SetPermission says what a user may do in a virtual host.
func (d *Draft) SetPermission(p Permission) error {
	d.note(audit.SetPermission, "", p.User, p.VHost)
	if err := d.hasBoth(p.VHost, p.User); err != nil {
		return err
	}
	if old := d.picture.permissions[grant{p.VHost, p.User}]; old != nil && old.Permission == p {
		return d.unnoted()
	}
	if err := compiles(p.Configure, p.Write, p.Read); err != nil {
		return err
	}
	return d.put(store.Key(prefixPermission, p.VHost, p.User), permissionRecord(p))
}

// ClearPermission shuts a user out of a virtual host. To have none already is no error.
func (d *Draft) ClearPermission(vhost, user string) error {
	d.note(audit.ClearPermission, "", user, vhost)
	if err := d.hasBoth(vhost, user); err != nil {
		return err
	}
	if d.picture.permissions[grant{vhost, user}] == nil {
		return nil
	}
	return d.drop(store.Key(prefixPermission, vhost, user))
}

// SetTopicPermission says with which routing keys a user may publish to a topic
// exchange, and with which binding keys bind it.
func (d *Draft) SetTopicPermission(p TopicPermission) error {
	d.note(audit.SetTopicPermission, "exchange '"+p.Exchange+"'", p.User, p.VHost)
	if err := d.hasBoth(p.VHost, p.User); err != nil {
		return err
	}
	if err := checkName("exchange name", p.Exchange); err != nil {
		return err
	}
	if old := d.picture.topics[grant{p.VHost, p.User}][p.Exchange]; old != nil && old.TopicPermission == p {
		return d.unnoted()
	}
	if err := compiles(p.Write, p.Read); err != nil {
		return err
	}
	return d.put(store.Key(prefixTopic, p.VHost, p.User, p.Exchange), topicRecord(p))
}

// ClearTopicPermission takes the topic permission for one exchange away.
func (d *Draft) ClearTopicPermission(vhost, user, exchange string) error {
	d.note(audit.ClearTopicPermission, "exchange '"+exchange+"'", user, vhost)
	if err := d.hasBoth(vhost, user); err != nil {
		return err
	}
	if d.picture.topics[grant{vhost, user}][exchange] == nil {
		return nil
	}
	return d.drop(store.Key(prefixTopic, vhost, user, exchange))
}

// ClearTopicPermissions takes all topic permissions of a user in a virtual host away.
func (d *Draft) ClearTopicPermissions(vhost, user string) error {
	if err := d.hasBoth(vhost, user); err != nil {
		return err
	}
	for exchange := range d.picture.topics[grant{vhost, user}] {
		if err := d.ClearTopicPermission(vhost, user, exchange); err != nil {
			return err
		}
	}
	return nil
}

func (d *Draft) hasBoth(vhost, user string) error {
	if err := d.hasVHost(vhost); err != nil {
		return err
	}
	return d.hasUser(user)
}
