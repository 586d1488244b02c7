package definitions

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/leveret-mq/leveret/broker"
)

// Names of components whose parameters are more than kept.
const (
	operatorPolicy = "operator_policy"
	vhostLimits    = "vhost-limits"
	limitsName     = "limits"
)

func (f *File) addUser(i item, o object) error {
	u := userItem{item: i}
	var err error
	if u.Name, err = o.needed("name"); err != nil {
		return err
	}
	if u.Tags, err = o.tags("tags"); err != nil {
		return err
	}
	if u.Hash, err = o.text("password_hash"); err != nil {
		return err
	}
	if u.Algorithm, err = o.text("hashing_algorithm"); err != nil {
		return err
	}
	if password, there := o["password"]; there && string(password) != "null" {
		text, err := o.text("password")
		if err != nil {
			return err
		}
		u.Password = &text
	}
	if limits, there := o.take("limits"); there {
		if u.Limits, err = limitsOf(limits); err != nil {
			return &wrong{[]string{"limits"}, err}
		}
	}
	f.users = append(f.users, u)
	f.unknownKeys("users", o)
	return nil
}

// limitsOf reads limits: numbers by name.
func limitsOf(value json.RawMessage) (limits map[string]int64, err error) {
	if string(value) == "[]" {
		return map[string]int64{}, nil
	}
	if json.Unmarshal(asObject(value), &limits) != nil || limits == nil {
		return nil, errors.New("should be an object of whole numbers")
	}
	return limits, nil
}

// tags takes tags out: a list of them, or a text with commas.
func (o object) tags(key string) ([]string, error) {
	value, there := o.take(key)
	if !there {
		return nil, nil
	}
	var list []string
	if value[0] != '"' {
		if json.Unmarshal(value, &list) != nil {
			return nil, wrongType("a list of strings or a string with commas", key)
		}
		return list, nil
	}
	var text string
	_ = json.Unmarshal(value, &text) // it is a string
	for tag := range strings.SplitSeq(text, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			list = append(list, tag)
		}
	}
	return list, nil
}

func (f *File) addVHost(i item, o object) error {
	v := vhostItem{item: i}
	var err error
	if v.name, err = o.needed("name"); err != nil {
		return err
	}
	if err := f.meta(&v.meta, o); err != nil {
		return err
	}
	if text, there := o.take("metadata"); there {
		var inner object
		if text[0] != '{' || json.Unmarshal(text, &inner) != nil {
			return wrongType("an object", "metadata")
		}
		if err := f.meta(&v.meta, inner); err != nil {
			var w *wrong
			if errors.As(err, &w) {
				w.keys = append([]string{"metadata"}, w.keys...)
			}
			return err
		}
		f.unknownKeys("vhosts[].metadata", inner)
	}
	if limits, there := o.take("limits"); there {
		v.limits = limits
	}
	delete(o, "tracing")
	delete(o, "cluster_state")
	f.vhosts = append(f.vhosts, v)
	f.unknownKeys("vhosts", o)
	return nil
}

// meta reads what is said of a virtual host. What is not said stays.
func (f *File) meta(m *broker.VHostMeta, o object) error {
	for key, into := range map[string]*string{"description": &m.Description, "default_queue_type": &m.DefaultQueueType} {
		if _, there := o[key]; there {
			s, err := o.text(key)
			if err != nil {
				return err
			}
			*into = s
		}
	}
	if m.DefaultQueueType == "undefined" { // as RabbitMQ exports that there is none
		m.DefaultQueueType = ""
	}
	if _, there := o["tags"]; there {
		tags, err := o.tags("tags")
		if err != nil {
			return err
		}
		m.Tags = tags
	}
	var err error
	m.Protected, err = o.flag("protected_from_deletion", m.Protected)
	return err
}

func (f *File) addPermission(i item, o object) error {
	p := permissionItem{item: i}
	err := o.texts(map[string]*string{"vhost": &p.VHost, "user": &p.User, "configure": &p.Configure, "write": &p.Write, "read": &p.Read},
		"vhost", "user", "configure", "write", "read")
	f.permissions = append(f.permissions, p)
	f.unknownKeys("permissions", o)
	return err
}

