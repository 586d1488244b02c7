package consumer

// ring is consumers in a circle. A consumer stands in at most one of each kind, and
// comes and goes at the same cost however many there are.
type ring struct {
	kind int
	head *Consumer
	len  int
}

// Kinds of rings.
const (
	turns = iota
	waits
)

// link is a consumer's neighbours in a ring.
type link struct{ prev, next *Consumer }

func (r *ring) next(k *Consumer) *Consumer { return k.links[r.kind].next }

// push puts k behind the others.
func (r *ring) push(k *Consumer) {
	at := r.kind
	if r.head == nil {
		r.head, k.links[at] = k, link{k, k}
	} else {
		tail := r.head.links[at].prev
		k.links[at] = link{tail, r.head}
		tail.links[at].next, r.head.links[at].prev = k, k
	}
	r.len++
}

// pull takes k out.
func (r *ring) pull(k *Consumer) {
	at := r.kind
	l := k.links[at]
	if l.next == k {
		r.head = nil
	} else {
		l.prev.links[at].next, l.next.links[at].prev = l.next, l.prev
		if r.head == k {
			r.head = l.next
		}
	}
	k.links[at] = link{}
	r.len--
}
