package broker

import (
	"cmp"
	"fmt"
	"math"
	"strings"
)

// settingsReference prints the page docs/settings.md from the table.
func settingsReference() string {
	var b strings.Builder
	b.WriteString(`# Settings of queues and topics

<!-- Printed from package broker; a test holds this page to it. To renew it: go test ./broker -run SettingsReference -update -->

A queue's settings are arguments of its AMQP declaration, a topic's are its Kafka configs. To a Kafka client a queue is a topic, whose configs it
can read; beside an argument stands the one that tells what it says of a stream. What holds is, the strongest first: what was declared, a policy, the default of the type of queue, what the server was started with, the default here.
Where both the declaration and a policy say something, the page says which holds: *lesser* is the narrower of the two, *policy* the policy; else it is what was declared. Over a stream's arguments a policy always
holds, and over the x-overflow of quorum queues, as in RabbitMQ; what a Kafka client sets of a topic counts as declared. What an operator policy may set is marked *operator*: it narrows a lesser, and replaces what
another policy says else. See [definitions.md](definitions.md) for how policies are set.
An argument that stands nowhere on this page is ignored, as RabbitMQ does; a config that stands nowhere is refused, as Kafka does.

| AMQP argument | Kafka config | policy | values | default | of | changed live by | effect |
|---|---|---|---|---|---|---|---|
`)
	for _, t := range settingTable {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", code(t.Arg), code(cmp.Or(t.Config, t.as)), t.byPolicy(), t.values(), t.defaults(), t.types(), t.changers(), t.effect())
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// byPolicy is the key of a policy, and how it is merged.
func (t *Setting) byPolicy() string {
	if t.Policy == "" {
		return ""
	}
	out := code(t.Policy)
	switch t.merge {
	case lesserFirst:
		out += " lesser"
	case policyFirst:
		out += " policy"
	}
	if t.operator {
		out += ", operator"
	}
	return out
}

func (t *Setting) values() string {
	switch {
	case t.age:
		return "a number and one of Y, M, D, h, m, s"
	case t.Type == Flag && len(t.Words) == 0:
		return "true, false"
	case t.Type == Word, t.Type == Flag:
		return strings.Join(t.Words, ", ")
	case t.Type == List:
		return "any of " + strings.Join(t.Words, ", ")
	case t.Type == Share:
		return "a number from 0 to 1"
	case t.Type == Places:
		return "partition:broker pairs, \\*, or none"
	case t.Type == Text, t.Type == Name:
		return "text"
	case len(t.Words) > 0:
		return fmt.Sprintf("%s, %d to %d", strings.Join(t.Words, ", "), t.Min, t.Max)
	case t.Min == t.Max:
		return fmt.Sprint(t.Min)
	case t.Min == math.MinInt64:
		return "a whole number"
	case t.Max >= math.MaxInt64/1_000_000:
		return fmt.Sprintf("from %d on", t.Min)
	}
	return fmt.Sprintf("%d to %d", t.Min, t.Max)
}

// defaults are the table's own, and those of types of queue that have another.
func (t *Setting) defaults() string {
	out := []string{}
	if t.Default != "" {
		out = append(out, t.Default)
	}
	for _, kind := range allQueueTypes {
		if v, ok := kind.defaults[cmp.Or(t.Config, t.Arg)]; ok {
			out = append(out, kind.name+": "+v)
		}
	}
	return strings.Join(out, "; ")
}

func (t *Setting) types() string {
	if t.Config != "" {
		return "topics"
	}
	var out []string
	for _, kind := range []*queueType{classic, quorum, stream} {
		if t.of&kind.set != 0 {
			out = append(out, kind.name)
		}
	}
	return strings.Join(out, ", ")
}

// effect says whether anything is done for it; see settingTable.
func (t *Setting) effect() string {
	switch {
	case t.only != "":
		return "yes, " + t.only
	case t.obey != nil, t.as != "", t.Arg == argType:
		return "yes"
	}
	return "taken, none"
}

func (t *Setting) changers() string {
	if t.Live&ByConfig != 0 {
		return "AlterConfigs"
	}
	if t.Live&ByPolicy != 0 {
		return "a policy"
	}
	return "nobody"
}