func (f *File) addTopicPermission(i item, o object) error {
	p := topicItem{item: i}
	err := o.texts(map[string]*string{"vhost": &p.VHost, "user": &p.User, "exchange": &p.Exchange, "write": &p.Write, "read": &p.Read},
		"vhost", "user", "exchange", "write", "read")
	f.topicPermissions = append(f.topicPermissions, p)
	f.unknownKeys("topic_permissions", o)
	return err
}

func (f *File) addParameter(i item, o object) error {
	p := parameterItem{inVHost: inVHost{item: i}}
	var err error
	if p.vhost, err = o.text("vhost"); err != nil {
		return err
	}
	if err := o.texts(map[string]*string{"component": &p.Component, "name": &p.Name}, "component", "name"); err != nil {
		return err
	}
	value, there := o["value"]
	if !there {
		return &wrong{nil, errors.New(`"value" is missing`)}
	}
	delete(o, "value")
	f.unknownKeys("parameters", o)
	if p.Value = value; p.Component == operatorPolicy {
		return f.addOperatorPolicy(p)
	}
	if p.Component != vhostLimits {
		f.warnComponent(p.Component)
	}
	if err := p.Check(); err != nil {
		return &wrong{[]string{"value"}, err}
	}
	f.parameters = append(f.parameters, p)
	return nil
}

// warnComponent says once that a component is not here.
func (f *File) warnComponent(name string) {
	text := fmt.Sprintf("parameters of component '%s' are kept and have no effect", short(name))
	for _, w := range f.Warnings {
		if w == text {
			return
		}
	}
	f.warn("%s", text)
}

// addOperatorPolicy reads a policy that stands in a parameter.
func (f *File) addOperatorPolicy(p parameterItem) error {
	var o object
	value := asObject(p.Value)
	if len(value) == 0 || value[0] != '{' || json.Unmarshal(value, &o) != nil {
		return wrongType("an object", "value")
	}
	q := policyItem{inVHost: p.inVHost, inside: "value"}
	q.Name, q.Operator = p.Name, true
	if err := q.read(o); err != nil {
		var w *wrong
		if errors.As(err, &w) {
			w.keys = append([]string{"value"}, w.keys...)
		}
		return err
	}
	f.policies = append(f.policies, q)
	f.unknownKeys("parameters[].value", o)
	return nil
}

// read reads what policies of both kinds have.
func (q *policyItem) read(o object) (err error) {
	if q.Pattern, err = o.needed("pattern"); err != nil {
		return err
	}
	if q.ApplyTo, err = o.text("apply-to"); err != nil {
		return err
	}
	if text, there := o.take("priority"); there && json.Unmarshal(text, &q.Priority) != nil {
		return &wrong{[]string{"priority"}, fmt.Errorf("priority should be a number, actually was %s", erlang(text))}
	}
	text, there := o["definition"]
	if !there {
		return &wrong{nil, errors.New(`"definition" is missing`)}
	}
	delete(o, "definition")
	q.Definition = asObject(text)
	return nil
}

// erlang writes a value as RabbitMQ's errors do.
func erlang(text json.RawMessage) string {
	var v any
	_ = json.Unmarshal(text, &v) // it was read before
	return broker.ErlangTerm(v)
}

func (f *File) addPolicy(i item, o object) error {
	q := policyItem{inVHost: inVHost{item: i}}
	var err error
	if q.vhost, err = o.text("vhost"); err != nil {
		return err
	}
	if q.Name, err = o.needed("name"); err != nil {
		return err
	}
	if err := q.read(o); err != nil {
		return err
	}
	f.policies = append(f.policies, q)
	f.unknownKeys("policies", o)
	return nil
}

func (f *File) addGlobal(i item, o object) error {
	p := parameterItem{inVHost: inVHost{item: i}}
	var err error
	if p.Name, err = o.needed("name"); err != nil {
		return err
	}
	value, there := o["value"]
	if !there {
		return &wrong{nil, errors.New(`"value" is missing`)}
	}
	delete(o, "value")
	p.Value = value
	if err := p.Check(); err != nil {
		return &wrong{[]string{"value"}, err}
	}
	f.global = append(f.global, p)
	f.unknownKeys("global_parameters", o)
	return nil
}

// addLimits reads the limits of a file of one virtual host.
func (f *File) addLimits(i item, value json.RawMessage) error {
	if limits, err := limitsOf(value); err != nil {
		return f.failed(i, err)
	} else if len(limits) == 0 {
		return nil
	}
	f.parameters = append(f.parameters, parameterItem{inVHost{item: i}, broker.Parameter{Component: vhostLimits, Name: limitsName, Value: asObject(value)}})
	return nil
}

