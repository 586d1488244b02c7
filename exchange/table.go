package exchange

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Kind is an exchange's type.
type Kind uint8

// The types of AMQP 0-9-1 §3.1.3.
const (
	Direct Kind = iota
	Fanout
	Topic
	Headers
)

// ParseKind reads a type as clients write it.
func ParseKind(s string) (Kind, bool) {
	switch s {
	case "direct":
		return Direct, true
	case "fanout":
		return Fanout, true
	case "topic":
		return Topic, true
	case "headers":
		return Headers, true
	}
	return 0, false
}

// String is what ParseKind reads.
func (k Kind) String() string {
	switch k {
	case Direct:
		return "direct"
	case Fanout:
		return "fanout"
	case Topic:
		return "topic"
	case Headers:
		return "headers"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Target is the number of what a binding leads to.
type Target uint32

// Binding is one condition and where it leads. Two bindings are the same if all
// three parts are.
type Binding struct {
	Key    string // binding key; ignored by fanout and headers
	Target Target
	Args   []byte // AMQP field table without its length; read by headers only
}

// Table is the bindings of one exchange.
type Table struct {
	kind Kind

	// refs counts the bindings that lead from one key to one target: bindings that
	// differ in their arguments alone are separate. Writers only.
	refs map[ref]int

	all     targetList             // fanout
	direct  hashMap[*targetList]   // direct
	root    *node                  // topic
	headers atomic.Pointer[[]rule] // headers
}

type ref struct {
	key    string
	target Target
}

// New makes a table without bindings.
func New(kind Kind) *Table {
	t := &Table{kind: kind, refs: map[ref]int{}, root: &node{}}
	t.headers.Store(&[]rule{})
	return t
}

// Kind is the exchange's type.
func (t *Table) Kind() Kind { return t.kind }

// Add adds a binding that is not there yet. It fails only for headers whose
// arguments say nothing that can be matched. One writer at a time.
func (t *Table) Add(b Binding) error {
	if t.kind == Headers {
		r, err := compile(b)
		if err != nil {
			return err
		}
		next := append(*t.headers.Load(), r)
		t.headers.Store(&next)
		return nil
	}
	r := t.ref(b)
	if t.refs[r]++; t.refs[r] > 1 {
		return nil
	}
	switch t.kind {
	case Direct:
		list, ok := t.direct.get([]byte(b.Key))
		if !ok {
			list = new(targetList)
			t.direct.put(b.Key, list)
		}
		list.add(b.Target)
	case Fanout:
		t.all.add(b.Target)
	case Topic:
		t.root.bind(b.Key, b.Target)
	}
	return nil
}

// Remove removes a binding that is there. One writer at a time.
func (t *Table) Remove(b Binding) {
	if t.kind == Headers {
		rules := *t.headers.Load()
		next := slices.DeleteFunc(slices.Clone(rules), func(r rule) bool {
			return r.target == b.Target && r.key == b.Key && string(r.args) == string(b.Args)
		})
		t.headers.Store(&next)
		return
	}
	r := t.ref(b)
	if n := t.refs[r]; n != 1 {
		if n > 1 {
			t.refs[r] = n - 1
		}
		return
	}
	delete(t.refs, r)
	switch t.kind {
	case Direct:
		if list, ok := t.direct.get([]byte(b.Key)); ok && list.remove(b.Target) == 0 {
			t.direct.remove(b.Key)
		}
	case Fanout:
		t.all.remove(b.Target)
	case Topic:
		t.root.unbind(b.Key, b.Target)
	}
}

func (t *Table) ref(b Binding) ref {
	if t.kind == Fanout {
		return ref{"", b.Target}
	}
	return ref{b.Key, b.Target}
}

// Route appends the targets of a message to into, each once, in no order. headers
// is the message's headers table without its length, nil if it has none.
func (t *Table) Route(key, headers []byte, into []Target) []Target {
	switch t.kind {
	case Direct:
		if list, ok := t.direct.get(key); ok {
			return append(into, list.load()...)
		}
		return into
	case Fanout:
		return append(into, t.all.load()...)
	case Topic:
		return t.root.route(key, into)
	}
	return t.routeHeaders(headers, into)
}

// targetList is a list that one writer changes under lock-free readers.
type targetList struct{ p atomic.Pointer[[]Target] }

func (l *targetList) load() []Target {
	if p := l.p.Load(); p != nil {
		return *p
	}
	return nil
}

// add appends behind what readers see, so it copies only when the array is full.
func (l *targetList) add(t Target) {
	next := append(l.load(), t)
	l.p.Store(&next)
}

// remove returns how many are left.
func (l *targetList) remove(t Target) int {
	old := l.load()
	next := make([]Target, 0, len(old))
	for _, have := range old {
		if have != t {
			next = append(next, have)
		}
	}
	l.p.Store(&next)
	return len(next)
}

// smallSet is up to how many targets are compared one with all others.
const smallSet = 24

// unique removes duplicates from into[at:].
func unique(into []Target, at int) []Target {
	part := into[at:]
	if len(part) > smallSet {
		slices.Sort(part)
		return into[:at+len(slices.Compact(part))]
	}
	n := 0
	for _, t := range part {
		if !slices.Contains(part[:n], t) {
			part[n] = t
			n++
		}
	}
	return into[:at+n]
}
