package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/internal/share"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// DefaultVHost is the virtual host that a new broker has, unless it is told another.
const DefaultVHost = "/"

// Options are a broker's settings; the zero value is the default of each.
type Options struct {
	// MaxMessageBytes bounds the body of one publish; default 128 MiB.
	MaxMessageBytes int
	// MaxBatchBytes bounds one batch of a Kafka producer; default 1 MiB and 12 bytes, as Kafka's.
	MaxBatchBytes int
	// TopicRetention is the age at which a topic's segments go; default 7 days.
	TopicRetention time.Duration
	// Scratch opens a file without a name; nil is none, and messages that come in
	// pieces must fit the memory for requests.
	Scratch func() (Scratch, error)
	// ScratchBytes bounds what these take together; default 4 GiB.
	ScratchBytes int64
	// Probe fails while the disk takes no message of ordinary size; nil is never.
	Probe func() error
	// Memory fails while the process has more memory than it should; nil is never.
	Memory func() error
	// UnpackBytes bounds the memory of compressed batches that are larger than usual
	// while consumers read them; default 256 MiB.
	UnpackBytes int64
	// ProducerBytes bounds the memory of what is known of Kafka's idempotent producers; default 16 MiB.
	ProducerBytes int64
	// ProducerMemory counts that, too; nil counts nothing.
	ProducerMemory ProducerMemory
	// SaveEvery is the time between two saves of the cursors; default 1 s.
	SaveEvery time.Duration
	// ReadTimeout is how long a client that asked for one message waits for the
	// disk; default 15 s.
	ReadTimeout time.Duration
	// FirstVHost is the virtual host of a broker that has none; default DefaultVHost.
	FirstVHost string
	// Policy decides what sessions may do; default everything.
	Policy Policy
	// KeyPolicy decides which routing keys they may use with topic exchanges; default all.
	KeyPolicy KeyPolicy
	// UserLimits are what CheckLimit finds nothing wrong with; nil is none. It is asked again
	// after PolicyChanged, under a lock of the broker's.
	UserLimits func(user string) map[string]int64
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Recover starts although definitions are lost, and rebuilds of them what stands beside
	// the messages. Otherwise such a store is refused.
	Recover bool
	// CompactEvery is how often compacted topics are looked at; default 15 s.
	CompactEvery time.Duration
	// CompactMemory is how many bytes the compaction of a log may take for its keys; default 64 MiB.
	CompactMemory int64
	// Pages makes memory that is all zero and the collector does not count, for keys, and what gives it back; default is the heap's.
	Pages func(bytes int) (memory []byte, free func())
	// CompactShare is in how many percent of its time compaction works; default 25.
	CompactShare int
	// Log gets what an operator should read; default slog.Default().
	Log *slog.Logger
}

