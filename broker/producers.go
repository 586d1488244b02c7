package broker

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Errors of Produce that an idempotent producer can meet (KIP-98).
var (
	ErrOutOfOrderSequence = errors.New("sequence number out of order")
	ErrProducerFenced     = errors.New("producer epoch is old")
)

const (
	keptBatches    = 5 // what a producer may have in flight
	producerExpiry = 24 * time.Hour
	maxProducers   = 1 << 16        // known to a partition at a time, so that what is saved of them stays small
	sequences      = int64(1) << 31 // numbers run from 0 to 2^31-1 and begin again
)

// producers are the idempotent producers that a partition knows. What is known
// is taken from what was saved beside the log, and from the batch headers behind that,
// when the first of them comes after a start.
type producers struct {
	due atomic.Bool // enough came to save it

	mu     sync.Mutex // held over check and append; guards the following
	loaded bool
	gone   bool // the partition, or the exchange, was deleted
	byID   map[int64]*producer
	room   *producerRoom // where they are counted; nil: nowhere yet
	part   *activePart   // whose they are; nil: an exchange's, or not known yet
	mark   batchMark     // the last of what is known
	// underWay are the last batches of those who have not heard yet where these went.
	underWay map[int64]*underWay
	begun    uint64 // how many of them there were,
	heard    uint64 // and the number of the newest of which anybody heard
	unsaved  int64  // bytes of batches that are not in what was saved
	saved    int64  // bytes of the state
}

type producer struct {
	ring
	seen    int64 // when the last batch came, ms since 1970
	last    [keptBatches]sent
	epoch   int16
	n, next int8 // used entries of last, and where the next goes
	ended   bool // a marker of it came
}

// restart makes it a producer of another epoch, of which no batch came. Its place in the ring is not touched, which others change
// without its mu.
func (pr *producer) restart(epoch int16) {
	pr.epoch, pr.last, pr.n, pr.next = epoch, [keptBatches]sent{}, 0, 0
}

// sent is one batch that a producer sent.
type sent struct {
	first, last int32
	base        message.Offset
	timestamp   int64
}

// Produced tells where a Kafka producer's batch went.
type Produced struct {
	Base      message.Offset
	Duplicate bool
	Timestamp int64 // of the first time, when it is a duplicate; else -1
	LogStart  message.Offset
}

// Produce stores one batch of a Kafka producer, checked by the caller. A
// duplicate of one of a producer's last five batches is not stored again and
// returns the first one's offset.
func (s *Session) Produce(p *Partition, b batch.Batch) (Produced, error) {
	return s.produce(p, b, false)
}

// ProduceInTransaction is Produce for a batch whose producer has an epoch of its own in each transaction (KIP-890): the
// first one that the partition gets of it has sequence 0.
func (s *Session) ProduceInTransaction(p *Partition, b batch.Batch) (Produced, error) {
	return s.produce(p, b, true)
}

func (s *Session) produce(p *Partition, b batch.Batch, begins bool) (Produced, error) {
	if err := s.May(Publish, OnQueue, p.q.Name); err != nil {
		return Produced{}, err
	}
	if most := s.MaxMessageBytes(); len(b) > most && most < s.vhost.b.MaxMessageBytes() {
		return Produced{}, fail(TooLarge, "batch of %d bytes is larger than the maximum of %d", len(b), most)
	}
	return p.take(b, begins)
}

// take is Produce for one who may.
func (p *Partition) take(b batch.Batch, begins bool) (Produced, error) {
	if b.ProducerID() < 0 {
		at, err := p.put(b)
		if err != nil {
			return Produced{}, err
		}
		return p.produced(at)
	}
	return p.takeOnce(b, begins)
}

// takeOnce is take for a batch that may be there already. What another machine has not
// answered yet is waited for without producers.mu, and is known by then: it may be there
// although the wait was in vain, and comes again.
func (p *Partition) takeOnce(b batch.Batch, begins bool) (Produced, error) {
	if b.IsTransactional() {
		if err := p.makeTransactional(); err != nil {
			return Produced{}, err
		}
	}
	ps := &p.active().producers
	if err := p.lockProducers(b.ProducerID()); err != nil {
		return Produced{}, err
	}
	s := sent{first: b.BaseSequence(), last: lastSequence(b), timestamp: b.MaxTimestamp()}
	dup, err := ps.byID[b.ProducerID()].check(b.ProducerEpoch(), s, begins)
	if dup != nil {
		s = *dup
	}
	var at store.Position
	var u *underWay
	moved := false
	if err == nil && dup == nil {
		var fresh bool
		if fresh, err = p.enterTxn(b); err == nil {
			at, u, err = p.putNoted(b, s)
			moved = p.enteredTxn(b, fresh, at, err)
		}
	}
	ps.mu.Unlock()
	if moved {
		p.log.Wake()
	}
	switch {
	case err != nil:
		return Produced{}, err
	case dup != nil:
		start, _, err := p.log.Bounds()
		return Produced{Base: s.base, Duplicate: true, Timestamp: s.timestamp, LogStart: start}, err
	case u != nil:
		if err := p.hearOf(b.ProducerID(), u); err != nil {
			return Produced{}, err
		}
	}
	return p.produced(at)
}

