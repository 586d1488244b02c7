package broker

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// The policies of a virtual host are one list that never changes; a change makes another. What
// applies to a queue stands in its settings, which queues share to which the same applies, so
// that a queue takes no byte more for it.
//
//	PutPolicies ─► plan: checked, claimed ─► prepare: what is there keeps its time to live (ttlsteps.go)
//	           ─► written ─► shown: from here on what is declared is under the new list
//	           ─► finish: each queue and exchange in turn is looked at, and changed if another applies
//
// Who declares something meanwhile matches it against the list there is, and once more when it is shown,
// if there is another by then: so nothing escapes the one or the other.
type policySet struct {
	user, operator           []*policyRule // the one that holds first
	firstUser, firstOperator firstRule     // of these lists
	serial                   uint64        // the highest ever given
}

// firstRule finds, of a list, the first policy that applies to a name. Policies are many where each is for the names of
// one team or tenant, and says so by how its pattern begins: those that begin otherwise than the name are not looked at.
type firstRule struct {
	list    []*policyRule
	begin   map[string][]int // by what its names begin with, a policy's place in list; "": anything
	lengths []int            // of these beginnings, the shortest first
}

func newFirstRule(list []*policyRule) firstRule {
	f := firstRule{list: list, begin: map[string][]int{}}
	for i, r := range list {
		if f.begin[r.begins] == nil {
			f.lengths = append(f.lengths, len(r.begins))
		}
		f.begin[r.begins] = append(f.begin[r.begins], i)
	}
	slices.Sort(f.lengths)
	f.lengths = slices.Compact(f.lengths)
	return f
}

// of is nil if none applies.
func (f *firstRule) of(name string, applies func(*policyRule) bool) *policyRule {
	first := len(f.list)
	for _, n := range f.lengths {
		if n > len(name) {
			break
		}
		for _, i := range f.begin[name[:n]] {
			if i >= first {
				break
			}
			if applies(f.list[i]) {
				first = i
				break
			}
		}
	}
	if first == len(f.list) {
		return nil
	}
	return f.list[first]
}

// policiesClaim is the claim of a virtual host's policies.
const policiesClaim = "o/"

// policyDef is a policy in the definitions.
type policyDef struct {
	VHost      string          `json:"vhost"`
	Name       string          `json:"name"`
	Pattern    string          `json:"pattern"`
	ApplyTo    string          `json:"apply_to"`
	Priority   int64           `json:"priority,omitempty"`
	Definition json.RawMessage `json:"definition"`
	Serial     uint64          `json:"serial"`
}

func (r *policyRule) key(v *VHost) string {
	prefix := prefixPolicy
	if r.Operator {
		prefix = prefixOperatorPolicy
	}
	return store.Key(prefix, v.Name, r.Name)
}

func (r *policyRule) def(v *VHost) policyDef {
	return policyDef{VHost: v.Name, Name: r.Name, Pattern: r.Pattern, ApplyTo: r.ApplyTo, Priority: r.Priority, Definition: r.Definition, Serial: r.serial}
}

// rule is the policy of a definition, which was checked when it was written: what this version
// does not take any more has no effect, and is told.
func (b *Broker) ruleOf(d policyDef, operator bool) (*policyRule, error) {
	r, err := newRule(SettingPolicy{Name: d.Name, Operator: operator, Pattern: d.Pattern, ApplyTo: d.ApplyTo, Priority: d.Priority, Definition: d.Definition})
	if err != nil {
		return nil, err
	}
	r.serial, r.id = d.Serial, b.serials.Add(1)
	return r, nil
}

// loadPolicy reads a policy at the start. One that this version does not take has no effect, and is kept.
func (b *Broker) loadPolicy(e store.Entry, into map[string][]*policyRule) error {
	var d policyDef
	if err := decodeDef(e, &d); err != nil {
		return err
	}
	r, err := b.ruleOf(d, strings.HasPrefix(e.Key, prefixOperatorPolicy))
	if err != nil {
		b.opts.Log.Warn("a policy has no effect", "vhost", d.VHost, "policy", d.Name, "error", err)
		return nil
	}
	into[d.VHost] = append(into[d.VHost], r)
	return nil
}

// restorePolicies has the virtual hosts' policies hold for what is restored after them.
func (b *Broker) restorePolicies(list map[string][]*policyRule) error {
	for vhost, rules := range list {
		v, err := b.home(vhost, nil, "policy", rules[0].Name)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		v.policies.Store((*policySet)(nil).with(rules, nil))
		for _, x := range v.Exchanges() { // those that every virtual host has
			x.put(v.policies.Load().exchange(x.Name))
		}
	}
	return nil
}

// list is the half that a policy stands in.
func (s *policySet) list(operator bool) *[]*policyRule {
	if operator {
		return &s.operator
	}
	return &s.user
}

