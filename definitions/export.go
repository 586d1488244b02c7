package definitions

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
)

// rabbitVersion is the RabbitMQ whose form the file has; it says too that hashes are SHA-256's.
const rabbitVersion = "4.0.5"

// Source is what is exported.
type Source struct {
	Broker *broker.Defined
	Access *access.Stored // nil when users are left out
	// VHost leaves out all but one virtual host; the file names none then.
	VHost string
	// ClusterName is what the broker is called; "" is not said.
	ClusterName string
	// Version is the broker's own; "" is not said.
	Version string
}

// Forms of items, in the file's order of keys.
type (
	exportedUser struct {
		Name      string           `json:"name"`
		Hash      string           `json:"password_hash"`
		Algorithm string           `json:"hashing_algorithm"`
		Tags      []string         `json:"tags"`
		Limits    map[string]int64 `json:"limits"`
	}
	exportedMeta struct {
		Description      string   `json:"description"`
		Tags             []string `json:"tags"`
		DefaultQueueType string   `json:"default_queue_type,omitempty"`
		Protected        bool     `json:"protected_from_deletion,omitempty"`
	}
	exportedVHost struct {
		Name             string       `json:"name"`
		Description      string       `json:"description"`
		Tags             []string     `json:"tags"`
		DefaultQueueType string       `json:"default_queue_type,omitempty"`
		Metadata         exportedMeta `json:"metadata"`
	}
	exportedPermission struct {
		User      string `json:"user"`
		VHost     string `json:"vhost"`
		Configure string `json:"configure"`
		Write     string `json:"write"`
		Read      string `json:"read"`
	}
	exportedTopicPermission struct {
		User     string `json:"user"`
		VHost    string `json:"vhost"`
		Exchange string `json:"exchange"`
		Write    string `json:"write"`
		Read     string `json:"read"`
	}
	exportedParameter struct {
		VHost     string          `json:"vhost,omitempty"`
		Component string          `json:"component,omitempty"`
		Name      string          `json:"name"`
		Value     json.RawMessage `json:"value"`
	}
	exportedPolicy struct {
		VHost      string          `json:"vhost,omitempty"`
		Name       string          `json:"name,omitempty"`
		Pattern    string          `json:"pattern"`
		ApplyTo    string          `json:"apply-to"`
		Definition json.RawMessage `json:"definition"`
		Priority   int64           `json:"priority"`
	}
	exportedExchange struct {
		Name       string          `json:"name"`
		VHost      string          `json:"vhost,omitempty"`
		Type       string          `json:"type"`
		Durable    bool            `json:"durable"`
		AutoDelete bool            `json:"auto_delete"`
		Internal   bool            `json:"internal"`
		Arguments  json.RawMessage `json:"arguments"`
	}
	exportedQueue struct {
		Name       string          `json:"name"`
		VHost      string          `json:"vhost,omitempty"`
		Durable    bool            `json:"durable"`
		AutoDelete bool            `json:"auto_delete"`
		Arguments  json.RawMessage `json:"arguments"`
		Topic      *exportedTopic  `json:"kafka_topic,omitempty"`
	}
	exportedTopic struct {
		Partitions int               `json:"partitions"`
		Config     map[string]string `json:"config"`
	}
	exportedBinding struct {
		Source      string          `json:"source"`
		VHost       string          `json:"vhost,omitempty"`
		Destination string          `json:"destination"`
		Kind        string          `json:"destination_type"`
		Key         string          `json:"routing_key"`
		Arguments   json.RawMessage `json:"arguments"`
	}
)

