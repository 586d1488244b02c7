package cluster

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/store"
)

// leases are the slots that are assigned to this process, as partitions of a topic to
// the members of a group. Nothing is ever written to that topic.
type leases struct {
	s     *Store
	once  sync.Once
	group atomic.Pointer[kgo.Client] // nil before this process has joined

	telling sync.Mutex // one call of the watchers at a time; before mu
	mu      sync.Mutex // guards the following
	held    map[int32]int64
	dealt   bool          // slots were assigned once, to whomever
	changed chan struct{} // closed when held changes
	watch   []*leaseWatcher
	err     error // for which there is no group
}

type leaseWatcher struct {
	fn func(gained, lost []store.Lease)
}

func newLeases(s *Store) *leases {
	return &leases{s: s, held: map[int32]int64{}, changed: make(chan struct{})}
}

func (s *Store) ownersGroup() string { return s.o.Prefix + ".owners" }
func (s *Store) slotsTopic() string  { return s.o.Prefix + ".slots" }

// join enters the group, once, when a cursor is first of interest.
func (l *leases) join() {
	l.once.Do(func() {
		ctx, cancel := context.WithTimeout(l.s.ctx, askTimeout)
		defer cancel()
		err := l.enter(ctx)
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	})
}

func (l *leases) enter(ctx context.Context) error {
	r, err := l.s.admin.CreateTopic(ctx, int32(l.s.o.Slots), int16(l.s.o.Replicas), nil, l.s.slotsTopic())
	if err = errors.Join(err, r.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", l.s.slotsTopic(), asStoreError(err))
	}
	if _, err := l.s.awaitTopic(ctx, l.s.slotsTopic(), 1); err != nil {
		return err
	}
	group, err := kgo.NewClient(
		kgo.SeedBrokers(l.s.o.Brokers...),
		kgo.ConsumerGroup(l.s.ownersGroup()),
		kgo.ConsumeTopics(l.s.slotsTopic()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(l.s.o.Session),
		kgo.HeartbeatInterval(l.s.o.Session/6),
		kgo.OnPartitionsAssigned(func(_ context.Context, group *kgo.Client, m map[string][]int32) {
			l.group.Store(group) // it may not have been returned yet
			l.gain(m[l.s.slotsTopic()])
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { l.lose(m[l.s.slotsTopic()]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { l.lose(m[l.s.slotsTopic()]) }),
	)
	if err != nil {
		return fmt.Errorf("join group %s: %w", l.s.ownersGroup(), err)
	}
	l.group.Store(group)
	return nil
}

// generation is the membership under which cursors are written.
func (l *leases) generation() (member string, generation int32) {
	group := l.group.Load()
	if group == nil {
		return "", -1
	}
	return group.GroupMetadata()
}

func (l *leases) gain(slots []int32) {
	l.telling.Lock()
	defer l.telling.Unlock()
	_, generation := l.generation()
	var gained []store.Lease
	l.mu.Lock()
	l.dealt = true
	for _, slot := range slots {
		l.held[slot] = int64(generation)
		gained = append(gained, store.Lease{Slot: slot, Epoch: int64(generation)})
	}
	l.tell(gained, nil)
}

func (l *leases) lose(slots []int32) {
	l.telling.Lock()
	defer l.telling.Unlock()
	var lost []store.Lease
	l.mu.Lock()
	for _, slot := range slots {
		if epoch, ok := l.held[slot]; ok {
			lost = append(lost, store.Lease{Slot: slot, Epoch: epoch})
		}
	}
	watchers := slices.Clone(l.watch)
	l.mu.Unlock()
	for _, w := range watchers { // they save first, while it is still ours
		w.fn(nil, lost)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	l.s.note("keep the cursors of slots that go", l.s.flushCursors(ctx, false))
	cancel()
	l.mu.Lock()
	for _, lease := range lost {
		delete(l.held, lease.Slot)
	}
	l.tell(nil, nil)
}

// tell ends a change: it lets go of mu, and calls the watchers with what they were not told yet.
func (l *leases) tell(gained, lost []store.Lease) {
	close(l.changed)
	l.changed = make(chan struct{})
	watchers := slices.Clone(l.watch)
	l.mu.Unlock()
	if len(gained)+len(lost) == 0 {
		return
	}
	for _, w := range watchers {
		w.fn(gained, lost)
	}
}

// arrivalWait is how long a slot that others seem to have may be on its way here.
const arrivalWait = 500 * time.Millisecond

// await waits until this process has the lease of a log, or ctx ends. When slots were
// dealt already it does not wait long: another has it.
func (l *leases) await(ctx context.Context, id store.LogID) error {
	l.join()
	slot := l.Slot(id)
	var elsewhere <-chan time.Time
	for {
		l.mu.Lock()
		_, held := l.held[slot]
		changed, err, dealt := l.changed, l.err, l.dealt
		l.mu.Unlock()
		if held || err != nil {
			return err
		}
		if dealt && elsewhere == nil {
			elsewhere = time.After(arrivalWait)
		}
		select {
		case <-changed:
		case <-elsewhere:
			return fmt.Errorf("log %s: another process has slot %d: %w", id, slot, store.ErrFenced)
		case <-ctx.Done():
			return fmt.Errorf("log %s: slot %d is not here: %w", id, slot, store.ErrFenced)
		}
	}
}

// has says whether this process has the lease of a log now.
func (l *leases) has(id store.LogID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, held := l.held[l.Slot(id)]
	return held
}

// Slot is the log's by its id's hash, on every process the same.
func (l *leases) Slot(id store.LogID) int32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	return int32(h.Sum32() % uint32(l.s.o.Slots))
}

// Owner knows of this process's slots only.
func (l *leases) Owner(slot int32) (address string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok = l.held[slot]
	return "", ok
}

// Watch tells of gains and losses.
func (l *leases) Watch(fn func(gained, lost []store.Lease)) (stop func()) {
	l.join()
	l.telling.Lock()
	defer l.telling.Unlock()
	w := &leaseWatcher{fn}
	l.mu.Lock()
	l.watch = append(l.watch, w)
	var held []store.Lease
	for slot, epoch := range l.held {
		held = append(held, store.Lease{Slot: slot, Epoch: epoch})
	}
	l.mu.Unlock()
	if len(held) > 0 {
		fn(held, nil)
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watch = slices.DeleteFunc(l.watch, func(o *leaseWatcher) bool { return o == w })
	}
}

// giveBack tells the watchers that all slots go.
func (l *leases) giveBack() {
	l.telling.Lock()
	defer l.telling.Unlock()
	l.mu.Lock()
	var lost []store.Lease
	for slot, epoch := range l.held {
		lost = append(lost, store.Lease{Slot: slot, Epoch: epoch})
	}
	watchers := slices.Clone(l.watch)
	l.mu.Unlock()
	if len(lost) == 0 {
		return
	}
	for _, w := range watchers {
		w.fn(nil, lost)
	}
}

// close leaves the group.
func (l *leases) close() {
	l.once.Do(func() {})
	group := l.group.Load()
	if group == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		group.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
	}
}