func (f *File) addExchange(i item, o object) error {
	x := exchangeItem{inVHost: inVHost{item: i}}
	err := errors.Join(
		take(&x.vhost, o.text, "vhost"), take(&x.Name, o.needed, "name"), take(&x.Type, o.needed, "type"),
		takeFlag(&x.Durable, o, "durable", true), takeFlag(&x.AutoDelete, o, "auto_delete", false), takeFlag(&x.Internal, o, "internal", false),
		takeArgs(&x.Args, o))
	if err != nil {
		return first(err)
	}
	f.unknownKeys("exchanges", o)
	if x.Name == "" || strings.HasPrefix(x.Name, "amq.") {
		f.warn("%s: exchange '%s' is every virtual host's, and left as it is", i.path(), short(x.Name))
		return nil
	}
	f.exchanges = append(f.exchanges, x)
	return nil
}

// topicKey is the key of a queue that a Kafka client has made: what others take for a stream.
const topicKey = "kafka_topic"

func (f *File) addQueue(i item, o object) error {
	q := queueItem{inVHost: inVHost{item: i}}
	var exclusive bool
	var kind string
	err := errors.Join(
		take(&q.vhost, o.text, "vhost"), take(&q.Name, o.needed, "name"), take(&kind, o.text, "type"),
		takeFlag(&q.Durable, o, "durable", true), takeFlag(&q.AutoDelete, o, "auto_delete", false), takeFlag(&exclusive, o, "exclusive", false),
		takeArgs(&q.Args, o), q.takeTopic(o))
	if err != nil {
		return first(err)
	}
	f.unknownKeys("queues", o)
	switch {
	case strings.HasPrefix(q.Name, "amq."), q.Name == "":
		f.warn("%s: queue '%s' has a name that the broker gives, and is left out", i.path(), short(q.Name))
		return nil
	case exclusive:
		f.warn("%s: queue '%s' is exclusive, and is left out", i.path(), short(q.Name))
		return nil
	case kind != "" && !q.Topic && !hasArg(q.Args, argQueueType):
		q.Args = withText(q.Args, argQueueType, kind)
	}
	f.queues = append(f.queues, q)
	return nil
}

// takeTopic takes out what makes a queue a topic.
func (q *queueItem) takeTopic(o object) error {
	text, there := o.take(topicKey)
	if !there {
		return nil
	}
	var t exportedTopic
	if text[0] != '{' || json.Unmarshal(text, &t) != nil {
		return wrongType("an object of partitions and config", topicKey)
	}
	q.Topic, q.Partitions, q.Configs, q.Args = true, t.Partitions, t.Config, nil
	return nil
}

func (f *File) addBinding(i item, o object) error {
	b := bindingItem{inVHost: inVHost{item: i}}
	kind := ""
	err := errors.Join(
		take(&b.vhost, o.text, "vhost"), take(&b.Source, o.needed, "source"), take(&b.Dest, o.needed, "destination"),
		take(&kind, o.text, "destination_type"), take(&b.Key, o.text, "routing_key"), takeArgs(&b.Args, o))
	if err != nil {
		return first(err)
	}
	switch kind {
	case "queue", "q", "":
	case "exchange", "e":
		b.ToExchange = true
	default:
		return &wrong{[]string{"destination_type"}, fmt.Errorf("'%s' is neither queue nor exchange", short(kind))}
	}
	delete(o, "properties_key")
	f.unknownKeys("bindings", o)
	if b.Source == "" {
		return nil // every queue has it
	}
	f.bindings = append(f.bindings, b)
	return nil
}

// take reads a value with a method of an object.
func take[T any](into *T, read func(key string) (T, error), key string) (err error) {
	*into, err = read(key)
	return err
}

func takeFlag(into *bool, o object, key string, without bool) (err error) {
	*into, err = o.flag(key, without)
	return err
}

func takeArgs(into *[]byte, o object) (err error) {
	value, there := o.take("arguments")
	if !there || string(value) == "{}" || string(value) == "[]" {
		return nil
	}
	*into, err = tableOf(value, "arguments")
	return err
}

// first is the first of joined errors.
func first(err error) error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return list.Unwrap()[0]
	}
	return err
}