// Export writes a file. It returns what could not be said in one.
func Export(w io.Writer, s Source) (warnings []string, err error) {
	x := &exporter{w: bufio.NewWriterSize(w, 64<<10), s: s}
	if s.VHost != "" && !slices.ContainsFunc(s.Broker.VHosts, func(v broker.DefinedVHost) bool { return v.Name == s.VHost }) {
		return nil, fmt.Errorf("vhost_not_found: %s", s.VHost)
	}
	x.text("{\n")
	x.key("rabbit_version", rabbitVersion)
	x.key("rabbitmq_version", rabbitVersion)
	x.key("product_name", "Leveret")
	if s.Version != "" {
		x.key("product_version", s.Version)
	}
	if s.VHost == "" {
		x.key("rabbitmq_definition_format", "cluster")
		if s.ClusterName != "" {
			x.key("original_cluster_name", s.ClusterName)
			x.key("explanation", "Definitions of cluster '"+s.ClusterName+"'")
		}
		x.users()
		x.vhosts()
		x.permissions()
	} else {
		x.key("rabbitmq_definition_format", "single_virtual_host")
		x.key("explanation", "Definitions of virtual host '"+s.VHost+"'")
		x.oneVHost()
	}
	x.perVHost()
	x.text("\n}\n")
	if x.err == nil {
		x.err = x.w.Flush()
	}
	if x.err != nil {
		return x.warnings, fmt.Errorf("write definitions: %w", x.err)
	}
	return x.warnings, nil
}

// exporter writes a file piece by piece.
type exporter struct {
	w        *bufio.Writer
	s        Source
	keys     int // written
	items    int // of the list
	warnings []string
	err      error
}

func (x *exporter) text(s string) {
	if x.err == nil {
		_, x.err = x.w.WriteString(s)
	}
}

// begin writes what stands before the value of a key.
func (x *exporter) begin(key string) {
	if x.keys++; x.keys > 1 {
		x.text(",\n")
	}
	x.text(" \"" + key + "\": ")
}

func (x *exporter) key(key string, v any) {
	x.begin(key)
	x.json(v)
}

func (x *exporter) json(v any) {
	if x.err != nil {
		return
	}
	var text []byte
	if text, x.err = encode(v); x.err == nil {
		_, x.err = x.w.Write(text)
	}
}

// list writes a list, of which items writes each by item.
func (x *exporter) list(key string, items func()) {
	x.begin(key)
	x.text("[")
	x.items = 0
	items()
	if x.items > 0 {
		x.text("\n ")
	}
	x.text("]")
}

func (x *exporter) item(v any) {
	if x.items++; x.items > 1 {
		x.text(",")
	}
	x.text("\n  ")
	x.json(v)
}

