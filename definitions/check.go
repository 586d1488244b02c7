package definitions

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
)

// Target is what definitions are of.
type Target struct {
	Broker *broker.Broker
	Access *access.Keeper
	// VHost is the virtual host of what names none; "" is the one that the file says it is of, or the default one.
	VHost string
	// Only has all that the file says be taken for VHost, whichever it names, and what it says of no virtual host be left out.
	Only bool
	Name string       // what is said of the file in the audit
	Log  *slog.Logger // nil: slog.Default()
	// Starting has passwords in clear be hashed behind the call; who logs in waits for that.
	Starting bool
}

// Plan is a file that was checked.
type Plan struct {
	f      *File
	t      Target
	limits []limitItem
}

// limitItem are the limits of a virtual host.
type limitItem struct {
	inVHost
	limits map[string]int64
	keys   []string // where they stand in the item
}

// checker goes through a file once more, with what it says at hand.
type checker struct {
	f        *File
	t        Target
	vhosts   map[string]*vhostCheck
	limits   []limitItem
	fallback string
}

// vhostCheck is a virtual host that there is, or will be.
type vhostCheck struct {
	live      *broker.VHost // nil: it is made by the file
	checker   *broker.Checker
	exchanges map[string]bool // of the file
	queues    map[string]bool
}

// Check says where a file is wrong, as Error, and changes nothing. The plan that it returns is good for as long as
// nobody else changes what it is about.
func (f *File) Check(t Target) (*Plan, error) {
	if t.Only {
		f.narrow(t.VHost)
	}
	c := &checker{f: f, t: t, vhosts: map[string]*vhostCheck{}, fallback: cmp.Or(t.VHost, f.OneVHost, broker.DefaultVHost)}
	for _, step := range []func() error{c.checkTwice, c.checkVHosts, c.checkAccess, c.checkLimits, c.checkExchanges, c.checkPolicies, c.checkParameters, c.checkQueues, c.checkBindings} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &Plan{f, t, c.limits}, nil
}

// narrow leaves in a file what can stand in a virtual host, and has it be in that one.
func (f *File) narrow(vhost string) {
	if n := len(f.users) + len(f.vhosts) + len(f.permissions) + len(f.topicPermissions) + len(f.global); n > 0 {
		f.warn("%d users, virtual hosts, permissions and global parameters are left out: the import is of one virtual host", n)
	}
	f.users, f.vhosts, f.permissions, f.topicPermissions, f.global = nil, nil, nil, nil, nil
	for i := range f.parameters {
		f.parameters[i].vhost = vhost
	}
	for i := range f.policies {
		f.policies[i].vhost = vhost
	}
	for i := range f.exchanges {
		f.exchanges[i].vhost = vhost
	}
	for i := range f.queues {
		f.queues[i].vhost = vhost
	}
	for i := range f.bindings {
		f.bindings[i].vhost = vhost
	}
}

func (c *checker) checkVHosts() error {
	for _, v := range c.t.Broker.VHosts() {
		k, err := c.t.Broker.NewChecker(v.Name, v.Meta())
		if err != nil {
			return err
		}
		c.vhosts[v.Name] = &vhostCheck{v, k, map[string]bool{}, map[string]bool{}}
	}
	for i := range c.f.vhosts {
		v := &c.f.vhosts[i]
		k, err := c.t.Broker.NewChecker(v.name, v.meta)
		if err != nil {
			return c.f.failed(v.item, err)
		}
		if have := c.vhosts[v.name]; have != nil {
			have.checker = k
		} else {
			c.vhosts[v.name] = &vhostCheck{nil, k, map[string]bool{}, map[string]bool{}}
		}
	}
	return nil
}

// vhost finds the virtual host of an item, which is noted in it if it names none.
func (c *checker) vhost(i *inVHost) (*vhostCheck, error) {
	if i.vhost == "" {
		i.vhost = c.fallback
	}
	if v := c.vhosts[i.vhost]; v != nil {
		return v, nil
	}
	return nil, c.f.failed(i.item, noVHost(i.vhost), "vhost")
}

func noVHost(name string) error {
	return sentence(fmt.Sprintf("Please create virtual host %q prior to importing definitions.", name))
}

// sentence is an error of RabbitMQ's, as it has it.
type sentence string

func (s sentence) Error() string { return string(s) }

// checkAccess checks users and rights.
func (c *checker) checkAccess() error {
	for _, p := range c.f.permissions {
		if c.vhosts[p.VHost] == nil {
			return c.f.failed(p.item, noVHost(p.VHost), "vhost")
		}
	}
	for _, p := range c.f.topicPermissions {
		if c.vhosts[p.VHost] == nil {
			return c.f.failed(p.item, noVHost(p.VHost), "vhost")
		}
	}
	var names []string
	for name := range c.vhosts {
		names = append(names, name)
	}
	var at item
	if err := c.t.Access.Check(func(d *access.Draft) error { return c.f.access(d, &at) }, names...); err != nil {
		return c.f.failed(at, err)
	}
	return nil
}

// access puts users and rights into a draft; at is which of them it is at.
func (f *File) access(d *access.Draft, at *item) error {
	for i := range f.users {
		*at = f.users[i].item
		if err := d.PutUser(f.users[i].NewUser); err != nil {
			return err
		}
	}
	for i := range f.permissions {
		*at = f.permissions[i].item
		if err := d.SetPermission(f.permissions[i].Permission); err != nil {
			return err
		}
	}
	for i := range f.topicPermissions {
		*at = f.topicPermissions[i].item
		if err := d.SetTopicPermission(f.topicPermissions[i].TopicPermission); err != nil {
			return err
		}
	}
	return nil
}