// putNoted appends a batch and notes that its producer sent it, with where it went if that
// is known already. It needs producers.mu.
func (p *Partition) putNoted(b batch.Batch, s sent) (at store.Position, u *underWay, err error) {
	ps := &p.active().producers
	if at, err = p.put(b); err != nil {
		return at, nil, err
	}
	p.sentMore(len(b))
	known := false
	if s.base, known = at.Known(); known {
		ps.note(b.ProducerID(), b.ProducerEpoch(), s, p.q.vhost.b.opts.Now())
		return at, nil, nil
	}
	if ps.underWay == nil {
		ps.underWay = map[int64]*underWay{}
	}
	ps.begun++
	u = &underWay{epoch: b.ProducerEpoch(), sent: s, at: at, number: ps.begun}
	ps.underWay[b.ProducerID()] = u
	return at, u, nil
}

// underWay is a producer's batch of which nobody knows yet where it went.
type underWay struct {
	epoch int16
	sent
	at     store.Position
	number uint64
}

// passed are those of which nobody has heard although others behind them were heard of, by their producers. mu is held.
func (ps *producers) passed() (list map[int64]*underWay) {
	for id, u := range ps.underWay {
		if u.number < ps.heard {
			if list == nil {
				list = map[int64]*underWay{}
			}
			list[id] = u
		}
	}
	return list
}

// lockProducers locks what is known of the producers, once it is known of that one what
// became of its last batch.
func (p *Partition) lockProducers(id int64) error {
	ps := &p.active().producers
	for {
		ps.mu.Lock()
		u := ps.underWay[id]
		if u == nil {
			err := p.loadProducers()
			if err != nil {
				ps.mu.Unlock()
			}
			return err
		}
		ps.mu.Unlock()
		if err := p.hearOf(id, u); store.Retryable(err) {
			return err
		}
	}
}

// hearOf waits for what became of a batch under way. An error that is not retryable says
// that it is not there.
func (p *Partition) hearOf(id int64, u *underWay) error {
	base, err := p.base(u.at)
	if store.Retryable(err) {
		return err
	}
	ps := &p.active().producers
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.underWay[id] == u { // nobody heard of it before
		delete(ps.underWay, id)
		if err == nil {
			u.base = base
			ps.heard = max(ps.heard, u.number)
			ps.note(id, u.epoch, u.sent, p.q.vhost.b.opts.Now())
		}
	}
	return err
}

// put appends a producer's batch.
func (p *Partition) put(b batch.Batch) (store.Position, error) {
	if p.removed.Load() {
		return store.Position{}, fail(NotFound, "queue '%s' was deleted", p.q.Name)
	}
	at, err := p.appendBatch(b)
	p.q.vhost.b.alarm.appended(p.q.vhost.b, p, len(b), err)
	if err != nil {
		return store.Position{}, err
	}
	if p.q.Settings().MessageTTL >= 0 {
		p.expects(true)
	}
	n := uint64(b.Count())
	c := &p.q.vhost.b.counters
	c.Published.Add(n)
	p.q.vhost.flow.published.Add(n)
	c.Routed.Add(n)
	c.Stored.Add(n)
	c.PublishedBytes.Add(uint64(len(b)))
	return at, nil
}

// produced is what a producer is told of what it appended.
func (p *Partition) produced(at store.Position) (Produced, error) {
	base, err := p.base(at)
	if err != nil {
		return Produced{}, err
	}
	start, _, err := p.log.Bounds()
	if err != nil {
		start = 0 // it is stored; the next answer tells
	}
	return Produced{Base: base, Timestamp: -1, LogStart: start}, nil
}

// appendBatch appends a batch within the limits of the queue.
func (p *Partition) appendBatch(b batch.Batch) (store.Position, error) {
	if l := p.limiter(); l != nil {
		return l.take(p, b)
	}
	return p.log.Append(b)
}

// base is where an append went, which a Kafka producer is told.
func (p *Partition) base(at store.Position) (message.Offset, error) {
	if base, known := at.Known(); known {
		return base, nil
	}
	ctx, cancel := asking()
	defer cancel()
	return at.Base(ctx)
}

func lastSequence(b batch.Batch) int32 {
	return int32((int64(b.BaseSequence()) + int64(b.LastOffsetDelta())) % sequences)
}

