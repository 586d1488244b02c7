package exchange

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/message"
)

// ErrMatch says that a binding's x-match is none of all, any, all-with-x and any-with-x.
var ErrMatch = errors.New("invalid x-match")

// rule is one binding of a headers exchange.
type rule struct {
	key    string
	args   []byte
	target Target
	any    bool // one condition is enough
	withX  bool // names that start with x- count too
}

// compile reads x-match and checks that the arguments can be read.
func compile(b Binding) (rule, error) {
	r := rule{key: b.Key, args: bytes.Clone(b.Args), target: b.Target}
	t := message.NewTableReader(r.args)
	for t.Next() {
		if string(t.Name()) != "x-match" {
			continue
		}
		switch string(t.Text()) {
		case "all":
		case "any":
			r.any = true
		case "all-with-x":
			r.withX = true
		case "any-with-x":
			r.any, r.withX = true, true
		default:
			return r, fmt.Errorf("%w %q: want all, any, all-with-x or any-with-x", ErrMatch, t.Text())
		}
	}
	return r, t.Err()
}

func (t *Table) routeHeaders(headers []byte, into []Target) []Target {
	at := len(into)
	for _, r := range *t.headers.Load() {
		if r.matches(headers) {
			into = append(into, r.target)
		}
	}
	return unique(into, at)
}

// matches tries the conditions. Without any, "all" matches and "any" does not.
func (r *rule) matches(headers []byte) bool {
	t := message.NewTableReader(r.args)
	for t.Next() {
		if skipped(t.Name(), r.withX) {
			continue
		}
		if has(headers, &t) == r.any {
			return r.any
		}
	}
	return !r.any
}

func skipped(name []byte, withX bool) bool {
	return string(name) == "x-match" || !withX && bytes.HasPrefix(name, []byte("x-"))
}

// has looks for a field of that name and value; a void condition asks for the name alone.
func has(headers []byte, want *message.TableReader) bool {
	h := message.NewTableReader(headers)
	for h.Next() {
		if bytes.Equal(h.Name(), want.Name()) {
			return want.Tag() == message.TagVoid || message.SameValue(&h, want)
		}
	}
	return false
}
