package broker

// placedHeap is a heap, of package container/heap, whose elements know where in it they
// stand, so that any of them can be taken out. It gives those that are out the index -1.
type placedHeap[E placeable[E]] []E

// placeable is an element of such a heap.
type placeable[E any] interface {
	before(other E) bool
	placed(index int)
}

var (
	_ placeable[*lapse]        = (*lapse)(nil)
	_ placeable[*look]         = (*look)(nil)
	_ placeable[*Subscription] = (*Subscription)(nil)
)

func (h placedHeap[E]) Len() int           { return len(h) }
func (h placedHeap[E]) Less(i, j int) bool { return h[i].before(h[j]) }

func (h placedHeap[E]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].placed(i)
	h[j].placed(j)
}

// Push adds an element at the end.
func (h *placedHeap[E]) Push(e any) {
	e.(E).placed(len(*h))
	*h = append(*h, e.(E))
}

// Pop takes the last element.
func (h *placedHeap[E]) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	clear((*h)[last:])
	*h = (*h)[:last]
	e.placed(-1)
	return e
}
