package segment

import "sync"

// trail is where the readers of a log have been on the disk lately, so that a reader
// knows whether another one follows it. The zero value is ready; it is safe for
// concurrent use, and its lock is the innermost.
type trail struct {
	mu      sync.Mutex // guards the rest
	readers []reader   // the one that moved last is the last
	near    bool       // in the last step somebody was close to it, on either side
}

// reader is one that read up to a position of the segment with a base offset, behind
// which rest bytes are left of it; next is the base of the segment behind, or -1.
type reader struct{ base, position, rest, next int64 }

// maxReaders bounds those that are remembered.
const maxReaders = 8

// step notes that a piece of a segment is read from the disk, by the reader that came
// to its begin if there is one, and reports whether another reader is close behind.
func (t *trail) step(s *Segment, from, to int64) (followed bool) {
	now := reader{s.base, to, s.position.Load() - to, s.next.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, r := range t.readers {
		if d, ok := r.to(s.base, from); ok && d == 0 {
			t.readers = append(t.readers[:i], t.readers[i+1:]...)
			break
		}
	}
	if len(t.readers) == maxReaders {
		t.readers = append(t.readers[:0], t.readers[1:]...)
	}
	t.near = false
	for _, r := range t.readers {
		if d, ok := r.to(s.base, from); ok && d > 0 && d <= closeBytes {
			followed, t.near = true, true
		}
		if d, ok := now.to(r.base, r.position); ok && d <= closeBytes {
			t.near = true
		}
	}
	t.readers = append(t.readers, now)
	return followed
}

// company reports whether the reader that moved last has others close to it.
func (t *trail) company() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.near
}

// to is how many bytes lie between the reader and a position of the same segment or
// the one behind; false: it's behind the reader, or far ahead.
func (r reader) to(base, position int64) (int64, bool) {
	d := position - r.position
	if base != r.base {
		if base != r.next {
			return 0, false
		}
		d = r.rest + position - HeaderBytes
	}
	return d, d >= 0
}
