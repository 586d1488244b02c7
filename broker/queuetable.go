package broker

import (
	"hash/maphash"
	"sync/atomic"
)

// queueTable finds a virtual host's queues by name. Who reads it takes no lock; who changes
// it holds VHost.mu. A queue takes one slot of 8 bytes, of which three quarters are in use
// at most: a sync.Map would take 130 bytes. It is cut into parts by the hash of the name, so
// that nobody waits for long while one of them grows.
//
//	hash  ─► part (its upper bits), slot (its lower bits) ─► the next slot, until the name or an empty one
type queueTable struct {
	parts [1 << queuePartBits]queueTablePart
}

const (
	queuePartBits = 6
	minQueueSlots = 8
)

type queueTablePart struct {
	slots atomic.Pointer[[]queueSlot] // a power of two of them; nil without a queue
	live  int                         // queues
	taken int                         // slots that are not empty: of queues, and of those that went
}

// queueSlot is a place for a queue; once taken it is never empty again, until all queues
// move to other slots.
type queueSlot struct{ atomic.Pointer[Queue] }

var (
	queueSeed = maphash.MakeSeed()
	queueGone = new(Queue) // in the slot of one that went
)

// find is the queue of that name, nil if there is none.
func (t *queueTable) find(name string) *Queue {
	return findQueue(t, maphash.String(queueSeed, name), name)
}

// findBytes is find for a borrowed name.
func (t *queueTable) findBytes(name []byte) *Queue {
	return findQueue(t, maphash.Bytes(queueSeed, name), name)
}

func findQueue[N string | []byte](t *queueTable, hash uint64, name N) *Queue {
	list := t.part(hash).slots.Load()
	if list == nil {
		return nil
	}
	slots := *list
	for at := hash; ; at++ {
		q := slots[at&uint64(len(slots)-1)].Load()
		if q == nil {
			return nil
		}
		if q != queueGone && q.Name == string(name) {
			return q
		}
	}
}

func (t *queueTable) part(hash uint64) *queueTablePart { return &t.parts[hash>>(64-queuePartBits)] }

// put has a queue found by its name, in the place of any other of that name.
func (t *queueTable) put(q *Queue) {
	t.remove(q.Name)
	hash := maphash.String(queueSeed, q.Name)
	p := t.part(hash)
	if list := p.slots.Load(); list == nil || 4*(p.taken+1) > 3*len(*list) {
		p.move()
	}
	if putQueue(*p.slots.Load(), hash, q) == nil {
		p.taken++
	}
	p.live++
}

// putQueue stores a queue in the first slot that no other has, and returns what was there.
func putQueue(slots []queueSlot, hash uint64, q *Queue) *Queue {
	for at := hash; ; at++ {
		slot := &slots[at&uint64(len(slots)-1)]
		if was := slot.Load(); was == nil || was == queueGone {
			slot.Store(q)
			return was
		}
	}
}

// remove forgets the queue of that name, if there is one.
func (t *queueTable) remove(name string) {
	hash := maphash.String(queueSeed, name)
	p := t.part(hash)
	list := p.slots.Load()
	if list == nil {
		return
	}
	slots := *list
	for at := hash; ; at++ {
		slot := &slots[at&uint64(len(slots)-1)]
		q := slot.Load()
		if q == nil {
			return
		}
		if q != queueGone && q.Name == name {
			slot.Store(queueGone)
			p.live--
			break
		}
	}
	if len(slots) > minQueueSlots && 8*p.live < len(slots) {
		p.move() // most of it is of no use any more
	}
}

// move gives the part's queues other slots: as many as leave half of them free with one more.
func (p *queueTablePart) move() {
	n := minQueueSlots
	for n < 2*(p.live+1) {
		n *= 2
	}
	slots := make([]queueSlot, n)
	if old := p.slots.Load(); old != nil {
		for i := range *old {
			if q := (*old)[i].Load(); q != nil && q != queueGone {
				putQueue(slots, maphash.String(queueSeed, q.Name), q)
			}
		}
	}
	p.taken = p.live
	p.slots.Store(&slots)
}

// all calls fn with every queue, those that come or go meanwhile perhaps.
func (t *queueTable) all(fn func(*Queue)) {
	for i := range t.parts {
		list := t.parts[i].slots.Load()
		if list == nil {
			continue
		}
		for j := range *list {
			if q := (*list)[j].Load(); q != nil && q != queueGone {
				fn(q)
			}
		}
	}
}
