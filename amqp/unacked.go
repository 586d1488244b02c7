package amqp

import "github.com/leveret-mq/leveret/message"

// unackedEntry is one delivery that was not settled yet, in 16 bytes.
type unackedEntry struct {
	offset message.Offset
	tag    uint32 // low half of the delivery tag
	holder uint32 // index into channel.holders, or settled
}

// settled marks an entry whose delivery was acked ahead of older ones.
const settled = ^uint32(0)

// unacked is the deliveries of a channel that wait for a verdict, by delivery tag. Tags grow by one, so
// the entries form a ring in which a tag is found by subtraction. Entries settled out of order stay until
// the oldest goes, or until they are three quarters of a full ring, when they are squeezed out; so the
// ring is at most four times as long as what is really unacked, and memory does not follow the tags.
type unacked struct {
	ring []unackedEntry // a power of two long
	head int            // position of the oldest entry
	n    int            // entries, settled ones included
	live int            // entries that are not settled
	last uint64         // tag given out last
}

const minUnackedRing = 64

func (u *unacked) at(i int) *unackedEntry { return &u.ring[(u.head+i)&(len(u.ring)-1)] }

// push gives the next delivery its tag and remembers it.
func (u *unacked) push(offset message.Offset, holder uint32) uint64 {
	if u.n == len(u.ring) {
		u.makeRoom()
	}
	u.last++
	u.ring[(u.head+u.n)&(len(u.ring)-1)] = unackedEntry{offset: offset, tag: uint32(u.last), holder: holder}
	u.n++
	u.live++
	return u.last
}

// skip gives out a tag that needs no verdict.
func (u *unacked) skip() uint64 {
	u.last++
	return u.last
}

func (u *unacked) makeRoom() {
	size := max(2*len(u.ring), minUnackedRing)
	if u.n > minUnackedRing && u.live <= u.n/4 {
		size = len(u.ring)
	}
	ring := make([]unackedEntry, size)
	kept := 0
	for i := range u.n {
		if e := u.at(i); e.holder != settled {
			ring[kept] = *e
			kept++
		}
	}
	u.ring, u.head, u.n = ring, 0, kept
}

// age is how many tags after this one were given out.
func (u *unacked) age(e *unackedEntry) uint32 { return uint32(u.last) - e.tag }

// find returns the position of a tag among the entries, settled or not, or -1.
func (u *unacked) find(tag uint64) int {
	if tag == 0 || tag > u.last || u.last-tag > 1<<32-1 {
		return -1
	}
	age := uint32(u.last - tag)
	// Nothing was squeezed out after the tag, as a rule: it lies as far from the end as it is old.
	if i := u.n - 1 - int(age); i >= 0 && u.at(i).tag == uint32(tag) {
		return i
	}
	low, high := 0, u.n
	for low < high {
		mid := (low + high) / 2
		if u.age(u.at(mid)) > age {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < u.n && u.at(low).tag == uint32(tag) {
		return low
	}
	return -1
}

// take settles one tag and gives its entry; ok is false if it is unknown or settled.
func (u *unacked) take(tag uint64) (e unackedEntry, ok bool) {
	i := u.find(tag)
	if i < 0 || u.at(i).holder == settled {
		return e, false
	}
	e = *u.at(i)
	u.at(i).holder = settled
	u.live--
	u.trim()
	return e, true
}

// pop settles the oldest entry if its tag is at most upTo. The caller pops until ok is false.
func (u *unacked) pop(upTo uint64) (e unackedEntry, ok bool) {
	if u.n == 0 || u.last-uint64(u.age(u.at(0))) > upTo {
		return e, false
	}
	e = *u.at(0)
	u.at(0).holder = settled
	u.live--
	u.trim()
	return e, true
}

// trim lets go of settled entries at the old end, so that the oldest entry is always a live one.
func (u *unacked) trim() {
	if u.live == 0 {
		u.head, u.n = 0, 0
		if len(u.ring) > maxIdleRing {
			u.ring = nil
		}
		return
	}
	for u.at(0).holder == settled {
		u.head = (u.head + 1) & (len(u.ring) - 1)
		u.n--
	}
}

// maxIdleRing is the longest ring that is kept when nothing is unacked: 64 KiB.
const maxIdleRing = 4096
