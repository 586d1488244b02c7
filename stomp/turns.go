package stomp

// turnList is the subscriptions whose turn comes, first to last. It allocates only when it grows.
type turnList struct {
	list []*subscription
	head int // of list, the first that is not taken
}

func (t *turnList) len() int { return len(t.list) - t.head }

// add puts subscriptions behind the others.
func (t *turnList) add(k ...*subscription) {
	if len(t.list)+len(k) > cap(t.list) && t.head >= len(t.list)/2 {
		n := copy(t.list, t.list[t.head:])
		clear(t.list[n:])
		t.list, t.head = t.list[:n], 0
	}
	t.list = append(t.list, k...)
}

// waiting is those in the list, in order; it holds until the list changes.
func (t *turnList) waiting() []*subscription { return t.list[t.head:] }

// first takes the one whose turn it is.
func (t *turnList) first() *subscription {
	k := t.list[t.head]
	t.list[t.head] = nil
	if t.head++; t.head == len(t.list) {
		t.list, t.head = t.list[:0], 0
	}
	return k
}
