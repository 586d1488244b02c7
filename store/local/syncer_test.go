package local

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// fakeFile is a syncable whose flush takes a while.
type fakeFile struct {
	state  syncState
	took   time.Duration
	err    error
	syncs  atomic.Int64
	before func()
}

func (f *fakeFile) sync() error {
	f.syncs.Add(1)
	if f.before != nil {
		f.before()
	}
	time.Sleep(f.took)
	return f.err
}
func (f *fakeFile) flushAll() error       { return f.sync() }
func (f *fakeFile) syncState() *syncState { return &f.state }

// TestCommitsAreCoalesced holds that all who wait during a flush share the next one.
func TestCommitsAreCoalesced(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := newSyncer(fs.NewMem(1), "/", time.Hour)
		f := &fakeFile{took: 10 * time.Millisecond}
		var group sync.WaitGroup
		begin := time.Now()
		for range 100 {
			group.Go(func() {
				for range 5 {
					if err := s.wait(f); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if n := f.syncs.Load(); n > 12 {
			t.Errorf("%d flushes for 500 commits", n)
		}
		if took := time.Since(begin); took > 120*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		s.close()
	})
}

// TestCommitIsCoveredByALaterFlush holds that a commit is never done by a flush
// that had begun before it.
func TestCommitIsCoveredByALaterFlush(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := newSyncer(fs.NewMem(1), "/", time.Hour)
		f := &fakeFile{took: 10 * time.Millisecond}
		first := make(chan error, 1)
		go func() { first <- s.wait(f) }()
		time.Sleep(5 * time.Millisecond) // in the middle of the flush
		if err := s.wait(f); err != nil {
			t.Error(err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if n := f.syncs.Load(); n != 2 {
			t.Errorf("%d flushes", n)
		}
		s.close()
	})
}

// TestSlowFlushesRunTogether holds that a round takes as long as its slowest
// flush, not as all of them, and that each thing is flushed once.
func TestSlowFlushesRunTogether(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := newSyncer(fs.NewMem(1), "/", time.Hour)
		var files [syncWorkers]*fakeFile
		w := waiter{}
		for i := range files {
			files[i] = &fakeFile{took: 10 * time.Millisecond}
			w.add(files[i])
			w.add(files[i])
		}
		done := make(chan error, 1)
		w.done = func(err error) { done <- err }
		begin := time.Now()
		s.commit(w)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		for i, f := range files {
			if n := f.syncs.Load(); n != 1 {
				t.Errorf("file %d was flushed %d times", i, n)
			}
			if f.state.pending.Load() != 0 {
				t.Errorf("file %d still waits", i)
			}
		}
		s.close()
	})
}

func TestManyDirtyFilesFlushTheFileSystemFirst(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var all atomic.Int64
		counting := fs.Failing(fs.NewMem(1), func(op fs.Op, _ string) error {
			if op == fs.OpSyncAll {
				all.Add(1)
			}
			return nil
		})
		s := newSyncer(counting, "/", time.Hour)
		for _, n := range []int{syncAllAbove, syncAllAbove + 1} {
			w := waiter{}
			for range n {
				w.add(&fakeFile{})
			}
			done := make(chan error, 1)
			w.done = func(err error) { done <- err }
			s.commit(w)
			if err := <-done; err != nil {
				t.Error(err)
			}
			if want := int64(n - syncAllAbove); all.Load() != want {
				t.Errorf("%d files: %d flushes of the file system, should be %d", n, all.Load(), want)
			}
		}
		s.close()
	})
}

// TestOneBadFileFailsItsOwnCommits holds that errors reach exactly those who
// waited for the file that failed.
func TestOneBadFileFailsItsOwnCommits(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := newSyncer(fs.NewMem(1), "/", time.Hour)
		boom := errors.New("boom")
		good, bad := &fakeFile{}, &fakeFile{err: boom}
		for _, c := range []struct {
			things []syncable
			want   error
		}{{[]syncable{good}, nil}, {[]syncable{bad}, boom}, {[]syncable{good, bad}, boom}, {[]syncable{good}, nil}} {
			w := waiter{}
			for _, f := range c.things {
				w.add(f)
			}
			done := make(chan error, 1)
			w.done = func(err error) { done <- err }
			s.commit(w)
			if err := <-done; !errors.Is(err, c.want) {
				t.Errorf("error is %v and should be %v", err, c.want)
			}
		}
		var stats store.Stats
		s.times.fill(&stats)
		if stats.Syncs != 5 || stats.SyncErrors != 2 {
			t.Errorf("%d flushes, %d failed", stats.Syncs, stats.SyncErrors)
		}
		s.close()
	})
}

