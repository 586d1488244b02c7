package netx

// Turns are those whose turn comes, first to last. It allocates only when it grows.
type Turns[T any] struct {
	list []T
	head int // of list, the first that is not taken
}

// Len is how many they are.
func (t *Turns[T]) Len() int { return len(t.list) - t.head }

// Add puts some behind the others.
func (t *Turns[T]) Add(k ...T) {
	if len(t.list)+len(k) > cap(t.list) && t.head >= len(t.list)/2 {
		n := copy(t.list, t.list[t.head:])
		clear(t.list[n:])
		t.list, t.head = t.list[:n], 0
	}
	t.list = append(t.list, k...)
}

// Waiting is those in the list, in order; it holds until the list changes.
func (t *Turns[T]) Waiting() []T { return t.list[t.head:] }

// First takes the one whose turn it is. There must be one.
func (t *Turns[T]) First() T {
	var none T
	k := t.list[t.head]
	t.list[t.head] = none
	if t.head++; t.head == len(t.list) {
		t.list, t.head = t.list[:0], 0
	}
	return k
}