// checkLimits takes the limits of virtual hosts out of them and of the parameters.
func (c *checker) checkLimits() error {
	of := map[string]int{} // where in c.limits those of a virtual host are
	add := func(i inVHost, value []byte, keys ...string) error {
		limits, err := limitsOf(value)
		if err != nil {
			return c.f.failed(i.item, err, keys...)
		}
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			if err := broker.CheckLimit(name, limits[name]); err != nil {
				return c.f.failed(i.item, err, append(keys, name)...)
			}
		}
		if n, twice := of[i.vhost]; !twice {
			of[i.vhost] = len(c.limits)
			c.limits = append(c.limits, limitItem{i, limits, keys})
		} else if first := &c.limits[n]; !maps.Equal(first.limits, limits) {
			return c.f.failed(i.item, fmt.Errorf("limits of vhost '%s' are others than in %s; leave one of them", i.vhost, first.path()), keys...)
		}
		return nil
	}
	for _, v := range c.f.vhosts {
		if v.limits == nil || string(v.limits) == "[]" || string(v.limits) == "{}" {
			continue
		}
		if err := add(inVHost{v.item, v.name}, v.limits, "limits"); err != nil {
			return err
		}
	}
	rest := c.f.parameters[:0]
	for _, p := range c.f.parameters {
		if p.Component != vhostLimits || p.Name != limitsName {
			rest = append(rest, p)
			continue
		}
		if _, err := c.vhost(&p.inVHost); err != nil {
			return err
		}
		if err := add(p.inVHost, p.Value, "value"); err != nil {
			return err
		}
	}
	c.f.parameters = rest
	return nil
}

func (c *checker) checkExchanges() error {
	for i := range c.f.exchanges {
		x := &c.f.exchanges[i]
		v, err := c.vhost(&x.inVHost)
		if err != nil {
			return err
		}
		if v.live != nil {
			if _, err := v.live.Exchange(x.Name); err == nil {
				continue // it is left as it is
			}
		}
		if err := v.checker.Exchange(&x.DefinedExchange); err != nil {
			return c.f.failed(x.item, err, about(err)...)
		}
		v.exchanges[x.Name] = true
	}
	return nil
}

// argument finds which argument an error of the broker is about.
var argument = regexp.MustCompile(`(?:invalid|inequivalent) (?:type '[^']*' for )?arg '([^']+)'`)

// about are the keys of what an error is about, as far as it says so.
func about(err error) []string {
	if found := argument.FindStringSubmatch(err.Error()); found != nil {
		return []string{"arguments", found[1]}
	}
	return nil
}

func (c *checker) checkPolicies() error {
	for i := range c.f.policies {
		p := &c.f.policies[i]
		if _, err := c.vhost(&p.inVHost); err != nil {
			return err
		}
		if err := broker.CheckPolicy(p.SettingPolicy); err != nil {
			return c.f.failed(p.item, err, p.about(err)...)
		}
	}
	return nil
}

// about are the keys of what is wrong with a policy.
func (p *policyItem) about(error) (keys []string) {
	if p.inside != "" {
		keys = append(keys, p.inside)
	}
	only := p.SettingPolicy
	only.Pattern = ""
	if broker.CheckPolicy(only) == nil {
		return append(keys, "pattern")
	}
	only.ApplyTo = ""
	if broker.CheckPolicy(only) == nil {
		return append(keys, "apply-to")
	}
	return append(keys, "definition")
}

func (c *checker) checkParameters() error {
	for i := range c.f.parameters {
		if _, err := c.vhost(&c.f.parameters[i].inVHost); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkQueues() error {
	for i := range c.f.queues {
		q := &c.f.queues[i]
		v, err := c.vhost(&q.inVHost)
		if err != nil {
			return err
		}
		if v.live != nil {
			if _, err := v.live.Queue(q.Name); err == nil {
				continue // it is left as it is
			}
		}
		if err := v.checker.Queue(&q.DefinedQueue); err != nil {
			return c.f.failed(q.item, err, about(err)...)
		}
		v.queues[q.Name] = true
	}
	return nil
}

func (c *checker) checkBindings() error {
	for i := range c.f.bindings {
		b := &c.f.bindings[i]
		v, err := c.vhost(&b.inVHost)
		if err != nil {
			return err
		}
		if !v.hasExchange(b.Source) {
			return c.f.failed(b.item, fmt.Errorf("resources_missing: no exchange '%s' in vhost '%s'", b.Source, b.vhost), "source")
		}
		if !b.ToExchange && !v.hasQueue(b.Dest) {
			return c.f.failed(b.item, fmt.Errorf("resources_missing: no queue '%s' in vhost '%s'", b.Dest, b.vhost), "destination")
		}
		if b.ToExchange && !v.hasExchange(b.Dest) {
			return c.f.failed(b.item, fmt.Errorf("resources_missing: no exchange '%s' in vhost '%s'", b.Dest, b.vhost), "destination")
		}
		if err := v.checker.Binding(b.Binding); err != nil {
			return c.f.failed(b.item, err, about(err)...)
		}
	}
	return nil
}

// hasExchange says whether there is an exchange, or will be. One that is there already is made known to the checker.
func (v *vhostCheck) hasExchange(name string) bool {
	if v.exchanges[name] {
		return true
	}
	if v.live == nil {
		return v.checker.HasExchange(name)
	}
	x, err := v.live.Exchange(name)
	if err != nil {
		return false
	}
	v.exchanges[name] = true
	v.checker.Like(x)
	return true
}

func (v *vhostCheck) hasQueue(name string) bool {
	if v.queues[name] {
		return true
	}
	if v.live == nil {
		return false
	}
	_, err := v.live.Queue(name)
	return err == nil
}
