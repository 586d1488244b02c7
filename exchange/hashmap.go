package exchange

import (
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// hashMap is a map of strings that one writer changes under lock-free readers,
// who look up by bytes without making a string. Chains are immutable: a change
// makes the head of one chain anew. It doubles when chains grow beyond one entry on average.
type hashMap[V any] struct {
	buckets atomic.Pointer[[]atomic.Pointer[entry[V]]]
	n       int // writer only
}

type entry[V any] struct {
	key   string
	hash  uint64
	value V
	next  *entry[V]
}

func (m *hashMap[V]) get(key []byte) (v V, ok bool) {
	p := m.buckets.Load()
	if p == nil {
		return v, false
	}
	h := xxhash.Sum64(key)
	for e := (*p)[h&uint64(len(*p)-1)].Load(); e != nil; e = e.next {
		if e.hash == h && e.key == string(key) {
			return e.value, true
		}
	}
	return v, false
}

// put adds a key that is not there.
func (m *hashMap[V]) put(key string, v V) {
	p := m.buckets.Load()
	if p == nil || m.n >= len(*p) {
		p = m.grow(p)
	}
	h := xxhash.Sum64String(key)
	b := &(*p)[h&uint64(len(*p)-1)]
	b.Store(&entry[V]{key, h, v, b.Load()})
	m.n++
}

func (m *hashMap[V]) grow(old *[]atomic.Pointer[entry[V]]) *[]atomic.Pointer[entry[V]] {
	size := 1
	if old != nil {
		size = 2 * len(*old)
	}
	next := make([]atomic.Pointer[entry[V]], size)
	if old != nil {
		for i := range *old {
			for e := (*old)[i].Load(); e != nil; e = e.next {
				b := &next[e.hash&uint64(size-1)]
				b.Store(&entry[V]{e.key, e.hash, e.value, b.Load()})
			}
		}
	}
	m.buckets.Store(&next)
	return &next
}

func (m *hashMap[V]) remove(key string) {
	p := m.buckets.Load()
	if p == nil {
		return
	}
	h := xxhash.Sum64String(key)
	b := &(*p)[h&uint64(len(*p)-1)]
	var kept *entry[V]
	found := false
	for e := b.Load(); e != nil; e = e.next {
		if e.hash == h && e.key == key {
			found = true
			continue
		}
		kept = &entry[V]{e.key, e.hash, e.value, kept}
	}
	if found {
		b.Store(kept)
		m.n--
	}
}

func (m *hashMap[V]) empty() bool { return m.n == 0 }
