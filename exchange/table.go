package exchange

import (
	"slices"
)

// Kind is what an exchange routes by.
type Kind uint8

// The kinds of AMQP 0-9-1 (§3.1.3 of the specification), and those of RabbitMQ and its plugins.
const (
	Direct      Kind = iota // by the routing key, equal to the binding's
	Fanout                  // by nothing: to every binding
	Topic                   // by the routing key's words, against patterns
	Headers                 // by the message's headers
	Hash                    // by the hash of the key, a header or a property: to one binding, by weight
	Random                  // by chance: to one binding
	LocalRandom             // as Random, and bindings have no key
)

var kindNames = [...]string{"direct", "fanout", "topic", "headers", "x-consistent-hash", "x-random", "x-local-random"}

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

// Check tells whether a binding with this key and these arguments can be made. The error
// wraps ErrArgs and is in RabbitMQ's words.
func (k Kind) Check(key string, args []byte) (err error) {
	switch k {
	case Headers:
		_, err = compileRule(args)
	case Hash:
		_, err = weight(key)
	case LocalRandom:
		if key != "" {
			err = badArgs("Non empty binding '%s' key not permitted", key)
		}
	}
	return err
}

// Decider is what of a message decides where it goes.
type Decider uint8

// The deciders; each includes those before it.
const (
	Key     Decider = iota // the routing key alone
	Content                // headers or properties too
	Chance                 // nothing of the message: the next one like it may go elsewhere
)

// Target is the number of what a binding leads to. The owner of the tables gives
// the numbers.
type Target uint32

// Binding leads messages to a target. Two bindings are the same if all of Key,
// Target and Args are.
type Binding struct {
	Key    string
	Target Target
	Args   []byte // AMQP field table without its length; only Headers looks into it
	Name   string // of the target, the same after a restart; only Hash looks at it
}

// Message is what routing sees of a message; all is borrowed for the call.
type Message struct {
	Key        []byte
	Headers    []byte // the headers table without its length; nil if there is none
	Properties []byte // AMQP property flags and list
}

// Table is the bindings of one exchange. It is immutable and safe for concurrent use.
type Table struct {
	kind   Kind
	size   int
	keys   hamt[*targets] // Direct
	all    *targets       // Fanout, Random
	words  *topicNode     // Topic
	header headerRules    // Headers
	hashOn hashOn         // Hash
	hashed hashed         // Hash
}

// New is the table of an exchange without bindings. args are the exchange's, an AMQP field
// table without its length. The error wraps ErrArgs and is in RabbitMQ's words.
func New(kind Kind, args []byte) (*Table, error) {
	t := &Table{kind: kind, words: &topicNode{}}
	if kind == Hash {
		return t, t.hashOn.read(args)
	}
	return t, nil
}

// Decider is what the table looks at.
func (t *Table) Decider() Decider {
	switch {
	case t.kind == Headers, t.kind == Hash && t.hashOn != hashOn{}:
		return Content
	case t.kind == Random, t.kind == LocalRandom:
		return Chance
	}
	return Key
}

// One says whether a message goes to one target at most, however many keys it has.
func (t *Table) One() bool { return t.kind == Hash || t.kind == Random || t.kind == LocalRandom }

// Kind is the exchange's kind.
func (t *Table) Kind() Kind { return t.kind }

// Len is the number of bindings.
func (t *Table) Len() int { return t.size }

// Empty is the table without its bindings.
func (t *Table) Empty() *Table {
	return &Table{kind: t.kind, words: &topicNode{}, hashOn: t.hashOn}
}

// With is the table with one more binding. Adding one that is there already counts
// it twice, so the caller keeps bindings unique. It fails with what Check says.
func (t *Table) With(b Binding) (*Table, error) { return t.with(b, false) }

// Add is With for a table that nobody else has seen yet, as at a start with very many
// bindings: it is changed itself, at a fraction of what the copies of With cost. After an
// error the table is as it was.
func (t *Table) Add(b Binding) error {
	next, err := t.with(b, true)
	if err == nil {
		*t = *next
	}
	return err
}

func (t *Table) with(b Binding, own bool) (*Table, error) {
	next := *t
	next.size++
	switch t.kind {
	case Direct:
		have, _ := t.keys.get([]byte(b.Key))
		next.keys = t.keys.set(b.Key, have.with(b.Target), own)
	case Fanout, Random, LocalRandom:
		next.all = t.all.with(b.Target)
	case Topic:
		next.words = t.words.with(splitPattern(b.Key), b.Target, own)
	case Headers:
		rules, err := t.header.with(b)
		if err != nil {
			return nil, err
		}
		next.header = rules
	case Hash:
		list, err := t.hashed.with(b)
		if err != nil {
			return nil, err
		}
		next.hashed = list
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
	case Fanout, Random, LocalRandom:
		next.all, found = t.all.without(b.Target)
	case Topic:
		next.words, found = t.words.without(splitPattern(b.Key), b.Target)
		if next.words == nil {
			next.words = &topicNode{}
		}
	case Headers:
		next.header, found = t.header.without(b)
	case Hash:
		next.hashed, found = t.hashed.without(b)
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
	return t.keys.set(b.Key, left, false), true
}

// Route appends the targets of a message to into, each once, in no particular
// order. What into held before stays as it is.
func (t *Table) Route(m Message, into []Target) []Target {
	switch t.kind {
	case Direct:
		if found, ok := t.keys.get(m.Key); ok {
			return found.appendTo(into)
		}
		return into
	case Fanout:
		return t.all.appendTo(into)
	case Topic:
		return t.words.route(m.Key, into)
	case Headers:
		return t.header.route(m.Headers, into)
	case Hash:
		return t.hashed.route(t.hashOn.hash(m), into)
	}
	return t.all.appendOne(into)
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