// all are both halves, the oldest first.
func (s *policySet) all() []*policyRule {
	if s == nil {
		return nil
	}
	list := slices.Concat(s.user, s.operator)
	slices.SortFunc(list, func(a, b *policyRule) int { return cmp.Compare(a.serial, b.serial) })
	return list
}

// find is the policy of that name, nil if there is none.
func (s *policySet) find(name string, operator bool) *policyRule {
	if s == nil {
		return nil
	}
	for _, r := range *s.list(operator) {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// with is the list after some came, in the place of others of their names, and others went.
func (s *policySet) with(come, gone []*policyRule) *policySet {
	out := &policySet{}
	if s != nil {
		out.serial = s.serial
	}
	replaced := map[policyName]bool{}
	for _, r := range append(slices.Clone(come), gone...) {
		replaced[r.named()] = true
	}
	for _, r := range s.all() {
		if !replaced[r.named()] {
			list := out.list(r.Operator)
			*list = append(*list, r)
		}
	}
	for _, r := range come {
		list := out.list(r.Operator)
		*list = append(*list, r)
		out.serial = max(out.serial, r.serial)
	}
	for _, list := range [][]*policyRule{out.user, out.operator} {
		slices.SortFunc(list, func(a, b *policyRule) int {
			return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.serial, a.serial), strings.Compare(a.Name, b.Name))
		})
	}
	out.firstUser, out.firstOperator = newFirstRule(out.user), newFirstRule(out.operator)
	return out
}

// policyName tells a policy from all others of its virtual host.
type policyName struct {
	operator bool
	name     string
}

func (r *policyRule) named() policyName { return policyName{r.Operator, r.Name} }

// queue finds what applies to a queue.
func (s *policySet) queue(name string, kind *queueType) matched {
	return s.match(name, func(r *policyRule) bool { return r.forQueue(name, kind) })
}

// exchange finds what applies to an exchange. To the default exchange nothing does.
func (s *policySet) exchange(name string) matched {
	if name == "" {
		return matched{}
	}
	return s.match(name, func(r *policyRule) bool { return r.forExchange(name) })
}

func (s *policySet) match(name string, applies func(*policyRule) bool) matched {
	if s == nil {
		return matched{}
	}
	return matched{user: s.firstUser.of(name, applies), operator: s.firstOperator.of(name, applies)}
}

func (r *policyRule) forQueue(name string, kind *queueType) bool {
	return r.queues&kind.set != 0 && r.pattern.MatchString(name)
}

func (r *policyRule) forExchange(name string) bool { return r.exchanges && r.pattern.MatchString(name) }

// settingsOf computes the settings of a queue of that name.
func (v *VHost) settingsOf(name string, kind *queueType, declared layer) *Settings {
	return v.b.settingsOf(kind, declared, v.policies.Load().queue(name, kind))
}

// match has the queue, which nobody else changes now, obey what of a list applies to it.
func (q *Queue) match(set *policySet) {
	if s := q.Settings(); set != nil || s.layers.under != (matched{}) {
		q.settings.Store(q.vhost.b.settingsOf(s.kind, s.layers.declared, set.queue(q.Name, s.kind)))
	}
}

// Policies lists the policies of the virtual host, operators' too, the oldest first.
func (v *VHost) Policies() []SettingPolicy {
	var out []SettingPolicy
	for _, r := range v.policies.Load().all() {
		out = append(out, r.SettingPolicy)
	}
	return out
}

// CheckPolicy says what is wrong with a policy, nil if PutPolicies would take it.
func CheckPolicy(p SettingPolicy) error {
	_, err := newRule(p)
	return err
}

// PutPolicies sets policies, each in the place of the one of its name, all of them or none. What
// is published and declared after it returns is under them. One that is there already, as it is, is left alone.
func (v *VHost) PutPolicies(by audit.Actor, policies ...SettingPolicy) error {
	changed, err := v.putPolicies(policies)
	for _, p := range policies {
		if err != nil || slices.ContainsFunc(changed, func(r *policyRule) bool { return r.Name == p.Name && r.Operator == p.Operator }) {
			audit.Acted(v.b.opts.Log, by, audit.PutPolicy, p.called(), v.Name, err)
		}
	}
	return err
}

// called is what people call it.
func (p *SettingPolicy) called() string {
	if p.Operator {
		return "operator policy '" + p.Name + "'"
	}
	return "policy '" + p.Name + "'"
}

