package broker

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/store"
)

// Defined is all that is defined in a broker, but for users and rights: what a file of
// definitions holds. Lists are in the order of names, policies in that of their age.
type Defined struct {
	VHosts []DefinedVHost
	Global []Parameter
}

// DefinedVHost is one virtual host.
type DefinedVHost struct {
	Name       string
	Meta       VHostMeta
	Limits     map[string]int64
	Policies   []SettingPolicy
	Parameters []Parameter
	Exchanges  []DefinedExchange
	Queues     []DefinedQueue
	Bindings   []Binding
}

// DefinedExchange is an exchange that clients have declared.
type DefinedExchange struct {
	Name string
	ExchangeOptions
}

// DefinedQueue is a queue that is not one session's own.
type DefinedQueue struct {
	Name string
	QueueOptions
	// Topic says that a Kafka client has made it, with so many partitions and these configs.
	Topic      bool
	Partitions int
	Configs    map[string]string
}

// Defined lists what is defined now. Each virtual host is looked at by itself, without anybody's waiting.
func (b *Broker) Defined() *Defined {
	d := &Defined{Global: b.GlobalParameters()}
	for _, v := range b.VHosts() {
		d.VHosts = append(d.VHosts, v.defined())
	}
	return d
}

func (v *VHost) defined() DefinedVHost {
	out := DefinedVHost{Name: v.Name, Meta: v.Meta(), Limits: v.Limits(), Policies: v.Policies(), Parameters: v.Parameters()}
	for _, x := range v.Exchanges() {
		if !x.predeclared {
			out.Exchanges = append(out.Exchanges, DefinedExchange{x.Name, ExchangeOptions{x.Type, x.Durable, x.AutoDelete, x.Internal, x.Args}})
		}
		v.mu.Lock()
		for _, b := range x.bindings {
			if q := v.queues.find(b.def.Dest); !b.def.ToExchange && (q == nil || q.Exclusive) {
				continue
			}
			out.Bindings = append(out.Bindings, b.def.exported())
		}
		v.mu.Unlock()
	}
	for _, q := range v.Queues() {
		if q.Exclusive {
			continue
		}
		d := DefinedQueue{Name: q.Name, QueueOptions: QueueOptions{Durable: q.Durable, AutoDelete: q.AutoDelete, Args: q.Args}}
		if q.OfKafka() {
			d.Topic, d.Partitions, d.Configs = true, len(q.Partitions()), q.Settings().configs()
		}
		out.Queues = append(out.Queues, d)
	}
	out.sort()
	return out
}

func (d *bindingDef) exported() Binding {
	return Binding{Source: d.Source, Dest: d.Dest, ToExchange: d.ToExchange, Key: string(d.Key), Args: d.Args}
}

// sort brings the lists into their order.
func (d *DefinedVHost) sort() {
	slices.SortFunc(d.Exchanges, func(a, b DefinedExchange) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Queues, func(a, b DefinedQueue) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Bindings, func(a, b Binding) int {
		kind := 0
		if a.ToExchange != b.ToExchange {
			kind = 1
			if b.ToExchange {
				kind = -1
			}
		}
		return cmp.Or(strings.Compare(a.Source, b.Source), kind, strings.Compare(a.Dest, b.Dest), strings.Compare(a.Key, b.Key), strings.Compare(string(a.Args), string(b.Args)))
	})
}

// DefinitionsTable is the name of the table that holds the definitions.
const DefinitionsTable = "defs"