func (x *exporter) users() {
	x.list("users", func() {
		if x.s.Access == nil {
			return
		}
		for _, u := range x.s.Access.Users() {
			out := exportedUser{Name: u.Name, Tags: notNil(u.Tags), Limits: u.Limits}
			if out.Algorithm, out.Hash = u.Hash.Export(); u.Hash == "" {
				out.Algorithm = ""
			}
			if out.Limits == nil {
				out.Limits = map[string]int64{}
			}
			x.item(out)
		}
	})
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (x *exporter) vhosts() {
	x.list("vhosts", func() {
		for _, v := range x.s.Broker.VHosts {
			m := metaOf(v.Meta)
			x.item(exportedVHost{v.Name, m.Description, m.Tags, m.DefaultQueueType, m})
		}
	})
}

func metaOf(m broker.VHostMeta) exportedMeta {
	return exportedMeta{m.Description, notNil(m.Tags), m.DefaultQueueType, m.Protected}
}

func (x *exporter) permissions() {
	there := func(vhost string) bool {
		return slices.ContainsFunc(x.s.Broker.VHosts, func(v broker.DefinedVHost) bool { return v.Name == vhost })
	}
	x.list("permissions", func() {
		if x.s.Access == nil {
			return
		}
		for _, p := range x.s.Access.Permissions() {
			if there(p.VHost) {
				x.item(exportedPermission{p.User, p.VHost, p.Configure, p.Write, p.Read})
			}
		}
	})
	x.list("topic_permissions", func() {
		if x.s.Access == nil {
			return
		}
		for _, p := range x.s.Access.TopicPermissions() {
			if there(p.VHost) {
				x.item(exportedTopicPermission{p.User, p.VHost, p.Exchange, p.Write, p.Read})
			}
		}
	})
	x.list("global_parameters", func() {
		for _, p := range x.s.Broker.Global {
			x.item(exportedParameter{Name: p.Name, Value: p.Value})
		}
	})
}

// oneVHost writes what a file of one virtual host says of it.
func (x *exporter) oneVHost() {
	for _, v := range x.s.Broker.VHosts {
		if v.Name == x.s.VHost {
			x.key("original_vhost_name", v.Name)
			x.key("description", v.Meta.Description)
			x.key("metadata", metaOf(v.Meta))
		}
	}
}

// each calls do with each virtual host that is exported, and what the items in it name it.
func (x *exporter) each(do func(v *broker.DefinedVHost, named string)) {
	for i := range x.s.Broker.VHosts {
		v := &x.s.Broker.VHosts[i]
		switch x.s.VHost {
		case "":
			do(v, v.Name)
		case v.Name:
			do(v, "")
		}
	}
}

// perVHost writes what stands in virtual hosts.
func (x *exporter) perVHost() {
	x.list("parameters", func() { x.each(x.parameters) })
	x.list("policies", func() { x.each(x.policies) })
	x.list("queues", func() { x.each(x.queues) })
	x.list("exchanges", func() { x.each(x.exchanges) })
	x.list("bindings", func() { x.each(x.bindings) })
}

func (x *exporter) parameters(v *broker.DefinedVHost, named string) {
	if len(v.Limits) > 0 {
		value, err := encode(v.Limits)
		x.fail(err)
		x.item(exportedParameter{named, vhostLimits, limitsName, value})
	}
	for _, p := range v.Policies {
		if p.Operator {
			value, err := encode(exportedPolicy{Pattern: p.Pattern, ApplyTo: p.ApplyTo, Definition: p.Definition, Priority: p.Priority})
			x.fail(err)
			x.item(exportedParameter{named, operatorPolicy, p.Name, value})
		}
	}
	for _, p := range v.Parameters {
		x.item(exportedParameter{named, p.Component, p.Name, p.Value})
	}
}

func (x *exporter) fail(err error) {
	if x.err == nil {
		x.err = err
	}
}

func (x *exporter) policies(v *broker.DefinedVHost, named string) {
	for _, p := range v.Policies {
		if !p.Operator {
			x.item(exportedPolicy{named, p.Name, p.Pattern, p.ApplyTo, p.Definition, p.Priority})
		}
	}
}

func (x *exporter) exchanges(v *broker.DefinedVHost, named string) {
	for _, e := range v.Exchanges {
		if args, ok := x.args(e.Args, "exchange", e.Name, v.Name); ok {
			x.item(exportedExchange{e.Name, named, e.Type, e.Durable, e.AutoDelete, e.Internal, args})
		}
	}
}

func (x *exporter) queues(v *broker.DefinedVHost, named string) {
	for _, q := range v.Queues {
		if q.Topic {
			out := exportedQueue{q.Name, named, true, false, json.RawMessage(`{"x-queue-type":"stream"}`), &exportedTopic{q.Partitions, q.Configs}}
			if out.Topic.Config == nil {
				out.Topic.Config = map[string]string{}
			}
			x.item(out)
			continue
		}
		if args, ok := x.args(q.Args, "queue", q.Name, v.Name); ok {
			x.item(exportedQueue{q.Name, named, q.Durable, q.AutoDelete, args, nil})
		}
	}
}

func (x *exporter) bindings(v *broker.DefinedVHost, named string) {
	for _, b := range v.Bindings {
		kind := "queue"
		if b.ToExchange {
			kind = "exchange"
		}
		if args, ok := x.args(b.Args, "binding of exchange", b.Source, v.Name, b.Key); ok {
			x.item(exportedBinding{b.Source, named, b.Dest, kind, b.Key, args})
		}
	}
}

// args writes arguments. What can't be said of a thing in JSON keeps it out of the file, and is told.
func (x *exporter) args(table []byte, what, name, vhost string, texts ...string) (json.RawMessage, bool) {
	args, err := appendJSON(nil, table)
	for _, text := range texts {
		if _, e := appendText(nil, []byte(text)); err == nil {
			err = e
		}
	}
	if err != nil {
		x.warnings = append(x.warnings, fmt.Sprintf("%s '%s' in vhost '%s' is left out: its key or an argument %v", what, name, vhost, err))
		return nil, false
	}
	return args, true
}
