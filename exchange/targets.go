package exchange

import (
	"math/rand/v2"
	"slices"
	"sort"
)

// chunkSize balances what adding to a large set copies: one chunk and the list of chunks.
const chunkSize = 512

// member is a target with the number of bindings that lead to it.
type member struct {
	target Target
	count  uint32
}

// targets is an immutable set of targets in ascending order, cut into chunks none of
// which is empty. The nil set is empty, and no other one is.
type targets struct{ chunks [][]member }

// place is the chunk that holds t or would.
func (s *targets) place(t Target) int {
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i][0].target > t })
	return max(i-1, 0)
}

func find(chunk []member, t Target) (int, bool) {
	i := sort.Search(len(chunk), func(i int) bool { return chunk[i].target >= t })
	return i, i < len(chunk) && chunk[i].target == t
}

func (s *targets) with(t Target) *targets {
	if s == nil {
		return &targets{[][]member{{{t, 1}}}}
	}
	c := s.place(t)
	i, ok := find(s.chunks[c], t)
	if ok {
		chunk := slices.Clone(s.chunks[c])
		chunk[i].count++
		return s.replace(c, chunk)
	}
	old := s.chunks[c]
	chunk := make([]member, 0, len(old)+1)
	chunk = append(append(append(chunk, old[:i]...), member{t, 1}), old[i:]...)
	if len(chunk) <= chunkSize {
		return s.replace(c, chunk)
	}
	half := len(chunk) / 2
	if i == len(old) {
		half = len(old) // numbers mostly grow: leave full chunks behind
	}
	return s.replace(c, chunk[:half:half], chunk[half:])
}

// without says if t was there; the set that is left may be nil.
func (s *targets) without(t Target) (*targets, bool) {
	if s == nil {
		return nil, false
	}
	c := s.place(t)
	i, ok := find(s.chunks[c], t)
	if !ok {
		return s, false
	}
	old := s.chunks[c]
	if old[i].count > 1 {
		chunk := slices.Clone(old)
		chunk[i].count--
		return s.replace(c, chunk), true
	}
	if len(old) > 1 {
		chunk := make([]member, 0, len(old)-1)
		return s.replace(c, append(append(chunk, old[:i]...), old[i+1:]...)), true
	}
	if len(s.chunks) == 1 {
		return nil, true
	}
	return s.replace(c), true
}

// replace is the set with other chunks in the place of chunk c.
func (s *targets) replace(c int, with ...[]member) *targets {
	chunks := make([][]member, 0, len(s.chunks)-1+len(with))
	chunks = append(append(append(chunks, s.chunks[:c]...), with...), s.chunks[c+1:]...)
	return &targets{chunks}
}

func (s *targets) appendTo(into []Target) []Target {
	if s == nil {
		return into
	}
	for _, chunk := range s.chunks {
		for i := range chunk {
			into = append(into, chunk[i].target)
		}
	}
	return into
}

// appendOne appends one of the set, by chance.
func (s *targets) appendOne(into []Target) []Target {
	if s == nil {
		return into
	}
	n := 0
	for _, chunk := range s.chunks {
		n += len(chunk)
	}
	n = rand.IntN(n)
	for _, chunk := range s.chunks {
		if n < len(chunk) {
			return append(into, chunk[n].target)
		}
		n -= len(chunk)
	}
	return into
}
