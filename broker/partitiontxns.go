package broker

import (
	"errors"
	"math"
	"slices"
	"sync/atomic"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// ErrInTransaction says that a producer which has a transaction in a partition sends a batch without it.
var ErrInTransaction = errors.New("the producer has a transaction there, and the batch is not of it")

var errNoTransactions = fail(Unsupported, "where this broker stores its messages it can't have transactions of Kafka's producers")

// Transactional says whether the broker can have transactions of Kafka's producers.
func (b *Broker) Transactional() bool { return b.store.Caps().Transactions }

// Transactions of Kafka's producers. Their batches stand in the log as all others; what a reader of what is
// committed may see ends at the last stable offset, the first one of a transaction that is neither committed nor aborted:
//
//	┌───────┬───────┬───────┬─────────┬───────┬───────┐
//	│ plain │ txn 1 │ txn 2 │ 1 ends: │ plain │ txn 2 │      stable: where txn 2 begins
//	│       │       │       │ commit  │       │       │
//	└───────┴───────┴───────┴─────────┴───────┴───────┘
//
// The markers that end them are control batches. Consumers of AMQP and its like see neither these nor what was aborted, and
// stop at the last stable offset; a Kafka consumer is told what was aborted, and leaves it out itself.
//
// A partition that never had a transaction has none of this, and costs one look at a pointer. It is known of a partition
// from before the first batch on (key x/ of the table "groups"), so that after a start nobody looks through logs in which there
// are none. Where there are, the state is taken from what was saved with that of the producers, and from the log behind it.
//
// Who decides about transactions is package kafka/txn; here is what stands in the logs.

// partTxns is what a partition knows of transactions; producers.mu guards it, but for what is atomic.
type partTxns struct {
	loaded  atomic.Bool
	stable  atomic.Int64 // last stable offset; undecided without an open transaction
	open    map[int64]openTxn
	aborted atomic.Pointer[[]abortedTxn] // in the order of their ends; readers share what is there
}

const undecided = math.MaxInt64

// openTxn is a producer's transaction that is not decided.
type openTxn struct {
	first message.Offset
	epoch int16 // of its newest batch
}

// abortedTxn is one whose records between first and last nobody is to see who reads what is committed. stable was the
// last stable offset behind its end: no transaction that ended later begins before it.
type abortedTxn struct {
	producer            int64
	first, last, stable message.Offset
}

func newPartTxns() *partTxns {
	t := &partTxns{open: map[int64]openTxn{}}
	t.stable.Store(undecided)
	t.aborted.Store(new([]abortedTxn))
	return t
}

// txns is what the partition knows of transactions, nil if it never had one.
func (p *Partition) txns() *partTxns {
	if a := p.inUse.Load(); a != nil {
		return a.txns.Load()
	}
	return nil
}

// knowTxns has it known where transactions stand, and returns nil if there never was one. It may wait for a disk.
func (p *Partition) knowTxns() (*partTxns, error) {
	t := p.txns()
	if t == nil || t.loaded.Load() {
		return t, nil
	}
	if err := p.lockProducers(batch.NoProducer); err != nil {
		return nil, p.unreadable(err)
	}
	p.active().producers.mu.Unlock()
	return t, nil
}

// bounds are those of the log as a reader of what is committed sees it.
func (p *Partition) bounds() (start, end message.Offset, err error) {
	start, end, err = p.log.Bounds()
	return start, p.committedEnd(start, end), err
}

// committedEnd is the last stable offset of a log [start, end). Retention, and who deletes records, may take the first ones of an open
// transaction, as in Kafka: it is the log's start then.
func (p *Partition) committedEnd(start, end message.Offset) message.Offset {
	if t := p.txns(); t != nil {
		return t.committedEnd(start, end)
	}
	return end
}

func (t *partTxns) committedEnd(start, end message.Offset) message.Offset {
	return max(start, min(end, message.Offset(t.stable.Load())))
}

// hides says whether a batch is none that a reader of what is committed sees: a marker, or of a
// transaction that was aborted. t may be nil.
func (t *partTxns) hides(b batch.Batch) bool {
	if b.IsControl() {
		return true
	}
	return t != nil && b.IsTransactional() && t.abortedAt(b.ProducerID(), message.Offset(b.BaseOffset()))
}

func (t *partTxns) abortedAt(producer int64, at message.Offset) bool {
	for a := range t.abortedIn(at, at+1) {
		if a.producer == producer {
			return true
		}
	}
	return false
}

// abortedIn are the aborted transactions that have records in [from, to), by their ends.
func (t *partTxns) abortedIn(from, to message.Offset) func(yield func(*abortedTxn) bool) {
	list := *t.aborted.Load()
	i, _ := slices.BinarySearchFunc(list, from, func(a abortedTxn, from message.Offset) int {
		return int(min(max(a.last-from, -1), 1))
	})
	return func(yield func(*abortedTxn) bool) {
		for ; i < len(list); i++ {
			a := &list[i]
			if a.first < to && !yield(a) || a.stable >= to {
				return
			}
		}
	}
}

// settle makes the last stable offset what it is by the open transactions.
func (t *partTxns) settle() {
	stable := int64(undecided)
	for _, o := range t.open {
		stable = min(stable, int64(o.first))
	}
	t.stable.Store(stable)
}

// begin notes, before a transaction's batch is appended at or behind end, that nothing from there on is decided. It says
// whether the transaction is a new one here.
func (t *partTxns) begin(b batch.Batch, end message.Offset) (fresh bool) {
	o, has := t.open[b.ProducerID()]
	if !has {
		o.first = end
		t.stable.Store(min(t.stable.Load(), int64(end)))
	}
	o.epoch = b.ProducerEpoch()
	t.open[b.ProducerID()] = o
	return !has
}

// began ends what begin began, for a new transaction that begins at base, or was not stored after all.
func (t *partTxns) began(b batch.Batch, base message.Offset, stored bool) {
	if stored {
		t.open[b.ProducerID()] = openTxn{base, b.ProducerEpoch()}
	} else {
		delete(t.open, b.ProducerID())
	}
	t.settle()
}

// end notes the marker of a producer's transaction.
func (t *partTxns) end(producer int64, at message.Offset, commit bool) {
	o, has := t.open[producer]
	delete(t.open, producer)
	if has && !commit {
		stable := at + 1
		for _, other := range t.open {
			stable = min(stable, other.first)
		}
		list := append(*t.aborted.Load(), abortedTxn{producer, o.first, at, stable})
		t.aborted.Store(&list) // what readers have of it stays as it is
	}
	t.settle()
}

// prune forgets what was aborted before a log's start.
func (t *partTxns) prune(start message.Offset) {
	list := *t.aborted.Load()
	n := 0
	for n < len(list) && list[n].last < start {
		n++
	}
	if n > 0 {
		list = slices.Clone(list[n:])
		t.aborted.Store(&list)
	}
}

// forgetAborted forgets an aborted transaction of which nothing is left in the log, before its end goes too: who is told of it would
// look for that end, and take all of the producer for aborted until then.
func (p *Partition) forgetAborted(producer int64, last message.Offset) {
	t := p.txns()
	if t == nil {
		return
	}
	ps := &p.active().producers
	ps.mu.Lock()
	defer ps.mu.Unlock()
	t.keepAborted(func(a abortedTxn) bool { return a.producer != producer || a.last != last })
}

// keepAborted forgets aborted transactions of which keep says no. Readers go on with what they have.
func (t *partTxns) keepAborted(keep func(a abortedTxn) bool) {
	list := slices.DeleteFunc(slices.Clone(*t.aborted.Load()), func(a abortedTxn) bool { return !keep(a) })
	t.aborted.Store(&list)
}

// dropUnmarked is forgetAborted for what was saved before compaction took the transactions' ends.
func (t *partTxns) dropUnmarked(p *Partition) {
	t.keepAborted(func(a abortedTxn) bool {
		v, err := await(p.log, a.last, 1)
		if err != nil {
			return true
		}
		defer v.Done()
		marked := false
		err = v.Use(func(data []byte) error {
			b, _, err := batch.Next(data)
			marked = err == nil && b.IsControl() && b.ProducerID() == a.producer && message.Offset(b.BaseOffset()) == a.last
			return err
		})
		return marked || err != nil
	})
}

// scan notes a batch of the log.
func (t *partTxns) scan(b batch.Batch) {
	base := message.Offset(b.BaseOffset())
	if !b.IsTransactional() {
		return
	}
	if !b.IsControl() {
		if t.begin(b, base) {
			t.began(b, base, true)
		}
		return
	}
	if commit, err := message.ParseMarker(b); err == nil {
		t.end(b.ProducerID(), base, commit)
	}
}

// enterTxn prepares a transaction's batch, or holds one against the transaction that its producer has. producers.mu is held.
func (p *Partition) enterTxn(b batch.Batch) (fresh bool, err error) {
	t := p.txns()
	if !b.IsTransactional() {
		if t != nil {
			if _, has := t.open[b.ProducerID()]; has {
				return false, ErrInTransaction
			}
		}
		return false, nil
	}
	_, end, err := p.log.Bounds()
	if err != nil {
		return false, p.unreadable(err)
	}
	return t.begin(b, end), nil
}

// enteredTxn ends what enterTxn began, once the batch is appended, or not. producers.mu is held. It says whether others
// may read on behind their backs: what came between enterTxn and the append was held up.
func (p *Partition) enteredTxn(b batch.Batch, fresh bool, at store.Position, err error) (moved bool) {
	if !fresh {
		return false
	}
	t := p.txns()
	before := t.stable.Load()
	base, known := at.Known()
	if err == nil && !known {
		return false // it begins where the log ended, or a little later: nobody sees more for that
	}
	t.began(b, base, err == nil)
	return t.stable.Load() > before
}

// makeTransactional has it known for good that the partition has transactions, before it has the first.
func (p *Partition) makeTransactional() error {
	if p.txns() != nil {
		return nil
	}
	if !p.q.vhost.b.Transactional() {
		return errNoTransactions
	}
	if p.q.lives() {
		if err := p.q.vhost.putGroups([]store.Entry{{Key: txnPartKey(p), Value: p.q.TopicID[:]}}); err != nil {
			return err
		}
	}
	t := newPartTxns()
	ps := &p.active().producers
	ps.mu.Lock()
	defer ps.mu.Unlock()
	t.loaded.Store(ps.loaded) // else it is with the producers
	if p.active().txns.CompareAndSwap(nil, t) && p.q.Settings().limited() {
		p.q.vhost.changed() // publishers are told from now on which of their messages it refuses (undecided.go)
	}
	return nil
}

// endTxn writes the marker of a producer's transaction, if it has one there of that epoch or an older one. epoch is that
// of the producer from then on.
func (p *Partition) endTxn(producer int64, upTo, epoch int16, commit bool) (ended bool, err error) {
	t := p.txns()
	if t == nil || p.removed.Load() {
		return false, nil
	}
	if err := p.lockProducers(producer); err != nil {
		return false, err
	}
	ps := &p.active().producers
	o, has := t.open[producer]
	if !has || o.epoch > upTo {
		ps.mu.Unlock()
		return false, nil
	}
	b := message.Marker(producer, epoch, commit, p.q.vhost.b.opts.Now().UnixMilli())
	at, err := p.log.Append(b)
	p.q.vhost.b.alarm.appended(p.q.vhost.b, p, len(b), err)
	if err == nil {
		var base message.Offset
		if base, err = p.base(at); err == nil {
			t.end(producer, base, commit)
			ps.heard = ps.begun + 1 // all that are under way are before it
			ps.fence(producer, epoch, base)
			p.sentMore(len(b))
		}
	}
	ps.mu.Unlock()
	if err != nil {
		if p.removed.Load() {
			return false, nil
		}
		return false, err
	}
	p.log.Wake() // who was woken by the append found it undecided
	if p.expiry.Load() != nil {
		p.expects(false) // what was not decided had no time that was looked for
	}
	p.cameBack()
	return true, nil
}

// fence notes a marker of a producer, which may have it go on with a newer epoch. mu is held.
func (ps *producers) fence(id int64, epoch int16, at message.Offset) {
	ps.reaches(batchMark{base: at, end: at + 1, producer: id, epoch: epoch, sequence: batch.NoSequence})
	pr := ps.byID[id]
	if pr == nil {
		return
	}
	if pr.epoch < epoch {
		pr.restart(epoch)
	}
	pr.ended = true
}
