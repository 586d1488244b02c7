package txn

import (
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/internal/pattern"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Place is a partition of a topic, and of no other that has its name later.
type Place struct {
	Topic     string
	ID        [16]byte
	Partition int32
}

// Options are what a coordinator works with; Commit, Keep, End, Flush and NewProducer must be there.
type Options struct {
	// MaxTimeout is the longest time for which a transaction may be open; default 15 min.
	MaxTimeout time.Duration
	// MaxIDs bounds the transactional ids; default 100,000.
	MaxIDs int
	// MaxOffsets bounds the offsets that wait for one decision, and the groups that these are of; default 100,000.
	MaxOffsets int
	// MaxBytes bounds what ids and their transactions take in memory (see memory.go), of which what was kept before a
	// restart is never refused; default 64 MiB.
	MaxBytes int64
	// Memory counts that, too; nil counts nothing.
	Memory group.Memory
	// Expiration is how long an id without a transaction is remembered; default 7 days.
	Expiration time.Duration
	// SweepEvery is the time between two looks for ids to forget; default 10 min, or Expiration where that is less.
	SweepEvery time.Duration

	// Keep replaces what is kept of an id, nil removes it, and commits offsets with it: all or nothing. It returns
	// when that is durable.
	Keep func(id string, state []byte, offsets []group.Change) error
	// Commit calls save, in which Keep commits these offsets, and has the groups know them then.
	Commit func(offsets []group.Change, save func() error) error
	// End writes the marker of a decision in a partition, unless nothing up to that epoch is open there; next is the
	// producer's epoch from then on. A partition that is gone is no error.
	End func(p Place, producer int64, epoch, next int16, commit bool) error
	// Flush calls done when the markers in these partitions are durable.
	Flush func(parts []Place, done func(error))
	// NewProducer gives out an id that no producer has or had.
	NewProducer func() (int64, error)
	// Logger hears of what goes wrong behind the clients' backs.
	Logger *slog.Logger
	// Failed hears of what can't be kept, as often as clients try; default Logger.
	Failed func(what string, why error, args ...any)
}

func (o *Options) defaults() {
	if o.MaxTimeout == 0 {
		o.MaxTimeout = 15 * time.Minute
	}
	if o.MaxIDs == 0 {
		o.MaxIDs = 100_000
	}
	if o.MaxOffsets == 0 {
		o.MaxOffsets = 100_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Expiration == 0 {
		o.Expiration = 7 * 24 * time.Hour
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = min(10*time.Minute, o.Expiration)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Failed == nil {
		o.Failed = func(what string, why error, args ...any) { o.Logger.Error(what, append(args, "error", why)...) }
	}
}

// Coordinator decides about the transactions of one virtual host.
type Coordinator struct {
	opts Options

	mu      sync.Mutex // guards the rest
	byID    map[string]*txn
	owners  map[string]*owner // by users
	pending map[key]int       // offsets that wait for a decision, by how many ids
	bytes   int64             // of all ids
	sweep   *time.Timer
	closed  bool
	// told and toldGone are when it was last logged that something was refused, and that an id was forgotten.
	told, toldGone time.Time
}

// key is an offset of a group.
type key struct {
	group, topic string
	partition    int32
}

func place(ch *group.Change) key { return key{ch.Group, ch.Topic, ch.Partition} }

// New returns a coordinator that knows no ids: Restore and Recover tell it of them.
func New(o Options) *Coordinator {
	o.defaults()
	c := &Coordinator{opts: o, byID: map[string]*txn{}, owners: map[string]*owner{}, pending: map[key]int{}}
	c.sweep = time.AfterFunc(o.SweepEvery, c.sweepAndRearm)
	return c
}

// Close stops the timers. What is open stays so.
func (c *Coordinator) Close() {
	c.mu.Lock()
	c.closed = true
	c.sweep.Stop()
	list := slices.Collect(maps.Values(c.byID))
	c.mu.Unlock()
	for _, t := range list {
		t.mu.Lock()
		t.stop()
		c.give(t, t.bytes)
		t.mu.Unlock()
	}
}

// lock finds the transaction of an id, locked, nil if the id is not known.
func (c *Coordinator) lock(id string) *txn {
	for {
		c.mu.Lock()
		t := c.byID[id]
		c.mu.Unlock()
		if t == nil {
			return nil
		}
		t.mu.Lock()
		if !t.dead {
			return t
		}
		t.mu.Unlock()
	}
}

// Restore puts back what was kept of an id.
func (c *Coordinator) Restore(id string, state []byte) error {
	t, err := parseState(state)
	if err != nil {
		return fmt.Errorf("transactional id %q: %w", id, err)
	}
	t.id = id
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID[id] = t
	c.own(t, "")
	c.insist(t)
	for k := range t.offsets {
		c.pending[k]++
	}
	return nil
}

// Open is a transaction that a partition has open.
type Open struct {
	Place
	Producer int64
	Epoch    int16
}

// Recover goes on where the last process stopped, with what the partitions have open: what was decided gets its markers, what was
// not goes on, or ends with its timeout, and what no id knows of is aborted.
func (c *Coordinator) Recover(open []Open) {
	byProducer := map[int64]*txn{}
	c.mu.Lock()
	list := slices.SortedFunc(maps.Values(c.byID), func(a, b *txn) int { return a.used.Compare(b.used) })
	for _, t := range list {
		t.owner.ids.MoveToBack(t.place)
	}
	c.mu.Unlock()
	for _, t := range list {
		byProducer[t.producer] = t
	}
	for _, o := range open {
		t := byProducer[o.Producer]
		if t == nil {
			if err := c.opts.End(o.Place, o.Producer, o.Epoch, o.Epoch, false); err != nil {
				c.opts.Logger.Error("a transaction that nobody knows of can't be aborted", "topic", o.Topic, "partition", o.Partition, "producer", o.Producer, "error", err)
			} else {
				c.opts.Logger.Warn("a transaction that nobody knows of was aborted", "topic", o.Topic, "partition", o.Partition, "producer", o.Producer)
			}
			continue
		}
		t.mu.Lock()
		if o.Epoch > t.decided {
			t.state = Ongoing
			t.goesOn = true
		}
		t.parts[o.Place] = struct{}{}
		t.mu.Unlock()
	}
	for _, t := range list {
		t.mu.Lock()
		c.mu.Lock()
		c.insist(t)
		c.mu.Unlock()
		c.goOn(t)
		t.mu.Unlock()
	}
}

// goOn is Recover for one id.
func (c *Coordinator) goOn(t *txn) {
	switch t.state {
	case Ongoing:
		if t.goesOn && t.decided >= 0 { // of the transaction before something may be left
			for p := range t.parts {
				if err := c.opts.End(p, t.producer, t.decided, t.epoch, t.committed); err != nil {
					c.opts.Logger.Error("a transaction's marker can't be written", "id", t.id, "topic", p.Topic, "partition", p.Partition, "error", err)
				}
			}
		}
		c.starts(t)
	case PrepareCommit, PrepareAbort:
		_ = c.finish(t)
	}
}

// sweepAndRearm forgets ids that were not used for long.
func (c *Coordinator) sweepAndRearm() {
	c.mu.Lock()
	list := slices.Collect(maps.Values(c.byID))
	c.mu.Unlock()
	limit := time.Now().Add(-c.opts.Expiration)
	for _, t := range list {
		t.mu.Lock()
		if t.rests() && t.used.Before(limit) {
			_ = c.expire(t) // else the next time
		}
		t.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.sweep.Reset(c.opts.SweepEvery)
	}
}

// forget drops an id, which is locked.
func (c *Coordinator) forget(t *txn) {
	t.dead = true
	c.give(t, t.bytes)
	c.mu.Lock()
	delete(c.byID, t.id)
	c.disown(t)
	c.mu.Unlock()
}

// Unstable says whether a group's offset waits for a decision.
func (c *Coordinator) Unstable(group, topic string, partition int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending[key{group, topic, partition}] > 0
}

// ForgetGroup has what transactions would commit for a group not be committed: the group was deleted.
func (c *Coordinator) ForgetGroup(groupID string) wire.Code {
	c.mu.Lock()
	waits := false
	for k := range c.pending {
		waits = waits || k.group == groupID
	}
	var list []*txn
	if waits {
		list = slices.Collect(maps.Values(c.byID))
	}
	c.mu.Unlock()
	for _, t := range list {
		t.mu.Lock()
		code := c.forgetGroup(t, groupID)
		t.mu.Unlock()
		if code != wire.None {
			return code
		}
	}
	return wire.None
}

func (c *Coordinator) forgetGroup(t *txn, groupID string) wire.Code {
	before, gone := t.offsets, map[key]group.Change{}
	t.offsets = map[key]group.Change{}
	for k, ch := range before {
		if k.group == groupID {
			gone[k] = ch
		} else {
			t.offsets[k] = ch
		}
	}
	if len(gone) == 0 {
		return wire.None
	}
	if err := c.keep(t, Ongoing); err != nil { // only what is not decided has offsets, and its decision is no other's
		t.offsets = before
		return c.failed(t, err)
	}
	c.waits(gone, -1)
	c.recount(t)
	return wire.None
}

// waits counts offsets that wait for a decision, or do not any more.
func (c *Coordinator) waits(offsets map[key]group.Change, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range offsets {
		if c.pending[k] += by; c.pending[k] == 0 {
			delete(c.pending, k)
		}
	}
}

// Description is an id as tools see it.
type Description struct {
	ID       string
	State    State
	Producer int64
	Epoch    int16
	Timeout  time.Duration
	Started  time.Time // of the transaction, be it over; zero if there was none
	Parts    []Place
	Groups   []string // whose offsets are committed with it
}

// Open says whether there is a transaction that is not over.
func (d *Description) Open() bool {
	return d.State == Ongoing || d.State == PrepareCommit || d.State == PrepareAbort
}

// Describe tells of an id; ok is false if it is not known.
func (c *Coordinator) Describe(id string) (d Description, ok bool) {
	t := c.lock(id)
	if t == nil {
		return d, false
	}
	defer t.mu.Unlock()
	return t.describe(), true
}

// List tells of all ids, in their order.
func (c *Coordinator) List() []Description {
	c.mu.Lock()
	ids := slices.Sorted(maps.Keys(c.byID))
	c.mu.Unlock()
	out := make([]Description, 0, len(ids))
	for _, id := range ids {
		if d, ok := c.Describe(id); ok {
			out = append(out, d)
		}
	}
	return out
}

// Count is how many ids are known.
func (c *Coordinator) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byID)
}

// Pattern reads an expression that is for the ids of which it matches the whole.
func Pattern(text string) (*regexp.Regexp, error) { return pattern.CompileWhole(text) }