func (o *Options) defaults() {
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = 128 << 20
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = 1<<20 + 12
	}
	if o.TopicRetention == 0 {
		o.TopicRetention = 7 * 24 * time.Hour
	}
	if o.ScratchBytes == 0 {
		o.ScratchBytes = 4 << 30
	}
	if o.UnpackBytes == 0 {
		o.UnpackBytes = message.MaxUnpackedBytes
	}
	if o.ProducerBytes == 0 {
		o.ProducerBytes = 16 << 20
	}
	if o.FirstVHost == "" {
		o.FirstVHost = DefaultVHost
	}
	if o.SaveEvery == 0 {
		o.SaveEvery = time.Second
	}
	if o.CompactEvery == 0 {
		o.CompactEvery = compactEvery
	}
	if o.CompactMemory == 0 {
		o.CompactMemory = compactMemory
	}
	if o.Pages == nil {
		o.Pages = func(bytes int) ([]byte, func()) { return make([]byte, bytes), func() {} }
	}
	if o.CompactShare == 0 {
		o.CompactShare = compactShare
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 15 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

// Broker holds the virtual hosts over one store.
type Broker struct {
	opts   Options
	store  store.Store
	defs   store.Table
	groups store.Table // what Kafka's groups committed

	mu          sync.RWMutex // guards the next four
	vhosts      map[string]*VHost
	goingVHosts map[string]*vhostEnd // of those that are not there any more, and not gone yet
	goingLogs   []store.LogID        // of those an earlier process did not remove; of the start alone
	vhostHooks  map[*func(string) error]struct{}
	vhostChange sync.Mutex // one virtual host is made, altered or deleted at a time; held over the disk

	unpacking *unpacking
	scratch   *scratchRoom

	maxMessage atomic.Int64 // see LimitMessages
	clusterID  string
	producerID atomic.Int64 // next to give out
	producerHi atomic.Int64 // ids below it are reserved in the table
	producerMu sync.Mutex

	globalMu sync.Mutex // guards global, over its writes
	global   parameters

	dirtyMu sync.Mutex
	dirty   []*Partition // cursors that changed since they were saved

	follower         *follower
	unfollow         func()
	unlease          func()
	serials          atomic.Uint64 // given to partitions
	policyGeneration atomic.Uint64 // see PolicyChanged
	policyChange     atomic.Pointer[chan struct{}]
	deletions        *deletions
	expirer          expirer
	punctual         punctual
	lookers          lookers
	ages             ages
	undertakers      undertakers
	lapses           lapses
	overdue          overdue
	tidying          tidying
	compactor        compactor
	trimMu           sync.Mutex // guards trimming; a leaf
	trimming         crew       // limited queues that may hold too much since a policy
	server           layer      // of settings
	plainSettings    map[*queueType]*Settings
	sharedSettings   share.Values[string, *Settings] // of queues that declare the same
	sharedArgs       share.Values[string, []byte]

	removals    removals
	jobs        jobs
	alarm       alarm
	connections connections
	accounts    accounts
	counters    Counters
	churn       churn
	stop        chan struct{}
	stopped     sync.WaitGroup

	producerRoom producerRoom
	closed       atomic.Bool
}

// Open reads the definitions of s and starts a broker over it. The broker does
// not own s: close it after the broker.
func Open(s store.Store, o Options) (*Broker, error) {
	o.defaults()
	ctx, cancel := asking()
	defer cancel()
	defs, err := s.Table(ctx, DefinitionsTable)
	if err != nil {
		return nil, fmt.Errorf("open definitions: %w", err)
	}
	groups, err := s.Table(ctx, offsetsTable)
	if err != nil {
		return nil, fmt.Errorf("open committed offsets: %w", err)
	}
	b := &Broker{opts: o, store: s, defs: defs, groups: groups, vhosts: map[string]*VHost{}, goingVHosts: map[string]*vhostEnd{}, stop: make(chan struct{}),
		unpacking: newUnpacking(o.UnpackBytes), scratch: &scratchRoom{limit: o.ScratchBytes}, connections: connections{open: map[uint64]*Connection{}, of: map[string]int{}}}
	b.producerRoom.limit, b.producerRoom.memory, b.producerRoom.log = o.ProducerBytes, o.ProducerMemory, o.Log
	b.LimitMessages(o.MaxMessageBytes)
	b.deletions = newDeletions()
	b.follower = newFollower(b)
	b.unfollow = defs.Watch(b.follower.hear)
	b.expirer.b, b.undertakers.b, b.lookers.b = b, b, b
	b.ages.wake = make(chan struct{}, 1)
	b.punctual.start(b)
	b.lapses.start(b)
	b.compactor.start(b)
	b.makePlain()
	running, stop := context.WithCancel(context.Background())
	b.removals = removals{b: b, ctx: running, cancel: stop, wake: make(chan struct{}, 1)}
	if err := b.load(); err != nil {
		return nil, fmt.Errorf("load definitions: %w", err)
	}
	if err := b.loadTxnParts(); err != nil {
		return nil, fmt.Errorf("load what is known of transactions: %w", err)
	}
	b.unlease = s.Leases().Watch(b.leasesChanged)
	b.stopped.Go(b.saver)
	if o.Memory != nil {
		b.stopped.Go(b.watchMemory)
	}
	b.stopped.Go(b.follower.run)
	b.stopped.Go(b.recoverFigures)
	b.stopped.Go(b.expirer.run)
	b.stopped.Go(func() { b.ages.run(b.stop) })
	b.stopped.Go(b.punctual.run)
	b.stopped.Go(func() { b.deletions.run(b.stop) })
	b.removals.start()
	b.goOnWithVHosts()
	b.stopped.Go(b.lapses.run)
	b.stopped.Go(b.compactor.run)
	b.startDelays()
	return b, nil
}

// Close saves the cursors and stops. The listeners must have closed their
// sessions before; what they still publish is stored, and what they settle may
// come again.
func (b *Broker) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.stopJobs()
	close(b.stop)
	b.removals.cancel()
	b.stopped.Wait()
	b.undertakers.close()
	b.unlease()
	b.unfollow()
	var errs []error
	for _, v := range b.VHosts() {
		v.queues.all(func(q *Queue) {
			if err := q.saveCursors(); err != nil {
				errs = append(errs, err)
			}
		})
	}
	return errors.Join(errs...)
}

