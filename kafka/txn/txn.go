package txn

import (
	"container/list"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// State is where a transactional id stands.
type State uint8

// The states, as they are kept.
const (
	Empty State = iota
	Ongoing
	PrepareCommit
	PrepareAbort
	CompleteCommit
	CompleteAbort
)

// String is Kafka's name of the state.
func (s State) String() string {
	return [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"}[s]
}

// txn is a transactional id and its transaction. mu guards it.
type txn struct {
	mu       sync.Mutex
	id       string
	dead     bool
	state    State
	producer int64
	epoch    int16
	before   int64 // the producer's id before this one, -1 if there was none
	next     int64 // the one that it gets behind its last epoch; -1: none
	timeout  time.Duration

	decided   int16 // the newest decision holds for epochs up to this one; -1: there is none
	committed bool  // what it was
	initFrom  int16 // the epoch that the client had which got this one; -1: none, or something came since

	parts   map[Place]struct{}
	groups  map[string]struct{}
	offsets map[key]group.Change
	started time.Time
	used    time.Time
	goesOn  bool  // after a restart
	bytes   int64 // of memory that is counted
	owner   *owner
	place   *list.Element // among the owner's ids; Coordinator.mu guards it, and owner

	flushed   chan error  // hears of the markers' flush; nil: they are flushed
	unflushed []Place     // where these are
	timer     *time.Timer // of the timeout, or of another try
}

func newTxn() *txn {
	return &txn{producer: -1, epoch: -1, before: -1, next: -1, decided: -1, initFrom: -1, used: time.Now(),
		parts: map[Place]struct{}{}, groups: map[string]struct{}{}, offsets: map[key]group.Change{}}
}

const lastEpoch = math.MaxInt16 - 1

func (t *txn) describe() Description {
	d := Description{ID: t.id, State: t.state, Producer: t.producer, Epoch: t.epoch, Timeout: t.timeout, Started: t.started,
		Groups: slices.Sorted(maps.Keys(t.groups))}
	for p := range t.parts {
		d.Parts = append(d.Parts, p)
	}
	return d
}

func (t *txn) stop() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

// await waits until the markers of the last decision are durable: it may be replaced then.
func (c *Coordinator) await(t *txn) error {
	if t.flushed == nil {
		return nil
	}
	err := <-t.flushed
	if err != nil { // once more: what was wrong may be over, or the partition gone
		c.flush(t, t.unflushed)
		err = <-t.flushed
	}
	if err != nil {
		t.flushed <- err // and whoever asks next
		return err
	}
	t.flushed, t.unflushed = nil, nil
	return nil
}

// flush has the markers in these partitions made durable, which await waits for.
func (c *Coordinator) flush(t *txn, parts []Place) {
	flushed := make(chan error, 1)
	t.flushed, t.unflushed = flushed, parts
	c.opts.Flush(parts, func(err error) { flushed <- err })
}

// keep writes the state of an id that has no decision pending.
func (c *Coordinator) keep(t *txn, state State) error {
	if err := c.await(t); err != nil {
		return err
	}
	return c.opts.Keep(t.id, t.appendState(nil, state), nil)
}

// later has fn called with the transaction's lock, unless something else was set later on.
func (c *Coordinator) later(t *txn, d time.Duration, fn func()) {
	t.stop()
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.timer == timer && !t.dead {
			t.timer = nil
			fn()
		}
	})
	t.timer = timer
}

// starts begins the time of a transaction.
func (c *Coordinator) starts(t *txn) {
	t.started = time.Now()
	c.touch(t)
	c.later(t, t.timeout, func() { c.overdue(t) })
}

// overdue aborts a transaction whose time is up, and fences its producer.
func (c *Coordinator) overdue(t *txn) {
	if t.state != Ongoing {
		return
	}
	c.opts.Logger.Warn("a transaction is aborted: its time is up", "id", t.id, "producer", t.producer, "timeout", t.timeout)
	if code := c.decide(t, false, true); code != wire.None && t.state == Ongoing {
		c.later(t, retryEvery, func() { c.overdue(t) })
	}
}

// retryEvery is how long it takes until what a disk refused is tried again.
const retryEvery = time.Second