// putPolicies sets policies and returns those that are others than before.
func (v *VHost) putPolicies(policies []SettingPolicy) (come []*policyRule, err error) {
	rules := make([]*policyRule, 0, len(policies))
	for _, p := range policies {
		r, err := newRule(p)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	err = v.change(func(c *change) error {
		if err := c.alone(policiesClaim); err != nil {
			return err
		}
		old := v.policies.Load()
		come = nil
		serial := uint64(0)
		if old != nil {
			serial = old.serial
		}
		for _, r := range rules {
			if old.find(r.Name, r.Operator).same(r) {
				continue
			}
			serial++
			r.serial, r.id = serial, v.b.serials.Add(1)
			if err := c.put(r.key(v), r.def(v)); err != nil {
				return err
			}
			come = append(come, r)
		}
		c.replacePolicies(come, nil)
		return nil
	})
	return come, err
}

// DeletePolicy removes a policy; what it changed is as it was before.
func (v *VHost) DeletePolicy(by audit.Actor, name string, operator bool) error {
	err := v.change(func(c *change) error {
		if err := c.alone(policiesClaim); err != nil {
			return err
		}
		r := v.policies.Load().find(name, operator)
		if r == nil {
			return fail(NotFound, "no policy '%s' in vhost '%s'", name, v.Name)
		}
		c.drop(r.key(v))
		c.replacePolicies(nil, []*policyRule{r})
		return nil
	})
	p := SettingPolicy{Name: name, Operator: operator}
	audit.Acted(v.b.opts.Log, by, audit.DeletePolicy, p.called(), v.Name, err)
	return err
}

// replacePolicies has the list changed, and all that is under it. VHost.mu is held.
func (c *change) replacePolicies(come, gone []*policyRule) {
	if len(come)+len(gone) == 0 {
		return
	}
	v := c.v
	old := v.policies.Load()
	w := &policyWalk{v: v, set: old.with(come, gone), made: map[policyStep]*Settings{}, about: append(slices.Clone(come), gone...)}
	for _, r := range come {
		if was := old.find(r.Name, r.Operator); was != nil {
			w.about = append(w.about, was)
		}
	}
	c.prepare = w.keepTTLs
	c.show = func() error {
		v.policies.Store(w.set)
		return nil
	}
	c.finish = w.run
}

// policyWalk goes through all queues and exchanges after a change of the policies.
type policyWalk struct {
	v     *VHost
	set   *policySet
	about []*policyRule // those that came or went
	made  map[policyStep]*Settings
}

// policyStep is a change of settings that many queues go through alike.
type policyStep struct {
	from  *Settings
	under matched
}

// next is what a queue obeys from now on; it is what it obeys now where nothing changes.
func (w *policyWalk) next(q *Queue) *Settings {
	s := q.Settings()
	touched := slices.ContainsFunc(w.about, func(r *policyRule) bool {
		return r == s.layers.under.user || r == s.layers.under.operator || r.forQueue(q.Name, s.kind)
	})
	if !touched {
		return s
	}
	step := policyStep{s, w.set.queue(q.Name, s.kind)}
	if step.under == s.layers.under {
		return s
	}
	next := w.made[step]
	if next == nil {
		next = w.v.b.settingsOf(s.kind, s.layers.declared, step.under)
		w.made[step] = next
	}
	return next
}

// run has everything obey the new list. Nobody waits for it but who changed the policies.
func (w *policyWalk) run() {
	w.exchanges()
	var changed []changedQueue
	for _, q := range w.v.Queues() {
		for {
			old := q.Settings()
			next := w.next(q)
			if next == old {
				break
			}
			if q.settings.CompareAndSwap(old, next) { // else its configs were changed meanwhile
				changed = append(changed, changedQueue{q, old, next})
				break
			}
		}
	}
	w.v.changed() // from here on publishers see it
	w.v.b.obeyed(changed)
}

func (w *policyWalk) exchanges() {
	for _, x := range w.v.Exchanges() {
		x.put(w.set.exchange(x.Name))
	}
}

// put has policies apply to the exchange.
func (x *Exchange) put(m matched) {
	if m == (matched{}) {
		x.under.Store(nil)
	} else {
		x.under.Store(&m)
	}
}

// takePolicy takes over what another process has written.
func (v *VHost) takePolicy(name string, operator bool, e store.Entry) error {
	var r *policyRule
	if e.Value != nil {
		var d policyDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		var err error
		if r, err = v.b.ruleOf(d, operator); err != nil {
			return err
		}
	}
	return v.change(func(c *change) error {
		if err := c.alone(policiesClaim); err != nil {
			return err
		}
		old := v.policies.Load().find(name, operator)
		switch {
		case r != nil && old.same(r) && old.serial == r.serial:
			return nil
		case r != nil:
			c.replacePolicies([]*policyRule{r}, nil)
		case old != nil:
			c.replacePolicies(nil, []*policyRule{old})
		}
		c.entries, c.prepare = nil, nil
		return nil
	})
}
