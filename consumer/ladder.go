package consumer

import "container/heap"

// ladder is the levels that have a consumer in one kind of ring, the highest priority first:
// a heap, in which a level whose ring has become empty stays until it is met at the top. So the
// highest is found at about the same cost however many priorities there are.
type ladder struct {
	kind   int
	levels []*level
}

// add puts a level on the ladder that has a consumer in its ring.
func (d *ladder) add(l *level) {
	if l.at[d.kind] == 0 {
		heap.Push(d, l)
	}
}

// remove takes a level off that has no members any more.
func (d *ladder) remove(l *level) {
	if l.at[d.kind] > 0 {
		heap.Remove(d, l.at[d.kind]-1)
	}
}

// top is the highest level with a consumer in its ring, nil if there is none.
func (d *ladder) top() *level {
	for len(d.levels) > 0 {
		if l := d.levels[0]; l.ring(d.kind).len > 0 {
			return l
		}
		heap.Pop(d)
	}
	return nil
}

// Len, Less, Swap, Push and Pop are for package container/heap. A level knows its place,
// counted from 1.
func (d *ladder) Len() int           { return len(d.levels) }
func (d *ladder) Less(i, j int) bool { return d.levels[i].priority > d.levels[j].priority }

// Swap keeps the places.
func (d *ladder) Swap(i, j int) {
	d.levels[i], d.levels[j] = d.levels[j], d.levels[i]
	d.levels[i].at[d.kind], d.levels[j].at[d.kind] = i+1, j+1
}

// Push adds a level at the end.
func (d *ladder) Push(l any) {
	d.levels = append(d.levels, l.(*level))
	l.(*level).at[d.kind] = len(d.levels)
}

// Pop takes the last one.
func (d *ladder) Pop() any {
	last := len(d.levels) - 1
	l := d.levels[last]
	d.levels[last] = nil
	d.levels = d.levels[:last]
	l.at[d.kind] = 0
	return l
}
