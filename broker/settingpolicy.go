package broker

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/internal/pattern"
)

// SettingPolicy is what RabbitMQ calls a policy: settings for the queues and exchanges of a
// virtual host whose names match a pattern. Of those that match, the one of the highest
// priority applies, and of these the newest. An operator's is chosen beside it, and holds over it.
type SettingPolicy struct {
	Name     string
	Operator bool
	Pattern  string // RE2, not anchored
	ApplyTo  string // one of applyTo; "" is all
	Priority int64
	// Definition is a JSON object: values by keys, as in Setting.Policy, or alternate-exchange.
	Definition json.RawMessage
}

const (
	maxPolicyName  = 255
	maxPolicyBytes = 16 << 10 // of a definition
)

// keyAlternate is the one key of a policy that is about exchanges.
const keyAlternate = argAlternate

// applyTo is what a policy may be about: types of queue, and exchanges.
var applyTo = map[string]struct {
	queues    typeSet
	exchanges bool
}{
	"all":            {everyType, true},
	"queues":         {everyType, false},
	"classic_queues": {classic.set, false},
	"quorum_queues":  {quorum.set, false},
	"streams":        {keptTypes, false},
	"exchanges":      {0, true},
}

// policyRule is a policy as it is looked at.
type policyRule struct {
	SettingPolicy
	serial    uint64 // the newest has the highest
	id        uint64 // no other of this process has it
	pattern   *regexp.Regexp
	begins    string  // what each name begins with that the pattern is for
	queues    typeSet // to which it applies
	exchanges bool
	values    layer
	raw       map[string]any
	alternate string // "" is none
}

// newRule checks a policy. The errors are RabbitMQ's.
func newRule(p SettingPolicy) (*policyRule, error) {
	r := &policyRule{SettingPolicy: p, values: layer{}}
	r.ApplyTo = cmp.Or(p.ApplyTo, "all")
	to, known := applyTo[r.ApplyTo]
	switch {
	case p.Name == "" || len(p.Name) > maxPolicyName || !utf8.ValidString(p.Name):
		return nil, fail(BadSetting, "a policy's name must be UTF-8 text of 1 to %d bytes", maxPolicyName)
	case !known:
		return nil, fail(BadSetting, "apply-to '%s' unrecognised; should be one of: 'queues', 'classic_queues', "+
			" 'quorum_queues', 'streams', 'exchanges', or 'all'", r.ApplyTo)
	case len(p.Definition) > maxPolicyBytes:
		return nil, fail(BadSetting, "a definition must not exceed %d bytes", maxPolicyBytes)
	}
	var err error
	if r.pattern, err = pattern.Compile(p.Pattern); err != nil {
		return nil, fail(BadSetting, "pattern should be regular expression but is invalid: %v", err)
	}
	r.begins = pattern.Beginning(p.Pattern)
	r.queues, r.exchanges = to.queues, to.exchanges
	if err := r.define(p.Definition); err != nil {
		return nil, err
	}
	return r, nil
}

// define reads what the policy sets.
func (r *policyRule) define(text json.RawMessage) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fail(BadSetting, "Could not parse JSON document: %v", err)
	}
	object, ok := v.(map[string]any)
	switch {
	case !ok:
		return fail(BadSetting, "definition must be a dictionary: %s", ErlangTerm(v))
	case len(object) == 0:
		return fail(BadSetting, "no policy provided")
	}
	r.raw = object
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		known, err := r.set(key, object[key])
		if err != nil {
			return err
		}
		if !known {
			unknown = append(unknown, "{"+ErlangTerm(key)+","+ErlangTerm(object[key])+"}")
		}
	}
	if len(unknown) > 0 {
		return fail(BadSetting, "[%s] are not recognised policy settings", strings.Join(unknown, ","))
	}
	text, err := compactJSON(object)
	r.Definition = text
	return err
}

// set reads one key; known is false if a policy of this kind does not have it.
func (r *policyRule) set(key string, v any) (known bool, err error) {
	if key == keyAlternate && !r.Operator {
		name, ok := v.(string)
		if !ok {
			return true, fail(BadSetting, "%s is not a valid alternate exchange name", ErlangTerm(v))
		}
		r.alternate = name
		return true, nil
	}
	t := settingNamed(key, func(t *Setting) string { return t.Policy })
	if key == "" || t == nil || r.Operator && !t.operator {
		return false, nil
	}
	value, ok := t.fromPolicy(v)
	if !ok {
		return true, fail(BadSetting, "%s is not a valid %s", ErlangTerm(v), cmp.Or(t.word, strings.ReplaceAll(key, "-", " ")))
	}
	r.values[t] = value
	r.queues &^= t.bars
	return true, nil
}

