package exchange

import (
	"slices"
)

// Kind is what an exchange routes by.
type Kind uint8

// The kinds of AMQP 0-9-1 (§3.1.3 of the specification).
const (
	Direct  Kind = iota // by the routing key, equal to the binding's
	Fanout              // by nothing: to every binding
	Topic               // by the routing key's words, against patterns
	Headers             // by the message's headers
)

var kindNames = [...]string{"direct", "fanout", "topic", "headers"}

// String is the kind's name as clients declare it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// ParseKind reads what String writes; ok is false for any other name.
func ParseKind(name string) (k Kind, ok bool) {
	i := slices.Index(kindNames[:], name)
	return Kind(max(i, 0)), i >= 0
}

// Check tells whether a binding of these arguments can be made; the error wraps
// ErrArgs.
func (k Kind) Check(args []byte) error {
	if k != Headers {
		return nil
	}
	_, err := compileRule(args)
	return err
}

// Target is the number of what a binding leads to. The owner of the tables gives
// the numbers.
type Target uint32

// Binding leads messages to a target. Two bindings are the same if all of Key,
// Target and Args are.
type Binding struct {
	Key    string
	Target Target
	Args   []byte // AMQP field table without its length; only Headers looks into it
}

// Table is the bindings of one exchange. It is immutable and safe for concurrent use.
type Table struct {
	kind   Kind
	size   int
	keys   hamt[*targets] // Direct
	all    *targets       // Fanout
	words  *topicNode     // Topic
	header headerRules    // Headers
}

// New is the table of an exchange without bindings.
func New(kind Kind) *Table { return &Table{kind: kind, words: &topicNode{}} }

// Kind is the exchange's kind.
func (t *Table) Kind() Kind { return t.kind }

// Len is the number of bindings.
func (t *Table) Len() int { return t.size }

// With is the table with one more binding. Adding one that is there already counts
// it twice, so the caller keeps bindings unique. A headers exchange refuses bad Args
// with an error that wraps ErrArgs; the other kinds never fail.
func (t *Table) With(b Binding) (*Table, error) {
	next := *t
	next.size++
	switch t.kind {
	case Direct:
		have, _ := t.keys.get([]byte(b.Key))
		next.keys = t.keys.set(b.Key, have.with(b.Target))
	case Fanout:
		next.all = t.all.with(b.Target)
	case Topic:
		next.words = t.words.with(splitPattern(b.Key), b.Target)
	case Headers:
		rules, err := t.header.with(b)
		if err != nil {
			return nil, err
		}
		next.header = rules
	}
	return &next, nil
}

// Without is the table with one binding less, or the table itself if it does not
// have the binding.
func (t *Table) Without(b Binding) *Table {
	next := *t
	next.size--
	found := false
	switch t.kind {
	case Direct:
		next.keys, found = t.withoutKey(b)
	case Fanout:
		next.all, found = t.all.without(b.Target)
	case Topic:
		next.words, found = t.words.without(splitPattern(b.Key), b.Target)
		if next.words == nil {
			next.words = &topicNode{}
		}
	case Headers:
		next.header, found = t.header.without(b)
	}
	if !found {
		return t
	}
	return &next
}

func (t *Table) withoutKey(b Binding) (hamt[*targets], bool) {
	have, _ := t.keys.get([]byte(b.Key))
	left, found := have.without(b.Target)
	if !found {
		return t.keys, false
	}
	if left == nil {
		return t.keys.delete(b.Key), true
	}
	return t.keys.set(b.Key, left), true
}

// Route appends the targets of a message to into, each once, in no particular
// order. headers is the message's headers table without its length, nil if it has none;
// only a headers exchange reads it. What into held before stays as it is.
func (t *Table) Route(key, headers []byte, into []Target) []Target {
	switch t.kind {
	case Direct:
		if found, ok := t.keys.get(key); ok {
			return found.appendTo(into)
		}
		return into
	case Fanout:
		return t.all.appendTo(into)
	case Topic:
		return t.words.route(key, into)
	}
	return t.header.route(headers, into)
}

// unique sorts what was appended after base and drops repetitions.
func unique(into []Target, base int) []Target {
	if len(into)-base < 2 {
		return into
	}
	found := into[base:]
	slices.Sort(found)
	return into[:base+len(slices.Compact(found))]
}
