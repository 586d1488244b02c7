package pubsub

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/leveret-mq/leveret/message"
)

// index knows where the newest item of each id is, of the last maxWalk messages of each partition (and of no more than maxWalkBytes of
// them): what stands before is not found by its id. It is made by the first request that asks for an id, read up to the end of the
// log by each that does, and forgotten when maxIndexes others were used since.
type index struct {
	mu    sync.Mutex // held over reads of the log
	seed  maphash.Seed
	parts []indexPart
}

type indexPart struct {
	from, to message.Offset // what was read
	at       map[uint64]message.Offset
}

// maxIndexes is how many nodes have one at a time. An index takes about 40 bytes an item.
const maxIndexes = 64

// indexOf is the index of a node.
func (h *host) indexOf(n *node) *index {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = h.known(n)
	if n.ids == nil {
		n.ids = &index{seed: maphash.MakeSeed()}
		h.nodes[n.place] = n
		if len(h.indexed) >= maxIndexes {
			h.unindex(h.indexed[0])
		}
	} else if i := slices.Index(h.indexed, n); i >= 0 {
		h.indexed = slices.Delete(h.indexed, i, i+1)
	}
	h.indexed = append(h.indexed, n)
	return n.ids
}

// unindex forgets the index of a node. h.mu is held.
func (h *host) unindex(n *node) {
	n.ids = nil
	if i := slices.Index(h.indexed, n); i >= 0 {
		h.indexed = slices.Delete(h.indexed, i, i+1)
	}
}

// find is the newest item of an id; nil if there is none that is known.
func (r *request) find(n *node, id string) (*item, error) {
	if id == "" {
		return nil, nil
	}
	if partition, offset, ok := numbered(id); ok { // unless a publisher has called it so
		it, err := r.at(n, partition, offset)
		if err != nil || it != nil && it.id == id {
			return it, err
		}
	}
	x := r.h.indexOf(n)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.update(r, n); err != nil {
		return nil, err
	}
	hash := maphash.String(x.seed, id)
	var found *item
	for i := range x.parts {
		offset, ok := x.parts[i].at[hash]
		if !ok {
			continue
		}
		it, err := r.at(n, i, offset)
		if err != nil {
			return nil, err
		}
		if it != nil && it.id == id && (found == nil || it.timestampMs >= found.timestampMs) {
			found = it
		}
	}
	return found, nil
}

// superseded says whether there is a newer item of the same id.
func (r *request) superseded(n *node, it *item) bool {
	if _, _, ok := numbered(it.id); ok {
		return false
	}
	x := r.h.indexOf(n)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.update(r, n) != nil || it.partition >= len(x.parts) {
		return false
	}
	at, ok := x.parts[it.partition].at[maphash.String(x.seed, it.id)]
	return ok && at > it.offset
}

// numbered reads an id that says where a message stands.
func numbered(id string) (partition int, offset message.Offset, ok bool) {
	p, o, ok := strings.Cut(id, "-")
	if !ok {
		return 0, 0, false
	}
	partition, err := strconv.Atoi(p)
	n, err2 := strconv.ParseInt(o, 10, 64)
	return partition, message.Offset(n), err == nil && err2 == nil && n >= 0 && partition >= 0 && strconv.Itoa(partition)+"-"+strconv.FormatInt(n, 10) == id
}

// update reads what came since. x.mu is held.
func (x *index) update(r *request, n *node) error {
	parts := n.queue.Partitions()
	for len(x.parts) < len(parts) {
		x.parts = append(x.parts, indexPart{})
	}
	for i, p := range parts {
		start, end, err := r.p.Session().Extent(p)
		if err != nil {
			return err
		}
		at := &x.parts[i]
		if at.to == end {
			continue
		}
		if at.at == nil || end-at.to > maxWalk || len(at.at) > 2*maxWalk {
			*at = indexPart{from: end, to: end, at: map[uint64]message.Offset{}}
			if err := x.build(&walk{r: r, p: p, partition: i, start: start, at: end, left: maxWalk, bytes: maxWalkBytes}, at); err != nil {
				*at = indexPart{}
				return err
			}
			continue
		}
		w := walk{r: r, p: p, partition: i}
		for at.to < end {
			to := min(at.to+walkStep, end)
			first, err := w.fill(at.to, to)
			if err != nil {
				return err
			}
			if first > at.to { // too much at a time
				*at = indexPart{}
				return x.update(r, n)
			}
			for _, it := range w.got {
				at.at[maphash.String(x.seed, it.id)] = it.offset
			}
			w.got, w.held, at.to = w.got[:0], 0, to
		}
	}
	return nil
}

// build reads backwards.
func (x *index) build(w *walk, at *indexPart) error {
	for {
		it, err := w.back()
		if err != nil || it == nil {
			return err
		}
		hash := maphash.String(x.seed, it.id)
		if _, newer := at.at[hash]; !newer {
			at.at[hash] = it.offset
		}
		at.from = it.offset
	}
}