// fromPolicy brings a value of a policy into the table's form; ok is false for one that it does not take.
func (t *Setting) fromPolicy(v any) (value string, ok bool) {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), t.Type == Flag
	case string:
		switch {
		case t.age:
			d, ok := parseAge(v)
			return strconv.FormatInt(d.Milliseconds(), 10), ok && d >= t.least
		case t.Type == Name, t.Type == Text && t.Arg != argConsumerTimeout:
			return "S" + v, true
		}
		return v, t.Type == Word && slices.Contains(t.Words, v)
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		switch {
		case err != nil || t.age:
			return "", false
		case t.Type == Text:
			return "l" + v.String(), t.Arg == argConsumerTimeout && n >= 0
		case t.Arg == argSegmentBytes && n > maxStreamSegmentBytes:
			return "", false
		case t.Max == MaxTimeMs:
			n = min(n, t.Max) // which has no end on RabbitMQ
		}
		return strconv.FormatInt(n, 10), t.Type == Whole && n >= t.Min && n <= t.Max
	}
	return "", false
}

// compactJSON is the one way to write what was read: keys in order.
func compactJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ErlangTerm writes a value as RabbitMQ's errors do.
func ErlangTerm(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "<<" + strconv.Quote(v) + ">>"
	case []any:
		list := make([]string, len(v))
		for i := range v {
			list[i] = ErlangTerm(v[i])
		}
		return "[" + strings.Join(list, ",") + "]"
	case map[string]any:
		list := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = append(list, ErlangTerm(key)+" => "+ErlangTerm(v[key]))
		}
		return "#{" + strings.Join(list, ",") + "}"
	}
	return fmt.Sprint(v)
}

// same says whether two policies are the same but for their age.
func (r *policyRule) same(p *policyRule) bool {
	return r != nil && r.Name == p.Name && r.Operator == p.Operator && r.Pattern == p.Pattern && r.ApplyTo == p.ApplyTo &&
		r.Priority == p.Priority && bytes.Equal(r.Definition, p.Definition)
}

// matched are the policies that apply to one thing; nil is none.
type matched struct {
	user, operator *policyRule
}

// key is the same for all to which the same policies apply.
func (m matched) key() string {
	if m == (matched{}) {
		return ""
	}
	var key []byte
	for _, r := range []*policyRule{m.user, m.operator} {
		id := uint64(0)
		if r != nil {
			id = r.id
		}
		key = binary.BigEndian.AppendUint64(key, id)
	}
	return string(key)
}

// layer is what they set together, of what that type of queue has: the operator's limits narrow
// those of the other, and what else it sets holds.
func (m matched) layer(kind *queueType) layer {
	if m == (matched{}) {
		return nil
	}
	out := layer{}
	takes := func(t *Setting) bool {
		return t.of&kind.set != 0 || kind == topic && t.of&streamType != 0
	}
	if m.user != nil {
		for t, v := range m.user.values {
			if takes(t) {
				out[t] = v
			}
		}
	}
	if m.operator != nil {
		for t, v := range m.operator.values {
			if have, ok := out[t]; takes(t) && !(ok && t.merge == lesserFirst && less(have, v)) {
				out[t] = v
			}
		}
	}
	return out
}

// names of the two, and what they say together, keys and values as they were given.
func (m matched) describe() AppliedPolicies {
	var a AppliedPolicies
	if m.user != nil {
		a.Policy = m.user.Name
		a.Definition = maps.Clone(m.user.raw)
	}
	if m.operator == nil {
		return a
	}
	a.OperatorPolicy = m.operator.Name
	if a.Definition == nil {
		a.Definition = map[string]any{}
	}
	for key, v := range m.operator.raw {
		t := settingNamed(key, func(t *Setting) string { return t.Policy })
		if m.user != nil && t.merge == lesserFirst {
			if have, ok := m.user.values[t]; ok && less(have, m.operator.values[t]) {
				continue
			}
		}
		a.Definition[key] = v
	}
	return a
}

// AppliedPolicies say which policies apply to a queue or exchange, "" for none, and what they
// set together: numbers are json.Number.
type AppliedPolicies struct {
	Policy, OperatorPolicy string
	Definition             map[string]any
}

// Policies are those that apply to the queue.
func (q *Queue) Policies() AppliedPolicies { return q.Settings().layers.under.describe() }

// Policies are those that apply to the exchange.
func (x *Exchange) Policies() AppliedPolicies {
	if m := x.under.Load(); m != nil {
		return m.describe()
	}
	return AppliedPolicies{}
}

// alternateName is the exchange that gets what is routed nowhere, "" for none: the declaration's,
// or else that of a policy.
func (x *Exchange) alternateName() string {
	if x.alternate == "" {
		if m := x.under.Load(); m != nil && m.user != nil {
			return m.user.alternate
		}
	}
	return x.alternate
}