// Init gives a transactional id its producer, and ends what another had open under it. producer and epoch are what the client has, -1 for
// nothing. timeout is the longest that its transactions may take. The id is one of the user's from then on.
func (c *Coordinator) Init(user, id string, timeout time.Duration, producer int64, epoch int16) (int64, int16, wire.Code) {
	switch {
	case id == "" || len(id) > maxText:
		return -1, -1, wire.InvalidRequest
	case timeout <= 0 || timeout > c.opts.MaxTimeout:
		return -1, -1, wire.InvalidTransactionTimeout
	}
	t, code := c.lockOrMake(id, user)
	if code != wire.None {
		return -1, -1, code
	}
	defer t.mu.Unlock()
	if code := c.init(t, timeout, producer, epoch); code != wire.None {
		if t.producer < 0 { // it never was one
			c.forget(t)
		}
		return -1, -1, code
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own(t, user)
	return t.producer, t.epoch, wire.None
}

func (c *Coordinator) init(t *txn, timeout time.Duration, producer int64, epoch int16) wire.Code {
	late := false // its transaction was ended with the next epoch, and it does not know: its time was up, or it did not hear
	if producer >= 0 && t.producer >= 0 {
		late = epoch == t.epoch-1 && epoch == t.decided && t.state != Ongoing
		switch {
		case producer != t.producer:
			return wire.ProducerFenced // as Kafka has it: it is another's now
		case t.initFrom >= 0 && epoch == t.initFrom && t.state == Empty:
			return wire.None // it asks again
		case epoch != t.epoch && !late:
			return wire.ProducerFenced
		}
	}
	if code := c.settled(t); code != wire.None {
		return code
	}
	t.timeout = timeout
	c.touch(t)
	switch {
	case late:
		decided := t.decided
		t.decided = -1
		if err := c.keep(t, Empty); err != nil {
			t.decided = decided
			return c.failed(t, err)
		}
	case t.state == Ongoing:
		if code := c.decide(t, false, true); code != wire.None {
			return code
		}
	case t.producer < 0:
		id, err := c.opts.NewProducer()
		if err != nil {
			return wire.CoordinatorNotAvailable
		}
		t.producer, t.epoch = id, 0
		if err := c.keep(t, Empty); err != nil {
			t.producer, t.epoch = -1, -1
			return c.failed(t, err)
		}
	default:
		if code := c.bump(t); code != wire.None {
			return code
		}
	}
	t.state, t.decided, t.initFrom, t.started = Empty, -1, -1, time.Time{}
	if producer == t.producer {
		t.initFrom = epoch
	}
	return wire.None
}

// bump gives the producer its next epoch without a decision.
func (c *Coordinator) bump(t *txn) wire.Code {
	producer, epoch, before := t.producer, t.epoch, t.before
	t.epoch++
	if epoch >= lastEpoch {
		id, err := c.opts.NewProducer()
		if err != nil {
			t.epoch = epoch
			return wire.CoordinatorNotAvailable
		}
		t.before, t.producer, t.epoch = producer, id, 0
	}
	decided := t.decided
	if t.producer != producer {
		t.decided = -1
	}
	if err := c.keep(t, t.kept()); err != nil {
		t.producer, t.epoch, t.before, t.decided = producer, epoch, before, decided
		return c.failed(t, err)
	}
	return wire.None
}

// kept is the state that is written where there is no transaction: the last decision stands as long as it may be needed.
func (t *txn) kept() State {
	switch {
	case t.decided < 0:
		return Empty
	case t.committed:
		return PrepareCommit
	}
	return PrepareAbort
}

func (c *Coordinator) failed(t *txn, err error) wire.Code {
	c.opts.Failed("what is known of a transactional id can't be stored", err, "id", t.id)
	return wire.CoordinatorNotAvailable
}

// settled has a decision's markers written, if some are missing.
func (c *Coordinator) settled(t *txn) wire.Code {
	if t.state == PrepareCommit || t.state == PrepareAbort {
		return c.finish(t)
	}
	return wire.None
}

// known finds the transaction of an id that a producer names, locked.
func (c *Coordinator) known(id string) (*txn, wire.Code) {
	if id == "" {
		return nil, wire.InvalidRequest
	}
	if t := c.lock(id); t != nil {
		return t, wire.None
	}
	return nil, wire.InvalidProducerIDMapping
}

// holder finds the transaction of a producer, locked.
func (c *Coordinator) holder(id string, producer int64, epoch int16) (*txn, wire.Code) {
	t, code := c.known(id)
	if code != wire.None {
		return nil, code
	}
	switch {
	case producer != t.producer:
		code = wire.InvalidProducerIDMapping
	case epoch != t.epoch:
		code = wire.ProducerFenced
	default:
		code = c.settled(t)
	}
	if code != wire.None {
		t.mu.Unlock()
		return nil, code
	}
	return t, wire.None
}

// begin makes sure that a transaction is under way.
func (c *Coordinator) begin(t *txn) wire.Code {
	if t.state == Ongoing {
		return wire.None
	}
	if t.decided >= t.epoch { // or a restart could not tell it from the one before
		decided := t.decided
		t.decided = -1
		if err := c.keep(t, Ongoing); err != nil {
			t.decided = decided
			return c.failed(t, err)
		}
	}
	t.state, t.initFrom = Ongoing, -1
	c.starts(t)
	return wire.None
}

// Add has partitions take part in the producer's transaction, and begins it if there is none.
func (c *Coordinator) Add(id string, producer int64, epoch int16, parts []Place) wire.Code {
	t, code := c.holder(id, producer, epoch)
	if code != wire.None {
		return code
	}
	defer t.mu.Unlock()
	return c.add(t, parts)
}

func (c *Coordinator) add(t *txn, parts []Place) wire.Code {
	if code := c.begin(t); code != wire.None {
		return code
	}
	fresh := int64(0)
	for _, p := range parts {
		if _, in := t.parts[p]; !in {
			fresh++ // one that is named twice is counted twice, until the end
		}
	}
	if code := c.mayTake(t, fresh*partBytes, wire.TransactionAbortable); code != wire.None {
		return code
	}
	for _, p := range parts {
		t.parts[p] = struct{}{}
	}
	return wire.None
}

// Has says which of the partitions take part in the producer's transaction.
func (c *Coordinator) Has(id string, producer int64, epoch int16, parts []Place) ([]bool, wire.Code) {
	t, code := c.holder(id, producer, epoch)
	if code != wire.None {
		return nil, code
	}
	defer t.mu.Unlock()
	out := make([]bool, len(parts))
	for i, p := range parts {
		_, in := t.parts[p]
		out[i] = in && t.state == Ongoing
	}
	return out, wire.None
}

// Entered is a transaction that stays as it is until Leave.
type Entered struct{ t *txn }

// Enter holds a producer's transaction for what it produces to partitions: nobody ends it before Leave. With implicit they take part from
// then on.
func (c *Coordinator) Enter(id string, producer int64, epoch int16, parts []Place, implicit bool) (*Entered, wire.Code) {
	t, code := c.holder(id, producer, epoch)
	if code != wire.None {
		return nil, code
	}
	if implicit && len(parts) > 0 {
		if code := c.add(t, parts); code != wire.None {
			t.mu.Unlock()
			return nil, code
		}
	}
	return &Entered{t}, wire.None
}

// Has says whether a partition takes part.
func (e *Entered) Has(p Place) bool {
	_, ok := e.t.parts[p]
	return ok && e.t.state == Ongoing
}

// Leave lets go of it.
func (e *Entered) Leave() { e.t.mu.Unlock() }

// AddGroup has the offsets of a group take part in the producer's transaction.
func (c *Coordinator) AddGroup(id string, producer int64, epoch int16, group string) wire.Code {
	t, code := c.holder(id, producer, epoch)
	if code != wire.None {
		return code
	}
	defer t.mu.Unlock()
	if code := c.begin(t); code != wire.None {
		return code
	}
	return c.join(t, group)
}

// join has a group's offsets take part.
func (c *Coordinator) join(t *txn, group string) wire.Code {
	if _, in := t.groups[group]; !in {
		if len(t.groups) >= c.opts.MaxOffsets {
			return wire.InvalidCommitOffsetSize
		}
		if code := c.mayTake(t, groupBytes(group), wire.InvalidCommitOffsetSize); code != wire.None {
			return code
		}
	}
	t.groups[group] = struct{}{}
	return wire.None
}

// CommitOffsets has offsets of a group committed with the producer's transaction. It returns when that is durable. With
// implicit the group takes part from then on.
func (c *Coordinator) CommitOffsets(id string, producer int64, epoch int16, groupID string, offsets []group.Change, implicit bool) wire.Code {
	t, code := c.holder(id, producer, epoch)
	if code != wire.None {
		return code
	}
	defer t.mu.Unlock()
	if _, in := t.groups[groupID]; !implicit && (!in || t.state != Ongoing) {
		return wire.InvalidTxnState
	}
	if len(t.offsets)+len(offsets) > c.opts.MaxOffsets {
		return wire.InvalidCommitOffsetSize
	}
	if code := c.begin(t); code != wire.None {
		return code
	}
	if code := c.join(t, groupID); code != wire.None {
		return code
	}
	more := int64(0)
	for i := range offsets {
		more += offsetBytes(&offsets[i])
	}
	if t.bytes+more > maxTxnBytes {
		return wire.InvalidCommitOffsetSize
	}
	if code := c.mayTake(t, more, wire.InvalidCommitOffsetSize); code != wire.None {
		return code
	}
	defer c.recount(t) // it was counted as if all were new
	before, decided := t.offsets, t.decided
	t.offsets = maps.Clone(before)
	fresh := map[key]group.Change{}
	for _, ch := range offsets {
		if _, has := before[place(&ch)]; !has {
			fresh[place(&ch)] = ch
		}
		t.offsets[place(&ch)] = ch
	}
	t.decided = -1 // what is kept is of this one
	if err := c.keep(t, Ongoing); err != nil {
		t.offsets, t.decided = before, decided
		return c.failed(t, err)
	}
	c.waits(fresh, 1)
	return wire.None
}

// End commits or aborts the producer's transaction, and returns when it is decided for good and every partition shows it. With
// bump (KIP-890) the producer goes on with the epoch that is returned.
func (c *Coordinator) End(id string, producer int64, epoch int16, commit, bump bool) (int64, int16, wire.Code) {
	t, code := c.known(id)
	if code != wire.None {
		return -1, -1, code
	}
	defer t.mu.Unlock()
	code = c.end(t, producer, epoch, commit, bump)
	if code != wire.None {
		return -1, -1, code
	}
	return t.producer, t.epoch, wire.None
}

func (c *Coordinator) end(t *txn, producer int64, epoch int16, commit, bump bool) wire.Code {
	again := bump && t.decided >= 0 && (producer == t.producer && epoch == t.epoch-1 && epoch == t.decided || producer == t.before && t.epoch == 0)
	switch {
	case producer != t.producer && !again:
		return wire.InvalidProducerIDMapping
	case epoch != t.epoch && !again:
		return wire.ProducerFenced
	}
	if code := c.settled(t); code != wire.None {
		return code
	}
	c.touch(t)
	matches := t.state == CompleteCommit && commit || t.state == CompleteAbort && !commit
	switch {
	case again && matches:
		return wire.None
	case again:
		return wire.InvalidTxnState
	case t.state == Ongoing:
		return c.decide(t, commit, bump)
	case bump && !commit: // of nothing, by a client that does not know
		if code := c.bump(t); code != wire.None {
			return code
		}
		t.decided, t.committed, t.state = max(t.epoch-1, -1), false, CompleteAbort
		return wire.None
	case !bump && matches:
		return wire.None
	}
	return wire.InvalidTxnState
}

// decide decides about the transaction under way, and writes its markers. With bump the producer's epoch goes up.
func (c *Coordinator) decide(t *txn, commit, bump bool) wire.Code {
	if err := c.await(t); err != nil {
		return c.failed(t, err)
	}
	epoch, decided, committed, offsets := t.epoch, t.decided, t.committed, t.offsets
	undo := func() { t.epoch, t.decided, t.committed, t.offsets, t.next = epoch, decided, committed, offsets, -1 }
	t.decided, t.committed, t.offsets = epoch, commit, nil
	if bump {
		if t.epoch++; epoch >= lastEpoch {
			id, err := c.opts.NewProducer()
			if err != nil {
				undo()
				return wire.CoordinatorNotAvailable
			}
			t.next = id
		}
	}
	c.touch(t)
	state := t.kept()
	bytes := t.appendState(nil, state)
	var err error
	if commit && len(offsets) > 0 {
		list := slices.Collect(maps.Values(offsets))
		err = c.opts.Commit(list, func() error { return c.opts.Keep(t.id, bytes, list) })
	} else {
		err = c.opts.Keep(t.id, bytes, nil)
	}
	if err != nil {
		undo()
		return c.failed(t, err)
	}
	t.offsets, t.groups = map[key]group.Change{}, map[string]struct{}{}
	c.waits(offsets, -1)
	c.recount(t)
	t.state = state
	t.stop()
	return c.finish(t)
}

// finish writes the markers of a decision, as far as they are missing.
func (c *Coordinator) finish(t *txn) wire.Code {
	commit := t.state == PrepareCommit
	t.committed = commit
	done := make([]Place, 0, len(t.parts))
	var failed error
	for p := range t.parts {
		if err := c.opts.End(p, t.producer, t.decided, t.epoch, commit); err != nil {
			failed = err
			c.opts.Logger.Error("a transaction's marker can't be written; it is tried again", "id", t.id, "topic", p.Topic, "partition", p.Partition, "error", err)
			continue
		}
		done = append(done, p)
	}
	if failed != nil {
		c.later(t, retryEvery, func() { _ = c.settled(t) })
		return wire.ConcurrentTransactions
	}
	t.parts = map[Place]struct{}{} // a map keeps what it once took
	c.recount(t)
	t.goesOn = false
	if len(done) > 0 {
		c.flush(t, done)
	}
	if t.state = CompleteAbort; commit {
		t.state = CompleteCommit
	}
	if t.next >= 0 {
		t.before, t.producer, t.epoch, t.next = t.producer, t.next, 0, -1
	}
	return wire.None
}
