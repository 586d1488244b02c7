package group

import (
	"bytes"
	"maps"
	"slices"
)

// TopicID names a topic, and no other of its name.
type TopicID = [16]byte

// Partitions are partitions by their topics. Each list is sorted, without repeats, and not empty. They are never
// changed once they are shared: what changes is made anew.
type Partitions map[TopicID][]int32

// Count is how many there are.
func (p Partitions) Count() int {
	n := 0
	for _, list := range p {
		n += len(list)
	}
	return n
}

// Topics are the ids, in order.
func (p Partitions) Topics() []TopicID {
	if len(p) == 0 {
		return nil
	}
	ids := make([]TopicID, 0, len(p))
	for id := range p {
		ids = append(ids, id)
	}
	if len(ids) > 1 { // most members read one topic, and there may be thousands of them to go through
		slices.SortFunc(ids, func(a, b TopicID) int { return bytes.Compare(a[:], b[:]) })
	}
	return ids
}

// NewPartitions makes Partitions of lists in any order, with repeats.
func NewPartitions(lists map[TopicID][]int32) Partitions {
	out := make(Partitions, len(lists))
	for id, list := range lists {
		if len(list) > 0 {
			list = slices.Clone(list)
			slices.Sort(list)
			out[id] = slices.Compact(list)
		}
	}
	return out
}

func (p Partitions) equal(o Partitions) bool {
	return maps.EqualFunc(p, o, func(a, b []int32) bool { return slices.Equal(a, b) })
}

func (p Partitions) has(id TopicID, partition int32) bool {
	_, ok := slices.BinarySearch(p[id], partition)
	return ok
}

// filter is what of p keep is true for.
func (p Partitions) filter(keep func(TopicID, int32) bool) Partitions {
	out := Partitions{}
	for id, list := range p {
		var kept []int32
		for _, n := range list {
			if keep(id, n) {
				kept = append(kept, n)
			}
		}
		if len(kept) > 0 {
			out[id] = kept
		}
	}
	return out
}

// and is what is in both.
func (p Partitions) and(o Partitions) Partitions {
	return p.filter(o.has)
}

// without is what is in p alone.
func (p Partitions) without(o Partitions) Partitions {
	return p.filter(func(id TopicID, n int32) bool { return !o.has(id, n) })
}

// or is what is in either.
func (p Partitions) or(o Partitions) Partitions {
	out := maps.Clone(p)
	if out == nil {
		out = Partitions{}
	}
	for id, list := range o {
		both := slices.Concat(out[id], list)
		slices.Sort(both)
		out[id] = slices.Compact(both)
	}
	return out
}

// meets says whether anything is in both.
func (p Partitions) meets(o Partitions) bool {
	for id, list := range p {
		for _, n := range list {
			if o.has(id, n) {
				return true
			}
		}
	}
	return false
}

// within says whether all of p is in o.
func (p Partitions) within(o Partitions) bool {
	for id, list := range p {
		for _, n := range list {
			if !o.has(id, n) {
				return false
			}
		}
	}
	return true
}