// TestBackgroundFlush holds that in mode os nothing stays dirty for much longer
// than a second, and that a resting log is left alone.
func TestBackgroundFlush(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		counting := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
			if op == fs.OpSync && isSegment(name) {
				syncs.Add(1)
			}
			return nil
		})
		s := openStore(t, Options{Dir: "/data", FS: counting, Mode: store.ModeOS, BootID: "b"})
		l := newTestLog(t, s, store.LogOptions{Name: "q"})
		for round := range 3 {
			mustAppend(t, l, batchOf(1, 1))
			mustAppend(t, l, batchOf(1, 1))
			time.Sleep(1100 * time.Millisecond)
			synctest.Wait()
			if n := syncs.Load(); n != int64(round+1) {
				t.Fatalf("round %d: %d flushes", round, n)
			}
		}
		time.Sleep(time.Minute)
		if n := syncs.Load(); n != 3 {
			t.Fatalf("%d flushes of a resting log", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFailedFlushPoisons holds in every mode that a failed flush reaches whoever
// waits for it, makes that log read-only for good, and no other.
func TestFailedFlushPoisons(t *testing.T) {
	boom := errors.New("boom")
	for _, mode := range []store.Mode{store.ModeGroup, store.ModeAlways} {
		t.Run(mode.String(), func(t *testing.T) {
			var broken atomic.Bool
			failing := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
				if op == fs.OpSync && isSegment(name) && broken.Load() {
					return boom
				}
				return nil
			})
			s := openStore(t, Options{Dir: "/data", FS: failing, Mode: mode, BootID: "b", FlushInterval: 1 << 40})
			bad := newTestLog(t, s, store.LogOptions{Name: "bad"})
			good := newTestLog(t, s, store.LogOptions{Name: "good"})
			mustAppend(t, bad, batchOf(1, 1))
			mustAppend(t, good, batchOf(1, 1))
			broken.Store(true)
			if err := commitOf(s, bad); !errors.Is(err, boom) {
				t.Fatalf("Commit: %v", err)
			}
			broken.Store(false) // the disk is well again, but what it holds is not known
			if err := commitOf(s, bad); !errors.Is(err, store.ErrReadOnly) {
				t.Fatalf("second Commit: %v", err)
			}
			if _, err := bad.Append(batchOf(1, 1)); !errors.Is(err, store.ErrReadOnly) {
				t.Fatalf("Append: %v", err)
			}
			if err := bad.Err(); !errors.Is(err, store.ErrReadOnly) || !errors.Is(err, boom) {
				t.Fatalf("Err: %v", err)
			}
			if err := commitOf(s, bad, good); !errors.Is(err, store.ErrReadOnly) {
				t.Fatalf("Commit of both: %v", err)
			}
			mustAppend(t, good, batchOf(1, 1))
			if err := commitOf(s, good); err != nil {
				t.Fatalf("Commit of the other: %v", err)
			}
			if view, err := bad.Read(0, 1); err != nil || len(view.Raw()) == 0 {
				t.Fatalf("Read: %v", err)
			} else {
				view.Done()
			}
		})
	}
}

// isSegment knows a segment's file by the name under which it was opened first,
// which is that of a spare one.
func isSegment(name string) bool {
	return strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".free")
}

// commitOf commits and waits.
func commitOf(s *Store, logs ...store.Log) error {
	done := make(chan error, 1)
	s.Commit(logs, func(err error) { done <- err })
	return <-done
}

// TestFlushHoldsNoAppend holds that an append goes through while a flush hangs.
func TestFlushHoldsNoAppend(t *testing.T) {
	hang, hanging := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	slow := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if op == fs.OpSync && isSegment(name) && armed.CompareAndSwap(true, false) {
			close(hanging)
			<-hang
		}
		return nil
	})
	s := openStore(t, Options{Dir: "/data", FS: slow, Mode: store.ModeGroup, BootID: "b"})
	l := newTestLog(t, s, store.LogOptions{Name: "q"})
	mustAppend(t, l, batchOf(1, 1))
	armed.Store(true)
	done := make(chan error, 1)
	s.Commit([]store.Log{l}, func(err error) { done <- err })
	<-hanging
	for range 100 {
		base := mustAppend(t, l, batchOf(10, 100))
		view, err := l.Read(base, 1)
		if err != nil {
			t.Fatal(err)
		}
		view.Done()
	}
	close(hang)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAllocationBudgets(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS, FlushInterval: 1 << 40, SweepInterval: 1 << 40})
	l := newTestLog(t, s, store.LogOptions{Name: "q", Retention: store.Retention{Consumed: true}})
	data := batchOf(4, 100)
	base := mustAppend(t, l, data)
	logs := []store.Log{l}
	done := func(error) {}
	wake := l.Watch(func() {})
	defer wake()
	l.Progress(base, base+1)
	for name, c := range map[string]struct {
		most float64
		do   func()
	}{
		"append, commit and release": {0.2, func() { // a new segment now and then
			at, err := appendTo(l, data)
			if err != nil {
				t.Fatal(err)
			}
			s.Commit(logs, done)
			l.Release(at)
			base = at
		}},
		"read": {0, func() {
			view, err := l.Read(base, 4096)
			if err != nil {
				t.Fatal(err)
			}
			view.Done()
		}},
		"progress": {0, func() { base++; l.Progress(base, base+1) }},
		"bounds":   {0, func() { bounds(t, l); l.Records(base, base+1) }},
	} {
		if got := alloc.Least(c.most, 500, c.do); got > c.most {
			t.Errorf("%s allocates %.2f times, at most %.2f", name, got, c.most)
		}
		base, _ = bounds(t, l)
	}
}
