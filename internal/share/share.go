// Package share has equal things in memory once: what very many queues declare alike.
// It owns what it was asked for lately, and may know nothing of what that is.
package share

import "sync"

// max bounds what is kept of those that nobody may have any longer. Beyond it sharing
// begins anew; who has a value keeps it.
const max = 256

// Values are values that are never changed, by what tells one from another. The zero
// value is ready, and safe for concurrent use.
type Values[K comparable, V any] struct {
	mu sync.Mutex // guards by
	by map[K]V
}

// Of is the value of a key: the one that others have, or else what make returns. make
// must not use the same Values.
func (s *Values[K, V]) Of(key K, make func() V) V {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.by[key]; ok {
		return v
	}
	if s.by == nil || len(s.by) >= max {
		s.by = map[K]V{}
	}
	v := make()
	s.by[key] = v
	return v
}
