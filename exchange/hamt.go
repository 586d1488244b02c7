package exchange

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// seed makes the tries' shape unknown to those who choose the keys.
var seed = maphash.MakeSeed()

const (
	hashBits   = 5 // a node of a trie looks at 5 bits of the hash: 32 slots
	hashLevels = 13
)

// hamt is an immutable map from strings: a hash trie whose nodes hold only the
// slots that are used. A change copies the nodes from the root to the key. The zero
// value is empty.
type hamt[V any] struct {
	root *hamtNode[V]
	size int
}

// hamtNode has one slot for each bit of used. Below the last level, where the hash
// is used up, used is zero and the slots are a plain list.
type hamtNode[V any] struct {
	used  uint32
	slots []hamtSlot[V]
}

// hamtSlot is a key with its value, or a further node.
type hamtSlot[V any] struct {
	sub   *hamtNode[V]
	hash  uint64
	key   string
	value V
}

func slotBit(hash uint64, level int) uint32 { return 1 << (hash >> (level * hashBits) & 31) }

// at is the index of the slot of bit.
func (n *hamtNode[V]) at(bit uint32) int { return bits.OnesCount32(n.used & (bit - 1)) }

// get returns the zero value for a key that is not there.
func (m hamt[V]) get(key []byte) (v V, ok bool) {
	if m.root == nil {
		return v, false
	}
	hash := maphash.Bytes(seed, key)
	n := m.root
	for level := range hashLevels {
		bit := slotBit(hash, level)
		if n.used&bit == 0 {
			return v, false
		}
		s := &n.slots[n.at(bit)]
		if s.sub == nil {
			if s.hash == hash && s.key == string(key) {
				return s.value, true
			}
			return v, false
		}
		n = s.sub
	}
	for i := range n.slots {
		if n.slots[i].key == string(key) {
			return n.slots[i].value, true
		}
	}
	return v, false
}

// set is the map with one value more, or another. With own nobody else has the map, and
// its nodes may be changed in their place.
func (m hamt[V]) set(key string, value V, own bool) hamt[V] {
	leaf := hamtSlot[V]{hash: maphash.String(seed, key), key: key, value: value}
	if m.root == nil {
		m.root = &hamtNode[V]{}
	}
	root, added := m.root.set(leaf, 0, own)
	if added {
		m.size++
	}
	return hamt[V]{root, m.size}
}

func (n *hamtNode[V]) set(leaf hamtSlot[V], level int, own bool) (next *hamtNode[V], added bool) {
	if level == hashLevels {
		i := slices.IndexFunc(n.slots, func(s hamtSlot[V]) bool { return s.key == leaf.key })
		if i < 0 {
			return &hamtNode[V]{0, append(slices.Clip(n.slots), leaf)}, true
		}
		return n.replace(i, leaf, own), false
	}
	bit := slotBit(leaf.hash, level)
	i := n.at(bit)
	if n.used&bit == 0 {
		slots := make([]hamtSlot[V], 0, len(n.slots)+1)
		slots = append(append(append(slots, n.slots[:i]...), leaf), n.slots[i:]...)
		return &hamtNode[V]{n.used | bit, slots}, true
	}
	have := n.slots[i]
	if have.sub == nil && have.key == leaf.key {
		return n.replace(i, leaf, own), false
	}
	if have.sub == nil { // two keys in one slot: push both down
		have.sub, _ = (&hamtNode[V]{}).set(have, level+1, own)
	}
	sub, added := have.sub.set(leaf, level+1, own)
	return n.replace(i, hamtSlot[V]{sub: sub}, own), added
}

func (n *hamtNode[V]) replace(i int, s hamtSlot[V], own bool) *hamtNode[V] {
	if own {
		n.slots[i] = s
		return n
	}
	slots := slices.Clone(n.slots)
	slots[i] = s
	return &hamtNode[V]{n.used, slots}
}

func (m hamt[V]) delete(key string) hamt[V] {
	if m.root == nil {
		return m
	}
	root, found := m.root.delete(key, maphash.String(seed, key), 0)
	if !found {
		return m
	}
	return hamt[V]{root, m.size - 1}
}

// delete returns nil for a node that has nothing left.
func (n *hamtNode[V]) delete(key string, hash uint64, level int) (next *hamtNode[V], found bool) {
	if level == hashLevels {
		i := slices.IndexFunc(n.slots, func(s hamtSlot[V]) bool { return s.key == key })
		if i < 0 {
			return n, false
		}
		return n.cut(i, 0), true
	}
	bit := slotBit(hash, level)
	i := n.at(bit)
	if n.used&bit == 0 {
		return n, false
	}
	s := n.slots[i]
	if s.sub == nil {
		if s.key != key {
			return n, false
		}
		return n.cut(i, bit), true
	}
	sub, found := s.sub.delete(key, hash, level+1)
	switch {
	case !found:
		return n, false
	case sub == nil:
		return n.cut(i, bit), true
	case len(sub.slots) == 1 && sub.slots[0].sub == nil:
		return n.replace(i, sub.slots[0], false), true // pull a lone key up
	}
	return n.replace(i, hamtSlot[V]{sub: sub}, false), true
}

func (n *hamtNode[V]) cut(i int, bit uint32) *hamtNode[V] {
	if len(n.slots) == 1 {
		return nil
	}
	slots := make([]hamtSlot[V], 0, len(n.slots)-1)
	return &hamtNode[V]{n.used &^ bit, append(append(slots, n.slots[:i]...), n.slots[i+1:]...)}
}
