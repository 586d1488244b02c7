package broker

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// ProducerMemory is what counts the bytes of what is known of idempotent producers, for others who share a limit with
// them. Neither method waits.
type ProducerMemory interface {
	Try(bytes int64) error
	Give(bytes int64)
}

const (
	// producerMemory is about what one producer takes that a partition knows.
	producerMemory = 224
	// producerGrant is how much is asked of a ProducerMemory at a time; the first is never refused.
	producerGrant = 64 << 10
	// producerLooks bounds a search for one to forget.
	producerLooks = 64
	// producersToldEvery is the time between two lines of the log that some are forgotten before their time.
	producersToldEvery = time.Minute
)

// producerRoom is the memory for what all partitions, and the topics of exchanges, know of idempotent producers. Where there is no
// room for one more, one that was silent for long is forgotten, wherever it is known: its next batch is taken as one of a producer
// that is new there, and told from the one before by nothing. It is what Kafka does after producer.id.expiration.ms.
//
// They stand in a ring by when they came. Who is at its front and has sent something since goes to its back; who has
// not was silent while all others passed. So a batch costs nobody a look at the ring, but for a producer's first one.
// As a search is short there may be some more than there is room for, a thirtieth of them, before one goes who was not silent (makeRoom).
//
// mu is taken with a producers.mu held, and the other way round only by TryLock.
type producerRoom struct {
	limit  int64 // bytes
	memory ProducerMemory
	log    *slog.Logger

	mu      sync.Mutex // guards the following
	front   *producer  // the ring, by its links
	count   int64
	vain    int64 // looks since the last one was found who was silent
	granted int64 // by memory, beyond the first producerGrant
	told    time.Time
}

// goes is who may be forgotten.
type goes int

const (
	onlySilent goes = iota // sent nothing since it was looked at last, and has no transaction
	notInTxn               // has no transaction
	anybody                // the next batch of a transaction of such a one may be refused as out of order
)

// ring is a producer's place in a producerRoom; mu of the room guards all but of and id, which stay as they are. It is the zero value of
// one that is in no room.
type ring struct {
	of             *producers
	id             int64
	before, behind *producer
	placed         int64 // when it was put at the back, or was seen last then; ms since 1970
}

// add has the room know of one producer more, which ps, whose mu is held, has in its map. A nil room is without a limit.
func (r *producerRoom) add(ps *producers, id int64, pr *producer, now time.Time) {
	if r == nil || ps.gone {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pr.ring = ring{of: ps, id: id, placed: pr.seen}
	r.link(pr)
	r.count++
	for range 2 {
		if r.front == pr || now.UnixMilli()-r.front.placed < producerExpiry.Milliseconds() {
			break
		}
		if !r.forget(ps, onlySilent) {
			r.front = r.front.behind
		}
	}
	for r.full() && r.makeRoom(ps, pr) {
		if now.Sub(r.told) >= producersToldEvery {
			r.told = now
			r.log.Warn("idempotent producers of Kafka are forgotten before their time, those first that were silent for longest: they are too many for their part of the memory of requests (--request-memory). "+
				"What such a producer sends twice would be stored twice", "known", r.count, "bytes", r.count*producerMemory)
		}
	}
}

// full says whether there are too many.
func (r *producerRoom) full() bool {
	bytes := r.count * producerMemory
	for bytes <= r.limit && bytes > producerGrant+r.granted && r.memory != nil {
		if r.memory.Try(producerGrant) != nil {
			return true
		}
		r.granted += producerGrant
	}
	return bytes > r.limit
}

// makeRoom forgets one, if it finds one, but not the one that came now. Who sent something since the last look goes only
// when that was so with all of them, and who has a transaction when they were all looked at twice.
func (r *producerRoom) makeRoom(held *producers, fresh *producer) bool {
	switch {
	case r.search(held, fresh, onlySilent):
		r.vain = 0
	case r.vain > r.count && r.search(held, fresh, notInTxn):
		r.vain = r.count
	default:
		return r.vain > 2*r.count && r.search(held, fresh, anybody)
	}
	return true
}

// search forgets the first of some at the front who may go.
func (r *producerRoom) search(held *producers, fresh *producer, who goes) bool {
	for range min(producerLooks, r.count) {
		if r.front != fresh && r.forget(held, who) {
			return true
		}
		r.vain++
		r.front = r.front.behind // to the back
	}
	return false
}

// forget forgets the front one, if it may go and nobody is at work with those that it is among.
func (r *producerRoom) forget(held *producers, who goes) bool {
	pr := r.front
	if pr.of != held {
		if !pr.of.mu.TryLock() {
			return false
		}
		defer pr.of.mu.Unlock()
	}
	if who == onlySilent && pr.seen > pr.placed || who != anybody && pr.of.hasOpen(pr.id) {
		pr.placed = pr.seen
		return false
	}
	delete(pr.of.byID, pr.id)
	r.unlink(pr)
	return true
}

// remove lets go of one that is in no map any more.
func (r *producerRoom) remove(pr *producer) {
	if r == nil || pr == nil || pr.of == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vain = 0
	r.unlink(pr)
}

// link puts one at the back.
func (r *producerRoom) link(pr *producer) {
	if r.front == nil {
		r.front, pr.before, pr.behind = pr, pr, pr
		return
	}
	pr.behind, pr.before = r.front, r.front.before
	pr.before.behind, pr.behind.before = pr, pr
}

func (r *producerRoom) unlink(pr *producer) {
	switch {
	case pr.behind == pr:
		r.front = nil
	case r.front == pr:
		r.front = pr.behind
	}
	pr.before.behind, pr.behind.before = pr.behind, pr.before
	pr.ring = ring{}
	r.count--
	for r.granted >= producerGrant && r.count*producerMemory < r.granted-producerGrant {
		r.granted -= producerGrant
		r.memory.Give(producerGrant)
	}
}

// hasOpen says whether a producer has a transaction. mu is held.
func (ps *producers) hasOpen(id int64) bool {
	if ps.part == nil {
		return false
	}
	t := ps.part.txns.Load()
	if t == nil {
		return false
	}
	_, has := t.open[id]
	return has
}

// takeOver makes what was saved what is known. mu is held.
func (ps *producers) takeOver(byID map[int64]*producer, now time.Time) {
	ids := slices.SortedFunc(maps.Keys(byID), func(a, b int64) int { return cmp.Compare(byID[a].seen, byID[b].seen) })
	ps.byID = byID
	for _, id := range ids {
		ps.room.add(ps, id, byID[id], now)
	}
}

// forget forgets one producer. mu is held.
func (ps *producers) forget(id int64) {
	ps.room.remove(ps.byID[id])
	delete(ps.byID, id)
}

// clear forgets all. mu is held.
func (ps *producers) clear() {
	for _, pr := range ps.byID {
		ps.room.remove(pr)
	}
	ps.byID = map[int64]*producer{}
}

// dropProducers forgets the producers of a partition that is gone.
func (p *Partition) dropProducers() {
	if a := p.inUse.Load(); a != nil {
		a.producers.drop()
	}
}

// drop forgets all for good: the partition, or the exchange, is gone.
func (ps *producers) drop() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.gone = true
	ps.clear()
}
