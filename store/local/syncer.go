package local

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

const (
	syncWorkers     = 8  // flushes of different files that run at once
	syncAllAbove    = 32 // dirty things beyond which the whole file system is flushed first
	waiterFewTarget = 4  // targets that a waiter holds without an allocation
)

// syncable is what the syncer flushes: a log or a table.
type syncable interface {
	// sync makes what was written before the call durable. After a failure the
	// thing is read-only and every further sync fails.
	sync() error
	// flushAll does the same, and for what no commit waits for (cursors) too.
	flushAll() error
	syncState() *syncState
}

// syncState is the syncer's own notes on a syncable.
type syncState struct {
	pending atomic.Int32 // commits that wait for it
	listed  atomic.Bool  // stands in syncer.listed
	round   uint64       // of the syncer's goroutine: the round that met it last
	err     error        // of the syncer's goroutine: what that round said
}

// syncer flushes on one goroutine, in rounds that follow each other without a
// pause while there is work:
//
//	Commit ──► waiters ──► take all ──► flush each dirty thing once, several at a time
//	   ▲                                     │
//	   └──────── new ones gather ────────────┴──► call done of each, in order
//
// A second goroutine flushes everything dirty once a second. No flush ever holds
// a lock that an append takes.
type syncer struct {
	fs       fs.FS
	dir      string
	interval time.Duration // of the background flush
	times    histogram

	results sync.Pool // of chan error with capacity 1, for wait

	wake chan struct{} // capacity 1: there are waiters
	stop chan struct{}
	done sync.WaitGroup

	flushMu sync.Mutex // one flush of all that is listed at a time

	mu      sync.Mutex // guards the following
	waiters []waiter
	listed  []syncable // dirty since the last background flush
	closed  bool

	// Of the syncer's goroutine alone.
	round   uint64
	spare   []waiter
	targets []syncable
}

// waiter is one commit that waits for a round.
type waiter struct {
	few  [waiterFewTarget]syncable
	more []syncable
	done func(error)
}

// add notes one thing to wait for.
func (w *waiter) add(t syncable) {
	t.syncState().pending.Add(1)
	for i := range w.few {
		if w.few[i] == nil {
			w.few[i] = t
			return
		}
	}
	w.more = append(w.more, t)
}

// each calls fn for everything waited for.
func (w *waiter) each(fn func(syncable)) {
	for _, t := range w.few {
		if t == nil {
			return
		}
		fn(t)
	}
	for _, t := range w.more {
		fn(t)
	}
}

// newSyncer starts the two goroutines; close ends them.
func newSyncer(fsys fs.FS, dir string, interval time.Duration) *syncer {
	s := &syncer{fs: fsys, dir: dir, interval: interval, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	s.results.New = func() any { return make(chan error, 1) }
	s.done.Go(s.run)
	s.done.Go(s.runBackground)
	return s
}

// commit has w.done called after a round that begins after this call.
func (s *syncer) commit(w waiter) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.waiters = append(s.waiters, w)
	}
	s.mu.Unlock()
	if closed {
		s.finish(&w, store.ErrClosed)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wait commits one thing and waits for it.
func (s *syncer) wait(t syncable) error {
	ch := s.results.Get().(chan error)
	w := waiter{done: func(err error) { ch <- err }}
	w.add(t)
	s.commit(w)
	err := <-ch
	s.results.Put(ch)
	return err
}

// dirty lists a thing for the next background flush; it costs one load when it
// is listed already.
func (s *syncer) dirty(t syncable) {
	state := t.syncState()
	if state.listed.Load() || !state.listed.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	s.listed = append(s.listed, t)
	s.mu.Unlock()
}

// run is the goroutine of the rounds.
func (s *syncer) run() {
	for {
		select {
		case <-s.wake:
			for s.runRound() {
				// Those who were just told commit again at once: let them in, or they
				// miss the next round and two cohorts take turns.
				runtime.Gosched()
			}
		case <-s.stop:
			for s.runRound() {
			}
			return
		}
	}
}

// runRound serves all that wait now and says whether there were any.
func (s *syncer) runRound() bool {
	s.mu.Lock()
	batch := s.waiters
	s.waiters = s.spare[:0]
	s.mu.Unlock()
	s.spare = batch
	if len(batch) == 0 {
		return false
	}
	s.round++
	s.targets = s.targets[:0]
	for i := range batch {
		batch[i].each(s.collect)
	}
	flushThings(s.fs, s.dir, s.targets, s.flushTarget)
	for i := range batch {
		var err error
		batch[i].each(func(t syncable) {
			if e := t.syncState().err; e != nil && err == nil {
				err = e
			}
		})
		s.finish(&batch[i], err)
		batch[i] = waiter{}
	}
	clear(s.targets)
	return true
}

// collect takes each thing once a round.
func (s *syncer) collect(t syncable) {
	if state := t.syncState(); state.round != s.round {
		state.round = s.round
		s.targets = append(s.targets, t)
	}
}

// flushTarget flushes one thing for the round.
func (s *syncer) flushTarget(t syncable) { t.syncState().err = s.timed(t.sync) }

// finish calls done and then lets commits through that need no round.
func (s *syncer) finish(w *waiter, err error) {
	w.done(err)
	w.each(func(t syncable) { t.syncState().pending.Add(-1) })
}

// timed runs one flush and counts it.
func (s *syncer) timed(flush func() error) error {
	begin := time.Now()
	err := flush()
	s.times.observe(time.Since(begin), err != nil)
	return err
}

// flushThings flushes the things, a few at a time. When there are many it is much
// cheaper to flush the file system as a whole first: what remains to be done for
// each is then next to nothing, but it still is done, because only a thing's own
// flush tells its errors from those of others.
func flushThings(fsys fs.FS, dir string, things []syncable, flush func(syncable)) {
	if len(things) > syncAllAbove {
		// An error here is met again, and told apart, by the flushes below.
		_ = fsys.SyncAll(dir)
	}
	if len(things) < 2 {
		for _, t := range things {
			flush(t)
		}
		return
	}
	var next atomic.Int32
	var group sync.WaitGroup
	for range min(syncWorkers, len(things)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(things); i = int(next.Add(1)) - 1 {
				flush(things[i])
			}
		})
	}
	group.Wait()
}

// runBackground flushes once an interval what is dirty, and keeps the loss of
// mode os at a power cut to about that.
func (s *syncer) runBackground() {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.flushListed()
		case <-s.stop:
			return
		}
	}
}

// flushListed flushes all that became dirty since the last time. A failure is
// noted by the thing itself, which is read-only from then on. What another call has
// begun to flush is flushed when this one returns.
func (s *syncer) flushListed() {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.mu.Lock()
	things := s.listed
	s.listed = nil
	s.mu.Unlock()
	for _, t := range things {
		t.syncState().listed.Store(false)
	}
	flushThings(s.fs, s.dir, things, func(t syncable) { _ = s.timed(t.flushAll) })
}

// close serves what waits and ends both goroutines. Later commits fail.
func (s *syncer) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.done.Wait()
}