// ClusterID is a random name made when the data directory was.
func (b *Broker) ClusterID() string { return b.clusterID }

// MaxMessageBytes is the limit of one publish's body.
func (b *Broker) MaxMessageBytes() int { return int(b.maxMessage.Load()) }

// LimitMessages changes that limit. What was taken is not refused later.
func (b *Broker) LimitMessages(bytes int) {
	b.scratch.fit(int64(bytes))
	b.limitsChanged(func() { b.maxMessage.Store(int64(bytes)) })
	for _, v := range b.VHosts() {
		v.changed() // publishers look at theirs when they find a route
	}
}

// producerIDBlock ids are reserved at a time, so that one write serves many producers.
const producerIDBlock = 1000

// NewProducerID gives out an id for an idempotent producer that no one else has or had.
func (s *Session) NewProducerID() (int64, error) {
	if err := s.May(Publish, OnCluster, ""); err != nil {
		return 0, err
	}
	return s.vhost.b.newProducerID()
}

// NewProducerID is that for the owner of a transactional id, who was asked for more.
func (v *VHost) NewProducerID() (int64, error) { return v.b.newProducerID() }

func (b *Broker) newProducerID() (int64, error) {
	b.producerMu.Lock()
	defer b.producerMu.Unlock()
	id := b.producerID.Load()
	if id >= b.producerHi.Load() {
		_, err := b.agree(keyProducerID, func(have []byte) ([]byte, error) {
			if have != nil { // others may have taken some since
				if err := json.Unmarshal(have, &id); err != nil {
					return nil, fmt.Errorf("definition %q: %w", keyProducerID, err)
				}
			}
			return json.Marshal(id + producerIDBlock)
		})
		if err != nil {
			return 0, err
		}
		b.producerHi.Store(id + producerIDBlock)
	}
	b.producerID.Store(id + 1)
	return id, nil
}

// saver saves the changed cursors every now and then until the broker closes.
func (b *Broker) saver() {
	t := time.NewTicker(b.opts.SaveEvery)
	defer t.Stop()
	lagging := thinning{}
	for {
		select {
		case <-b.stop:
			return
		case <-t.C:
			for _, p := range b.saveDirty() {
				lagging.note(p)
			}
			lagging.run(b)
			b.overdue.run()
			b.tidying.run(b.opts.Now())
			b.alarm.probe(b)
		}
	}
}

// saveDirty saves the cursors that changed since the last call, and returns whose.
func (b *Broker) saveDirty() []*Partition {
	b.dirtyMu.Lock()
	list := b.dirty
	b.dirty = nil
	b.dirtyMu.Unlock()
	for _, p := range list {
		p.dirty.Store(false)
		p.tellSpent(b.opts.Now())
		p.tellLost(b.opts.Now())
		p.tellMissed(b.opts.Now())
		if p.noted() != nil {
			continue // which has marked it again
		}
		if err := errors.Join(p.saveCursor(), p.saveProducers(false)); err != nil {
			b.opts.Log.Error("can't save a queue's cursor or producers", "queue", p.q.Name, "error", err)
			b.markDirty(p) // try again
		}
	}
	return list
}

func (b *Broker) markDirty(p *Partition) {
	if p.dirty.Load() || p.dirty.Swap(true) {
		return
	}
	b.dirtyMu.Lock()
	b.dirty = append(b.dirty, p)
	b.dirtyMu.Unlock()
}

const nameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// randomName is 22 letters, the 132 bits of a name that no other will have, and nobody guesses: who knows the name of a queue for
// replies can send to it.
func randomName() string {
	var s [22]byte
	_, _ = rand.Read(s[:]) // never fails (crypto/rand)
	for i := range s {
		s[i] = nameLetters[s[i]%byte(len(nameLetters))] // of which there are 64
	}
	return string(s[:])
}
