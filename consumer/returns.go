package consumer

import "github.com/leveret-mq/leveret/message"

// maxDigits bounds the counters: after 2^16 returns a message's count stands still.
const maxDigits = 16

// returns counts how often messages were returned, in sets: once holds every
// message that was, and digits[i] those whose further returns have bit i set. A
// range is counted up as one addition on all of its bits, and ten million messages
// returned once cost what one full set costs: next to nothing.
type returns struct {
	pages  *pages
	once   set
	digits []set
}

func (r *returns) digit(i int) *set {
	for len(r.digits) <= i {
		r.digits = append(r.digits, set{pages: r.pages})
	}
	return &r.digits[i]
}

// add counts one more return for each of first..last.
func (r *returns) add(first, last message.Offset) {
	for first <= last {
		had, hadLast, ok := r.once.run(first, int64(last-first)+1)
		if !ok || had > last {
			r.once.add(first, last)
			return
		}
		if had > first {
			r.once.add(first, had-1)
		}
		r.carry(had, min(hadLast, last), 0)
		first = min(hadLast, last) + 1
	}
}

// carry adds one to digit i of first..last: a clear bit becomes set, a set one
// clear with a carry to the next digit.
func (r *returns) carry(first, last message.Offset, i int) {
	if i == maxDigits {
		for j := range r.digits { // stand still at the largest count
			r.digits[j].add(first, last)
		}
		return
	}
	for first <= last {
		one, oneLast, ok := r.digit(i).run(first, int64(last-first)+1)
		if !ok || one > last {
			r.digit(i).add(first, last)
			return
		}
		if one > first {
			r.digit(i).add(first, one-1)
		}
		oneLast = min(oneLast, last)
		r.digit(i).remove(one, oneLast)
		r.carry(one, oneLast, i+1)
		first = oneLast + 1
	}
}

// same is how often first was returned, and up to which offset, at most last, that
// holds for all.
func (r *returns) same(first, last message.Offset) (n int, end message.Offset) {
	has, end := r.once.same(first, last)
	if !has {
		return 0, end
	}
	n = 1
	for i := range r.digits {
		if has, end = r.digits[i].same(first, end); has {
			n += 1 << i
		}
	}
	return n, end
}

func (r *returns) forget(first, last message.Offset) {
	if r.once.count == 0 {
		return
	}
	r.once.remove(first, last)
	for i := range r.digits {
		r.digits[i].remove(first, last)
	}
}
