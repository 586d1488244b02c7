package definitions

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/leveret-mq/leveret/internal/field"
)

// policyName is what a policy is about.
type policyName struct {
	vhost, name string
	operator    bool
}

// checkTwice refuses a second item of a name that says something else than the first: which of them won would be
// chance. One that says the same is left out.
func (c *checker) checkTwice() (err error) {
	f := c.f
	vhost := func(i inVHost) string { return cmp.Or(i.vhost, c.fallback) }
	if f.vhosts, err = once(f, f.vhosts, func(v vhostItem) (item, any, any) {
		i := v.item
		v.item, v.limits = item{}, plain(asObject(v.limits))
		return i, v.name, v
	}); err != nil {
		return err
	}
	if f.users, err = once(f, f.users, func(u userItem) (item, any, any) {
		return u.item, u.Name, u.NewUser
	}); err != nil {
		return err
	}
	if f.permissions, err = once(f, f.permissions, func(p permissionItem) (item, any, any) {
		return p.item, [2]string{p.VHost, p.User}, p.Permission
	}); err != nil {
		return err
	}
	if f.topicPermissions, err = once(f, f.topicPermissions, func(p topicItem) (item, any, any) {
		return p.item, [3]string{p.VHost, p.User, p.Exchange}, p.TopicPermission
	}); err != nil {
		return err
	}
	if f.parameters, err = once(f, f.parameters, func(p parameterItem) (item, any, any) {
		name := [3]string{vhost(p.inVHost), p.Component, p.Name}
		if p.Value = plain(p.Value); p.Component == vhostLimits {
			p.Value = plain(asObject(p.Value))
		}
		return p.item, name, p.Parameter
	}); err != nil {
		return err
	}
	if f.global, err = once(f, f.global, func(p parameterItem) (item, any, any) {
		p.Value = plain(p.Value)
		return p.item, p.Name, p.Parameter
	}); err != nil {
		return err
	}
	if f.policies, err = once(f, f.policies, func(p policyItem) (item, any, any) {
		p.Definition = plain(p.Definition)
		return p.item, policyName{vhost(p.inVHost), p.Name, p.Operator}, p.SettingPolicy
	}); err != nil {
		return err
	}
	if f.exchanges, err = once(f, f.exchanges, func(x exchangeItem) (item, any, any) {
		x.Args = inOrder(x.Args)
		return x.item, [2]string{vhost(x.inVHost), x.Name}, x.DefinedExchange
	}); err != nil {
		return err
	}
	f.queues, err = once(f, f.queues, func(q queueItem) (item, any, any) {
		q.Args = inOrder(q.Args)
		return q.item, [2]string{vhost(q.inVHost), q.Name}, q.DefinedQueue
	})
	return err
}

// once leaves out what a list says again. Of an item, say tells where it stands, what it is about, and what it says.
func once[T any](f *File, list []T, say func(T) (at item, name, all any)) ([]T, error) {
	first := make(map[any]int, len(list))
	left := list[:0]
	for _, one := range list {
		at, name, all := say(one)
		n, twice := first[name]
		if !twice {
			first[name] = len(left)
			left = append(left, one)
			continue
		}
		if before, _, said := say(left[n]); !reflect.DeepEqual(all, said) {
			return nil, f.failed(at, fmt.Errorf("says something else than %s, which is of the same name; leave one of them", before.path()))
		}
	}
	return left, nil
}

// plain is a value in one form, however it is written.
func plain(value json.RawMessage) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return value
	}
	text, err := encode(v)
	if err != nil {
		return value
	}
	return text
}

// inOrder is a table in one order, however it is written.
func inOrder(args []byte) []byte {
	if normal, err := field.Normal(args); err == nil {
		return normal
	}
	return args
}
