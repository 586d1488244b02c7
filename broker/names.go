package broker

import "maps"

// nameMap is what is known of names. It becomes small again when they go, which a map of Go does
// not, and no call takes time for all of them: many names are dealt to many small maps, each of
// which is made anew when it has become too large.
type nameMap[V any] struct {
	shards []nameShard[V] // none, one, or nameShards
	n      int
}

type nameShard[V any] struct {
	names map[messageID]V
	peak  int // the most there were since it was made
}

const (
	// nameShards is how many maps many names are in.
	nameShards = 1 << 8
	// fewNames is how many are in one.
	fewNames = 1 << 10
	// smallShard is a map that is never too large.
	smallShard = 1 << 5
)

func (m *nameMap[V]) shard(id messageID) *nameShard[V] {
	return &m.shards[int(id[0])%len(m.shards)] // an id is a hash
}

func (m *nameMap[V]) get(id messageID) (v V, ok bool) {
	if m.n > 0 {
		v, ok = m.shard(id).names[id]
	}
	return v, ok
}

func (m *nameMap[V]) set(id messageID, v V) {
	switch {
	case len(m.shards) == 0:
		m.shards = make([]nameShard[V], 1)
	case len(m.shards) == 1 && m.n >= fewNames:
		few := m.shards[0].names
		m.shards, m.n = make([]nameShard[V], nameShards), 0
		for id, v := range few {
			m.put(id, v)
		}
	}
	m.put(id, v)
}

func (m *nameMap[V]) put(id messageID, v V) {
	s := m.shard(id)
	if s.names == nil {
		s.names = map[messageID]V{}
	}
	before := len(s.names)
	s.names[id] = v
	m.n += len(s.names) - before
	s.peak = max(s.peak, len(s.names))
}

func (m *nameMap[V]) remove(id messageID) {
	if m.n > 0 {
		m.removeIn(m.shard(id), id)
	}
}

func (m *nameMap[V]) removeIn(s *nameShard[V], id messageID) {
	before := len(s.names)
	delete(s.names, id)
	m.n -= before - len(s.names)
	if m.n == 0 {
		m.shards = nil
	} else if s.peak > smallShard && len(s.names) < s.peak/4 {
		few := make(map[messageID]V, 2*len(s.names))
		maps.Copy(few, s.names)
		s.names, s.peak = few, len(few)
	}
}

// sweep has those names go of one of the maps, of which gone says so: in as many calls, each
// with the next number, all are asked for. It asks for most at most, in no order.
func (m *nameMap[V]) sweep(number, most int, gone func(V) bool) (removed int) {
	if m.n == 0 {
		return 0
	}
	asked := 0
	s := &m.shards[number%len(m.shards)]
	for id, v := range s.names {
		if asked == most {
			break
		}
		if asked++; gone(v) {
			removed++
			m.removeIn(s, id) // which may make another map of it: this one is gone through all the same
		}
	}
	return removed
}
