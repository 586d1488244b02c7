package exchange

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
)

// node is one word of a binding key in the trie. Keys are split at "."; the empty
// key has no words, "a..b" has an empty one in its middle (RabbitMQ's rule).
type node struct {
	words   hashMap[*node]
	star    atomic.Pointer[node] // any one word
	hash    atomic.Pointer[node] // any number of words, also none
	isHash  bool
	targets targetList
}

// bind adds a target at the end of a pattern's path.
func (n *node) bind(pattern string, t Target) {
	for _, w := range words(pattern) {
		next := n.child(w)
		if next == nil {
			next = &node{isHash: w == "#"}
			n.setChild(w, next)
		}
		n = next
	}
	n.targets.add(t)
}

// unbind removes a target and the nodes that lead nowhere then.
func (n *node) unbind(pattern string, t Target) {
	path := words(pattern)
	nodes := []*node{n}
	for _, w := range path {
		if n = n.child(w); n == nil {
			return
		}
		nodes = append(nodes, n)
	}
	n.targets.remove(t)
	for i := len(path) - 1; i >= 0 && nodes[i+1].empty(); i-- {
		nodes[i].setChild(path[i], nil)
	}
}

func words(pattern string) []string {
	if pattern == "" {
		return nil
	}
	return strings.Split(pattern, ".")
}

func (n *node) child(w string) *node {
	switch w {
	case "*":
		return n.star.Load()
	case "#":
		return n.hash.Load()
	}
	c, _ := n.words.get([]byte(w))
	return c
}

// setChild sets a child that is not there, or with nil removes one.
func (n *node) setChild(w string, c *node) {
	switch {
	case w == "*":
		n.star.Store(c)
	case w == "#":
		n.hash.Store(c)
	case c == nil:
		n.words.remove(w)
	default:
		n.words.put(w, c)
	}
}

func (n *node) empty() bool {
	return len(n.targets.load()) == 0 && n.words.empty() && n.star.Load() == nil && n.hash.Load() == nil
}

// activeNodes is how many nodes a walk holds without allocating.
const activeNodes = 32

// route walks the trie with all matching nodes at once, word by word. So its cost
// is words times nodes, whatever the patterns: following each "#" by itself would
// be exponential in their number, and patterns come from clients.
func (root *node) route(key []byte, into []Target) []Target {
	var a, b [activeNodes]*node
	now, next := enter(a[:0], root), b[:0]
	for more := len(key) > 0; more && len(now) > 0; {
		var w []byte
		w, key, more = bytes.Cut(key, dot)
		next = next[:0]
		for _, n := range now {
			if n.isHash && !slices.Contains(next, n) {
				next = append(next, n)
			}
			if c, ok := n.words.get(w); ok {
				next = enter(next, c)
			}
			next = enter(next, n.star.Load())
		}
		now, next = next, now
	}
	at, lists := len(into), 0
	for _, n := range now {
		if list := n.targets.load(); len(list) > 0 {
			into = append(into, list...)
			lists++
		}
	}
	if lists > 1 {
		return unique(into, at)
	}
	return into
}

var dot = []byte{'.'}

// enter adds a node, and what it leads to without a word.
func enter(list []*node, n *node) []*node {
	for ; n != nil && !slices.Contains(list, n); n = n.hash.Load() {
		list = append(list, n)
	}
	return list
}
