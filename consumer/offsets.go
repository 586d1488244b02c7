package consumer

import "github.com/leveret-mq/leveret/message"

// Offsets is a set of offsets in little memory, however they are scattered: a bit each, and less
// where many follow each other. The zero value is empty. It belongs to one goroutine at a time.
type Offsets struct {
	pages pages
	set   set
}

// Add adds first to last.
func (o *Offsets) Add(first, last message.Offset) {
	o.set.pages = &o.pages
	o.set.add(first, last)
}

// Take takes the first run out, at most limit of it; ok is false when the set is empty.
func (o *Offsets) Take(limit int64) (r Run, ok bool) {
	from, ok := o.set.min()
	if !ok {
		return Run{}, false
	}
	r.First, r.Last, _ = o.set.run(from, limit)
	o.set.remove(r.First, r.Last)
	return r, true
}

// Len is how many there are.
func (o *Offsets) Len() int64 { return o.set.count }