// ReadDefined reads what the table of definitions of a store holds, which need not be open: load
// calls its argument with each key and value, in the order in which they were written.
func ReadDefined(load func(func(key string, value []byte) error) error) (*Defined, error) {
	r := definedReader{vhosts: map[string]*DefinedVHost{}, policies: map[string]map[policyName]*policyRule{}}
	if err := load(func(key string, value []byte) error { return r.entry(store.Entry{Key: key, Value: value}) }); err != nil {
		return nil, err
	}
	out := &Defined{Global: r.global.all()}
	for name, v := range r.vhosts {
		if !r.named[name] {
			continue // it is on its way out
		}
		for _, rule := range (*policySet)(nil).with(slices.Collect(maps.Values(r.policies[name])), nil).all() {
			v.Policies = append(v.Policies, rule.SettingPolicy)
		}
		v.Parameters = r.parameters[name].all()
		v.sort()
		out.VHosts = append(out.VHosts, *v)
	}
	slices.SortFunc(out.VHosts, func(a, b DefinedVHost) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// definedReader gathers what entries say.
type definedReader struct {
	vhosts     map[string]*DefinedVHost
	named      map[string]bool // those that are there
	policies   map[string]map[policyName]*policyRule
	parameters map[string]parameters
	global     parameters
	queue      queueDef
	binding    bindingDef
}

func (r *definedReader) vhost(name string) *DefinedVHost {
	v := r.vhosts[name]
	if v == nil {
		v = &DefinedVHost{Name: name}
		r.vhosts[name] = v
	}
	return v
}

func (r *definedReader) entry(e store.Entry) error {
	prefix, _, _ := strings.Cut(e.Key, "/")
	switch prefix + "/" {
	case prefixVHost:
		var d vhostDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		r.vhost(d.Name).Meta = d.VHostMeta
		if r.named == nil {
			r.named = map[string]bool{}
		}
		r.named[d.Name] = true
	case prefixVHostLimits:
		name, err := vhostOf(e.Key)
		if err != nil {
			return err
		}
		said, err := readVHostLimits(e)
		r.vhost(name).Limits = said
		return err
	case prefixEx:
		var d exchangeDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		v := r.vhost(d.VHost)
		v.Exchanges = append(v.Exchanges, DefinedExchange{d.Name, ExchangeOptions{d.Type, true, d.AutoDelete, d.Internal, d.Args}})
	case prefixQueue:
		return r.addQueue(e)
	case prefixBinding:
		if err := r.binding.decode(e); err != nil {
			return err
		}
		v := r.vhost(r.binding.VHost)
		v.Bindings = append(v.Bindings, r.binding.exported())
	case prefixPolicy, prefixOperatorPolicy:
		return r.addPolicy(e, prefix+"/" == prefixOperatorPolicy)
	case prefixParameter:
		d, err := decodeParameter(e)
		if err != nil {
			return err
		}
		if r.parameters == nil {
			r.parameters = map[string]parameters{}
		}
		of := r.parameters[d.VHost]
		of.put(Parameter{d.Component, d.Name, d.Value})
		r.parameters[d.VHost] = of
	case "m/":
		if strings.HasPrefix(e.Key, prefixGlobal) {
			d, err := decodeParameter(e)
			if err != nil {
				return err
			}
			r.global.put(Parameter{Name: d.Name, Value: d.Value})
		}
	}
	return nil
}

func (r *definedReader) addQueue(e store.Entry) error {
	if err := r.queue.decode(e); err != nil {
		return err
	}
	d := DefinedQueue{Name: r.queue.Name, QueueOptions: QueueOptions{Durable: true, AutoDelete: r.queue.AutoDelete, Args: slices.Clone(r.queue.Args)}}
	if r.queue.Topic {
		d.Topic, d.Partitions, d.Configs = true, len(r.queue.Logs), r.queue.Config
	}
	v := r.vhost(r.queue.VHost)
	v.Queues = append(v.Queues, d)
	return nil
}

func (r *definedReader) addPolicy(e store.Entry, operator bool) error {
	var d policyDef
	if err := decodeDef(e, &d); err != nil {
		return err
	}
	rule := &policyRule{SettingPolicy: SettingPolicy{Name: d.Name, Operator: operator, Pattern: d.Pattern, ApplyTo: d.ApplyTo, Priority: d.Priority}, serial: d.Serial}
	var err error
	if rule.Definition, err = sameJSON(d.Definition); err != nil {
		return err
	}
	if r.policies[d.VHost] == nil {
		r.policies[d.VHost] = map[policyName]*policyRule{}
	}
	r.policies[d.VHost][rule.named()] = rule
	return nil
}

// NewInnerSession begins a session that may do everything: of who administers the broker.
func (v *VHost) NewInnerSession() *Session {
	s := v.NewSession(auth.Identity{})
	s.inner = true
	return s
}

// Checker says what would be wrong with definitions of one virtual host, which need not be
// there, and changes nothing. It knows nothing of what else is declared.
type Checker struct{ v *VHost }

// NewChecker makes one.
func (b *Broker) NewChecker(vhost string, m VHostMeta) (*Checker, error) {
	if err := checkVHost(vhost, &m); err != nil {
		return nil, err
	}
	v := newVHost(b, vhost)
	v.meta.Store(&m)
	return &Checker{v}, nil
}

// Queue checks a queue.
func (c *Checker) Queue(d *DefinedQueue) error {
	if d.Topic {
		values := map[string]*string{}
		for name, v := range d.Configs {
			values[name] = &v
		}
		switch _, err := c.v.b.TopicConfig(values); {
		case err != nil:
			return err
		case !LegalTopicName(d.Name):
			return fail(Precondition, "topic name '%s' is illegal", d.Name)
		case d.Partitions < 1:
			return fail(Precondition, "a topic needs a partition")
		}
		return nil
	}
	_, err := c.v.declared(nil, d.Name, d.QueueOptions)
	return err
}

// Exchange checks an exchange, which is there afterwards for Binding.
func (c *Checker) Exchange(d *DefinedExchange) error {
	x, err := c.v.newExchange(d.Name, d.ExchangeOptions)
	if err == nil {
		c.v.exchanges.Store(d.Name, x)
	}
	return err
}

// HasExchange says whether an exchange was checked, or is every virtual host's.
func (c *Checker) HasExchange(name string) bool {
	_, err := c.v.Exchange(name)
	return err == nil
}

// Like has an exchange that is there be known for Binding.
func (c *Checker) Like(x *Exchange) { c.v.exchanges.Store(x.Name, x) }

// Binding checks a binding from an exchange that was checked, or that every virtual host has, but for where
// it leads.
func (c *Checker) Binding(b Binding) error {
	d, err := c.v.def(b)
	if err != nil {
		return err
	}
	if b.Source == "" || b.ToExchange && b.Dest == "" {
		return onDefault()
	}
	x, err := c.v.Exchange(b.Source)
	if err != nil {
		return err
	}
	if err := x.table.Load().Kind().Check(b.Key, d.Args); err != nil {
		return badBinding(err)
	}
	return nil
}
