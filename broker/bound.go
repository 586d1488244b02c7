package broker

import "iter"

// bound is a binding in memory. Its source has it by key; what it leads to has it in a list,
// which takes no more of the queue without any than a pointer, and is left at no cost however
// long it is. All of it is guarded by VHost.mu.
type bound struct {
	key        string
	def        bindingDef
	next, prev *bound // of those that lead to the same
}

// boundList are the bindings that lead to one queue or exchange, in no order.
type boundList struct{ first *bound }

func (l *boundList) add(b *bound) {
	if b.next = l.first; b.next != nil {
		b.next.prev = b
	}
	l.first = b
}

// remove takes out a binding that is in the list.
func (l *boundList) remove(b *bound) {
	if b.prev != nil {
		b.prev.next = b.next
	} else {
		l.first = b.next
	}
	if b.next != nil {
		b.next.prev = b.prev
	}
	b.next, b.prev = nil, nil
}

// all goes through the list, which must not be changed meanwhile.
func (l *boundList) all() iter.Seq[*bound] {
	return func(yield func(*bound) bool) {
		for b := l.first; b != nil && yield(b); b = b.next {
		}
	}
}
