package acl

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/internal/pattern"
)

// Binding is one entry that allows something, from any host.
type Binding struct {
	ResourceType kmsg.ACLResourceType
	Name         string
	PatternType  kmsg.ACLResourcePatternType
	Principal    string
	Operation    kmsg.ACLOperation
}

// AnyHost is the one host that there are entries for.
const AnyHost = "*"

const (
	userPrincipal = "User:"
	everybody     = "User:*"
	clusterName   = "kafka-cluster"
	allNames      = "*"
	regexPrefix   = "regex:" // no topic's name has a colon
)

// rights are some of the three.
type rights uint8

const (
	configure rights = 1 << iota
	write
	read
	any3 = configure | write | read
)

// operation is what an operation on topics or groups stands for: all of these rights, or one of them.
type operation struct {
	op  kmsg.ACLOperation
	of  rights
	all bool
}

func (o *operation) allowed(have rights) bool {
	if o.all {
		return have == o.of
	}
	return have&o.of != 0
}

// implied says that the operation comes with others, and is neither given nor taken by itself.
func (o *operation) implied() bool { return o.of == any3 && !o.all }

// operations are those that names have, in the order in which they are shown.
var operations = map[kmsg.ACLResourceType][]operation{
	kmsg.ACLResourceTypeTopic: {
		{kmsg.ACLOperationAll, any3, true}, {kmsg.ACLOperationRead, read, false}, {kmsg.ACLOperationWrite, write, false},
		{kmsg.ACLOperationCreate, configure, false}, {kmsg.ACLOperationDelete, configure, false}, {kmsg.ACLOperationAlter, configure, false},
		{kmsg.ACLOperationDescribe, any3, false}, {kmsg.ACLOperationDescribeConfigs, any3, false}, {kmsg.ACLOperationAlterConfigs, configure, false},
	},
	kmsg.ACLResourceTypeGroup: {
		{kmsg.ACLOperationAll, any3, true}, {kmsg.ACLOperationRead, read, false}, {kmsg.ACLOperationDelete, configure, false},
		{kmsg.ACLOperationDescribe, any3, false}, {kmsg.ACLOperationDescribeConfigs, any3, false}, {kmsg.ACLOperationAlterConfigs, configure, false},
	},
}

var named = []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup}

// row is the permission of one user in the virtual host that is looked at.
type row struct {
	access.Permission
	tags    []string
	changed bool
}

// of is the pattern of one right.
func (r *row) of(right rights) *string {
	switch right {
	case configure:
		return &r.Configure
	case write:
		return &r.Write
	}
	return &r.Read
}

// granted is a term of a row's patterns, with the rights in which it stands.
type granted struct {
	pattern.Term
	rights rights
}

func (r *row) granted() []granted {
	var out []granted
	for right := configure; right <= read; right <<= 1 {
		for _, t := range pattern.Terms(*r.of(right)) {
			if i := slices.IndexFunc(out, func(g granted) bool { return g.Is(t) }); i >= 0 {
				out[i].rights |= right
			} else {
				out = append(out, granted{t, right})
			}
		}
	}
	return out
}

// bindings are all that the row allows.
func (r *row) bindings() []Binding {
	var out []Binding
	for _, g := range r.granted() {
		b := Binding{Principal: userPrincipal + r.User}
		b.Name, b.PatternType = nameOf(g.Term)
		for _, b.ResourceType = range named {
			for _, o := range operations[b.ResourceType] {
				if b.Operation = o.op; o.allowed(g.rights) {
					out = append(out, b)
				}
			}
		}
	}
	return append(out, r.ofCluster()...)
}

// ofCluster are what the row and the user's tags allow of the broker as a whole.
func (r *row) ofCluster() []Binding {
	var ops []kmsg.ACLOperation
	switch {
	case slices.Contains(r.tags, access.TagAdministrator):
		ops = append(ops, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs)
	case slices.Contains(r.tags, access.TagMonitoring):
		ops = append(ops, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs)
	}
	if len(pattern.Terms(r.Write)) > 0 {
		ops = append(ops, kmsg.ACLOperationIdempotentWrite)
	}
	out := make([]Binding, len(ops))
	for i, op := range ops {
		out[i] = Binding{ResourceType: kmsg.ACLResourceTypeCluster, Name: clusterName, PatternType: kmsg.ACLResourcePatternTypeLiteral,
			Principal: userPrincipal + r.User, Operation: op}
	}
	return out
}

// nameOf is how a term is shown.
func nameOf(t pattern.Term) (string, kmsg.ACLResourcePatternType) {
	switch {
	case t.Kind == pattern.AllNames:
		return allNames, kmsg.ACLResourcePatternTypeLiteral
	case t.Kind == pattern.Prefix:
		return t.Text, kmsg.ACLResourcePatternTypePrefixed
	case t.Kind == pattern.OneName && t.Text != allNames && !strings.HasPrefix(t.Text, regexPrefix):
		return t.Text, kmsg.ACLResourcePatternTypeLiteral
	}
	return regexPrefix + t.String(), kmsg.ACLResourcePatternTypeLiteral
}

// termOf is the way back.
func termOf(name string, kind kmsg.ACLResourcePatternType) (pattern.Term, error) {
	text, isPattern := strings.CutPrefix(name, regexPrefix)
	switch {
	case name == "":
		return pattern.Term{}, refused("a resource without a name")
	case kind == kmsg.ACLResourcePatternTypePrefixed:
		return pattern.Term{Kind: pattern.Prefix, Text: name}, nil
	case kind != kmsg.ACLResourcePatternTypeLiteral:
		return pattern.Term{}, refused("a pattern type that is neither literal nor prefixed")
	case name == allNames:
		return pattern.Term{Kind: pattern.AllNames}, nil
	case !isPattern:
		return pattern.Term{Kind: pattern.OneName, Text: name}, nil
	}
	if _, err := pattern.NewNames(text); err != nil {
		return pattern.Term{}, refused("%v", err)
	}
	switch terms := pattern.Terms(text); len(terms) {
	case 0:
		return pattern.Term{}, refused("the pattern %q is for no name", text)
	case 1:
		return terms[0], nil
	}
	return pattern.Term{Kind: pattern.Other, Text: "(?:" + text + ")"}, nil
}
