package exchange

import (
	"bytes"
	"slices"
	"strings"
)

// topicNode is one place in the trie of patterns: the path to it from the root is
// the pattern's words. It is immutable; a change copies the path.
//
//	*.error, kern.#      root ─ * ─ error: {q1}
//	                        └── kern: {} ─ #: {q2}
type topicNode struct {
	words   hamt[*topicNode] // by word
	one     *topicNode       // "*": any one word
	any     *topicNode       // "#": any number of words, none too
	targets *targets         // of the patterns that end here
}

// splitPattern cuts at the dots; the empty pattern has no word, and "a..b" an empty
// one. "#.#" means what "#" means, and is made so: no "#" ever follows another.
func splitPattern(pattern string) []string {
	if pattern == "" {
		return nil
	}
	words := strings.Split(pattern, ".")
	return slices.CompactFunc(words, func(a, b string) bool { return a == "#" && b == "#" })
}

func (n *topicNode) child(word string) *topicNode {
	switch word {
	case "*":
		return n.one
	case "#":
		return n.any
	}
	c, _ := n.words.get([]byte(word))
	return c
}

// setChild changes n, which must be a fresh copy; nil takes the child away.
func (n *topicNode) setChild(word string, c *topicNode, own bool) {
	switch {
	case word == "*":
		n.one = c
	case word == "#":
		n.any = c
	case c == nil:
		n.words = n.words.delete(word)
	default:
		n.words = n.words.set(word, c, own)
	}
}

// with is the trie with one pattern more; with own it is changed itself.
func (n *topicNode) with(words []string, t Target, own bool) *topicNode {
	next := n
	switch {
	case n == nil:
		next = &topicNode{}
	case !own:
		fresh := *n
		next = &fresh
	}
	if len(words) == 0 {
		next.targets = next.targets.with(t)
	} else if have := next.child(words[0]); !own || have == nil {
		next.setChild(words[0], have.with(words[1:], t, own), own)
	} else {
		have.with(words[1:], t, own)
	}
	return next
}

// without returns nil for a node that leads nowhere any more.
func (n *topicNode) without(words []string, t Target) (*topicNode, bool) {
	if n == nil {
		return nil, false
	}
	next := *n
	found := false
	if len(words) == 0 {
		next.targets, found = n.targets.without(t)
	} else {
		var c *topicNode
		c, found = n.child(words[0]).without(words[1:], t)
		if found {
			next.setChild(words[0], c, false)
		}
	}
	if !found {
		return n, false
	}
	if next.targets == nil && next.one == nil && next.any == nil && next.words.size == 0 {
		return nil, true
	}
	return &next, true
}

// A walk follows a routing key through the trie, word by word, and keeps every
// place where the key may stand, so that no pattern makes it try again. The places
// behind a word or "*" are in at; each is reached by one path only. Those behind "#"
// are in stay, once each: they take any further word. The lists are passed by
// value and not kept in a struct, so that they stay on the stack.

// enter adds a place behind a word, and the "#" below it, which needs no word.
func enter(at, stay []*topicNode, n *topicNode) (at2, stay2 []*topicNode) {
	if n.any != nil && !slices.Contains(stay, n.any) {
		stay = append(stay, n.any)
	}
	return append(at, n), stay
}

// step takes a word from all places and appends where it leads to next.
func step(next, at, stay []*topicNode, word []byte) (next2, stay2 []*topicNode) {
	grown := stay // those that come in now do not take this word
	for _, list := range [2][]*topicNode{at, stay} {
		for _, n := range list {
			if n.words.size > 0 {
				if c, ok := n.words.get(word); ok {
					next, grown = enter(next, grown, c)
				}
			}
			if n.one != nil {
				next, grown = enter(next, grown, n.one)
			}
		}
	}
	return next, grown
}

func (n *topicNode) route(key []byte, into []Target) []Target {
	var room [3][24]*topicNode // enough for most tries; more goes to the heap
	spare := room[0][:0]
	at, stay := enter(room[1][:0], room[2][:0], n)
	for more := len(key) > 0; more; {
		var word, rest []byte
		word, rest, more = bytes.Cut(key, dot)
		key = rest
		next, grown := step(spare[:0], at, stay, word)
		at, stay, spare = next, grown, at
		if len(at) == 0 && len(stay) == 0 {
			return into
		}
	}
	base, sources := len(into), 0
	for _, list := range [2][]*topicNode{at, stay} {
		for _, n := range list {
			if n.targets != nil {
				into = n.targets.appendTo(into)
				sources++
			}
		}
	}
	if sources > 1 {
		return unique(into, base)
	}
	return into
}

var dot = []byte{'.'}
