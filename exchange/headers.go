package exchange

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/internal/field"
)

// ErrArgs says that the key or the arguments of a binding, or the arguments of an exchange,
// make no sense.
var ErrArgs = errors.New("invalid arguments")

// argError is an ErrArgs in words of its own, which are RabbitMQ's.
type argError string

func (e argError) Error() string { return string(e) }

// Is makes it an ErrArgs.
func (e argError) Is(target error) bool { return target == ErrArgs }

func badArgs(format string, args ...any) error { return argError(fmt.Sprintf(format, args...)) }

// headerRule is the bindings with the same arguments.
type headerRule struct {
	args    string
	all     bool        // all conditions must hold, else one
	conds   []condition // the arguments that count
	targets *targets
}

// condition asks for a header of that name with that value, or any if it is void.
type condition struct {
	name  []byte
	value field.Iterator // stands on the field
	void  bool
	index indexKey
}

// indexKey is the hash of a name with a value, or of a name alone. Equal values of
// different width or type tag have the same one.
type indexKey [8]byte

// headerRules is immutable. A rule with "all" is found under one of its
// conditions, the one with the fewest rules; a rule with "any" under each of them.
type headerRules struct {
	byArgs hamt[*headerRule]
	index  hamt[[]*headerRule] // by indexKey
	always []*headerRule       // match without any header: "all" of nothing
}

// compileRule reads a binding's arguments. x-match is all (the default) or any,
// which skip arguments beginning with x-, or all-with-x or any-with-x, which do not.
func compileRule(args []byte) (*headerRule, error) {
	r := &headerRule{args: string(args), all: true}
	withX := false
	if err := field.CheckTable(args); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArgs, err)
	}
	if m, ok := field.Find(args, "x-match"); ok {
		how := m.Text()
		if m.Tag() != field.TagString {
			return nil, badArgs("Invalid x-match field type %s (value %s); expected longstr", field.TypeName(m.Tag()), field.Erlang(&m))
		}
		switch string(how) {
		case "all", "any":
		case "all-with-x", "any-with-x":
			withX = true
		default:
			return nil, badArgs("Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x", field.Erlang(&m))
		}
		r.all = strings.HasPrefix(string(how), "all")
	}
	own := []byte(r.args) // the conditions outlive the caller's bytes
	for t := field.NewIterator(own); t.Next(); {
		if string(t.Name()) == "x-match" || !withX && bytes.HasPrefix(t.Name(), []byte("x-")) {
			continue
		}
		c := condition{name: t.Name(), value: t, void: t.Tag() == field.TagVoid}
		c.index = nameKey(c.name)
		if !c.void {
			c.index = valueKey(c.index, &c.value)
		}
		r.conds = append(r.conds, c)
	}
	return r, nil
}

func nameKey(name []byte) (k indexKey) {
	binary.NativeEndian.PutUint64(k[:], maphash.Bytes(seed, name))
	return k
}

// valueKey hashes a value so that what field.SameValue calls equal gets one key.
func valueKey(name indexKey, v *field.Iterator) (k indexKey) {
	kind, n := byte(0), uint64(0)
	if i, ok := v.Int(); ok {
		kind, n = 'l', uint64(i)
	} else if f, ok := v.Float(); ok {
		kind, n = 'd', math.Float64bits(f+0) // +0 makes one of both zeros
	} else if text := v.Text(); text != nil {
		kind, n = 'S', maphash.Bytes(seed, text)
	} else {
		kind, n = v.Tag(), maphash.Bytes(seed, v.Raw())
	}
	var all [17]byte
	copy(all[:], name[:])
	all[8] = kind
	binary.NativeEndian.PutUint64(all[9:], n)
	binary.NativeEndian.PutUint64(k[:], maphash.Bytes(seed, all[:]))
	return k
}

func (c *condition) holds(headers []byte) bool {
	for t := field.NewIterator(headers); t.Next(); {
		if bytes.Equal(t.Name(), c.name) {
			return c.void || field.SameValue(&c.value, &t)
		}
	}
	return false
}

func (r *headerRule) matches(headers []byte) bool {
	for i := range r.conds {
		if r.conds[i].holds(headers) != r.all {
			return !r.all
		}
	}
	return r.all
}

// with does not change h; the rule of the binding is replaced wherever it stands.
func (h headerRules) with(b Binding) (headerRules, error) {
	old, ok := h.byArgs.get(b.Args)
	if ok {
		next := *old
		next.targets = old.targets.with(b.Target)
		return h.replace(old, &next), nil
	}
	r, err := compileRule(b.Args)
	if err != nil {
		return h, err
	}
	r.targets = r.targets.with(b.Target)
	h.byArgs = h.byArgs.set(r.args, r, false)
	if len(r.conds) == 0 {
		if r.all {
			h.always = append(slices.Clip(h.always), r)
		}
		return h, nil
	}
	for _, key := range h.keysOf(r) {
		bucket, _ := h.index.get(key[:])
		h.index = h.index.set(string(key[:]), append(slices.Clip(bucket), r), false)
	}
	return h, nil
}

// keysOf are the keys under which a new rule is to be found, each once.
func (h headerRules) keysOf(r *headerRule) []indexKey {
	var keys []indexKey
	least := -1
	for i := range r.conds {
		key := r.conds[i].index
		if !r.all {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
			continue
		}
		if bucket, _ := h.index.get(key[:]); least < 0 || len(bucket) < least {
			keys, least = append(keys[:0], key), len(bucket)
		}
	}
	return keys
}

// replace puts next in old's place everywhere, or takes old away if next is nil.
func (h headerRules) replace(old, next *headerRule) headerRules {
	if next == nil {
		h.byArgs = h.byArgs.delete(old.args)
	} else {
		h.byArgs = h.byArgs.set(old.args, next, false)
	}
	h.always = exchangeRule(h.always, old, next)
	for i := range old.conds {
		key := old.conds[i].index
		bucket, _ := h.index.get(key[:])
		if !slices.Contains(bucket, old) {
			continue
		}
		if bucket = exchangeRule(bucket, old, next); len(bucket) == 0 {
			h.index = h.index.delete(string(key[:]))
		} else {
			h.index = h.index.set(string(key[:]), bucket, false)
		}
	}
	return h
}

// exchangeRule is a copy of list with next, unless nil, where old was.
func exchangeRule(list []*headerRule, old, next *headerRule) []*headerRule {
	i := slices.Index(list, old)
	if i < 0 {
		return list
	}
	list = slices.Clone(list)
	if next == nil {
		return slices.Delete(list, i, i+1)
	}
	list[i] = next
	return list
}

func (h headerRules) without(b Binding) (headerRules, bool) {
	old, ok := h.byArgs.get(b.Args)
	if !ok {
		return h, false
	}
	left, found := old.targets.without(b.Target)
	if !found {
		return h, false
	}
	if left == nil {
		return h.replace(old, nil), true
	}
	next := *old
	next.targets = left
	return h.replace(old, &next), true
}

func (h headerRules) route(headers []byte, into []Target) []Target {
	base := len(into)
	for _, r := range h.always {
		into = r.targets.appendTo(into)
	}
	for t := field.NewIterator(headers); t.Next(); {
		key := nameKey(t.Name())
		into = h.look(key, headers, into)
		into = h.look(valueKey(key, &t), headers, into)
	}
	return unique(into, base)
}

// look appends the targets of the matching rules under one key.
func (h headerRules) look(key indexKey, headers []byte, into []Target) []Target {
	bucket, _ := h.index.get(key[:])
	for _, r := range bucket {
		if r.matches(headers) {
			into = r.targets.appendTo(into)
		}
	}
	return into
}
