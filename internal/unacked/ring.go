package unacked

import "github.com/leveret-mq/leveret/message"

// entry is one delivery that was not settled yet, in 16 bytes.
type entry struct {
	offset message.Offset
	tag    uint32 // low half of the delivery tag
	holder uint32 // index into Set.holders with a proposal above it, or settled, or late
}

// settled marks an entry whose delivery was acked ahead of older ones; late one whose delivery was taken
// back, and whose tag the client may still name.
const (
	settled = ^uint32(0)
	late    = settled - 1
)

// ring is the deliveries that wait for a verdict, by tag. Tags grow by one, so
// the entries form a ring in which a tag is found by subtraction. Entries settled out of order stay until
// the oldest goes, or until they are three quarters of a full ring, when they are squeezed out; so the
// ring is at most four times as long as what is really unacked, and memory does not follow the tags.
type ring struct {
	entries []entry // a power of two long
	head    int     // position of the oldest entry
	n       int     // entries, settled ones included
	live    int     // entries that are not settled
	last    uint64  // tag given out last
}

const minRing = 64

func (r *ring) at(i int) *entry { return &r.entries[(r.head+i)&(len(r.entries)-1)] }

// push gives the next delivery its tag and remembers it.
func (r *ring) push(offset message.Offset, holder uint32) uint64 {
	if r.n == len(r.entries) {
		r.makeRoom()
	}
	r.last++
	r.entries[(r.head+r.n)&(len(r.entries)-1)] = entry{offset: offset, tag: uint32(r.last), holder: holder}
	r.n++
	r.live++
	return r.last
}

// skip gives out a tag that needs no verdict.
func (r *ring) skip() uint64 {
	r.last++
	return r.last
}

func (r *ring) makeRoom() {
	size := max(2*len(r.entries), minRing)
	if r.n > minRing && r.live <= r.n/4 {
		size = len(r.entries)
	}
	entries := make([]entry, size)
	kept := 0
	for i := range r.n {
		if e := r.at(i); e.holder != settled {
			entries[kept] = *e
			kept++
		}
	}
	r.entries, r.head, r.n = entries, 0, kept
}

// tag is the whole tag of an entry.
func (r *ring) tag(e *entry) uint64 { return r.last - uint64(r.age(e)) }

// age is how many tags after this one were given out.
func (r *ring) age(e *entry) uint32 { return uint32(r.last) - e.tag }

// find returns the position of a tag among the entries, settled or not, or -1.
func (r *ring) find(tag uint64) int {
	if tag == 0 || tag > r.last || r.last-tag > 1<<32-1 {
		return -1
	}
	age := uint32(r.last - tag)
	// Nothing was squeezed out after the tag, as a rule: it lies as far from the end as it is old.
	if i := r.n - 1 - int(age); i >= 0 && r.at(i).tag == uint32(tag) {
		return i
	}
	low, high := 0, r.n
	for low < high {
		mid := (low + high) / 2
		if r.age(r.at(mid)) > age {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < r.n && r.at(low).tag == uint32(tag) {
		return low
	}
	return -1
}

// take settles one tag and gives its entry; ok is false if it is unknown or settled.
func (r *ring) take(tag uint64) (e entry, ok bool) {
	i := r.find(tag)
	if i < 0 || r.at(i).holder == settled {
		return e, false
	}
	e = *r.at(i)
	r.at(i).holder = settled
	r.live--
	r.trim()
	return e, true
}

// pop settles the oldest entry if its tag is at most upTo. The caller pops until ok is false.
func (r *ring) pop(upTo uint64) (e entry, ok bool) {
	if r.n == 0 || r.last-uint64(r.age(r.at(0))) > upTo {
		return e, false
	}
	e = *r.at(0)
	r.at(0).holder = settled
	r.live--
	r.trim()
	return e, true
}

// trim lets go of settled entries at the old end, so that the oldest entry is always a live one.
func (r *ring) trim() {
	if r.live == 0 {
		r.head, r.n = 0, 0
		if len(r.entries) > maxIdleRing {
			r.entries = nil
		}
		return
	}
	for r.at(0).holder == settled {
		r.head = (r.head + 1) & (len(r.entries) - 1)
		r.n--
	}
}

// maxIdleRing is the longest ring that is kept when nothing is unacked: 64 KiB.
const maxIdleRing = 4096