// check decides on a batch of a producer that may be nil, which is one not known. With begins that must begin with sequence 0, and so
// must one whose epoch a marker raised.
//
//	epoch older                     fenced
//	one of the last five            duplicate
//	new epoch, first sequence 0     taken
//	sequence follows the last one   taken
//	anything else                   out of order
func (pr *producer) check(epoch int16, s sent, begins bool) (*sent, error) {
	switch {
	case pr == nil:
		if begins && s.first != 0 {
			return nil, ErrOutOfOrderSequence
		}
		return nil, nil
	case epoch < pr.epoch:
		return nil, ErrProducerFenced
	case epoch > pr.epoch:
		if s.first != 0 {
			return nil, ErrOutOfOrderSequence
		}
		return nil, nil
	}
	for i := range pr.n {
		if l := &pr.last[i]; l.first == s.first && l.last == s.last {
			return l, nil
		}
	}
	next := int64(0)
	if pr.n > 0 {
		next = (int64(pr.newest().last) + 1) % sequences
	}
	if int64(s.first) != next {
		return nil, ErrOutOfOrderSequence
	}
	return nil, nil
}

// count is how many offsets it has.
func (s *sent) count() int64 { return (int64(s.last)-int64(s.first)+sequences)%sequences + 1 }

// newest is the last batch that the producer sent, if it sent one.
func (pr *producer) newest() *sent { return &pr.last[(pr.next+keptBatches-1)%keptBatches] }

func (ps *producers) note(id int64, epoch int16, s sent, now time.Time) {
	pr := ps.byID[id]
	switch {
	case pr == nil:
		pr = &producer{epoch: epoch, seen: now.UnixMilli()}
		ps.expire(now)
		ps.byID[id] = pr
		ps.room.add(ps, id, pr, now)
	case pr.epoch != epoch:
		pr.restart(epoch)
	}
	pr.seen = now.UnixMilli()
	ps.reaches(batchMark{base: s.base, end: s.base + message.Offset(s.count()), producer: id, epoch: epoch, sequence: s.first})
	pr.last[pr.next] = s
	pr.next = (pr.next + 1) % keptBatches
	pr.n = min(pr.n+1, keptBatches)
}

// expire forgets producers that were silent for long and have no transaction, some each time one is new,
// and beyond maxProducers the most silent of those looked at.
func (ps *producers) expire(now time.Time) {
	looked := 0
	var oldest int64
	since := int64(math.MaxInt64)
	for id, pr := range ps.byID {
		switch {
		case ps.hasOpen(id):
			if since == math.MaxInt64 {
				oldest = id // goes if there is no other
			}
		case now.UnixMilli()-pr.seen > producerExpiry.Milliseconds():
			ps.forget(id)
		case pr.seen < since:
			oldest, since = id, pr.seen
		}
		if looked++; looked == 64 {
			break
		}
	}
	if len(ps.byID) >= maxProducers {
		ps.forget(oldest)
	}
}

// loadProducers reads the headers of the log's batches once after a start. producers.mu is held.
func (p *Partition) loadProducers() error {
	ps := &p.active().producers
	if ps.loaded {
		return nil
	}
	err := p.readProducers(ps)
	if ps.loaded = err == nil; !ps.loaded {
		ps.clear()
	}
	return err
}

func (p *Partition) readProducers(ps *producers) error {
	start, end, err := p.log.Bounds()
	if err != nil {
		return err
	}
	ps.byID, ps.mark, ps.room, ps.part = map[int64]*producer{}, batchMark{}, &p.q.vhost.b.producerRoom, p.active()
	t := p.txns()
	if t != nil {
		t.open = map[int64]openTxn{}
	}
	from := p.restoreProducers(start, end)
	now := p.q.vhost.b.opts.Now()
	for from < end {
		v, err := await(p.log, from, 4<<20)
		if errors.Is(err, store.ErrOutOfRange) {
			if from, _, err = p.log.Bounds(); err != nil { // retention took what was to be read
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if v.Len() == 0 {
			v.Done()
			break
		}
		err = v.Use(func(data []byte) (err error) {
			from, err = ps.scan(data, t, now)
			p.sentMore(len(data))
			return err
		})
		v.Done()
		if err != nil {
			return err
		}
	}
	if t != nil {
		t.settle()
		t.loaded.Store(true)
	}
	return nil
}

func (ps *producers) scan(data []byte, t *partTxns, now time.Time) (next message.Offset, err error) {
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			return next, err
		}
		data = rest
		next = message.Offset(b.LastOffset()) + 1
		ps.reaches(markOf(b))
		if t != nil {
			t.scan(b)
		}
		if b.IsControl() {
			ps.fence(b.ProducerID(), b.ProducerEpoch(), message.Offset(b.BaseOffset()))
		}
		if b.ProducerID() >= 0 && !b.IsControl() {
			ps.note(b.ProducerID(), b.ProducerEpoch(), sent{b.BaseSequence(), lastSequence(b), message.Offset(b.BaseOffset()), b.MaxTimestamp()}, now)
		}
	}
	return next, nil
}
