package log

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fault"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

func TestAFullDiskIsAnErrorThatPasses(t *testing.T) {
	m := fs.NewMem(1)
	l := open(t, Options{FS: m, Dir: "/q", Pool: memPool(t, m), FirstSegmentBytes: 4096, SegmentBytes: 4096})
	b := makeBatch(1, 195, 1, 1)
	for range tableRoom {
		appendBatch(t, l, b)
	}
	l.o.Pool.Wait()
	l.mu.Lock()
	prepared := l.prepared
	l.prepared = nil
	l.mu.Unlock()
	if prepared == nil {
		t.Fatal("the next file was not prepared while the segment filled")
	}
	prepared.Discard()
	l.o.Pool.Wait()
	m.SetCapacity(5000)
	for range 3 {
		if _, err := l.Append(b); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append to a full disk: %v", err)
		}
	}
	if _, end := l.Bounds(); end != tableRoom || l.Err() != nil {
		t.Fatalf("end %d, err %v: a full disk must change nothing", end, l.Err())
	}
	if got := ranges(readAll(t, l, 0, 1000)); got != "0-14" {
		t.Fatalf("read %s", got)
	}
	m.SetCapacity(0)
	if base := appendBatch(t, l, b); base != tableRoom {
		t.Errorf("appended at %d", base)
	}
}

func TestAFailedSyncMakesTheLogReadOnlyForGood(t *testing.T) {
	for _, op := range []fs.Op{fs.OpSync, fs.OpSyncDir} {
		t.Run(string(op), func(t *testing.T) {
			var broken atomic.Bool
			m := fs.NewMem(1)
			f := fs.Failing(m, func(o fs.Op, name string) error {
				if broken.Load() && o == op {
					return syscall.EIO
				}
				return nil
			})
			var events []Event
			o := Options{FS: f, Dir: "/q", Pool: memPool(t, f), Report: func(e Event) { events = append(events, e) }}
			l := open(t, o)
			b := makeBatch(1, 100, 1, 1)
			appendBatch(t, l, b)
			broken.Store(true)
			if err := l.Sync(); !errors.Is(err, syscall.EIO) {
				t.Fatalf("sync: %v", err)
			}
			broken.Store(false)
			if err := l.Sync(); !errors.Is(err, ErrReadOnly) {
				t.Errorf("a second sync: %v", err)
			}
			if _, err := l.Append(b); !errors.Is(err, ErrReadOnly) || !errors.Is(err, syscall.EIO) {
				t.Errorf("append: %v", err)
			}
			if !errors.Is(l.Err(), syscall.EIO) || l.Dirty() {
				t.Errorf("err %v, dirty %v", l.Err(), l.Dirty())
			}
			if got := ranges(readAll(t, l, 0, 1000)); got != "0-0" {
				t.Errorf("read %s", got)
			}
			if len(events) != 1 || events[0].Kind != Failed {
				t.Errorf("events %v", events)
			}
		})
	}
}

func TestDeletingALogUnderASyncIsNoFailure(t *testing.T) {
	var l *Log
	m := fs.NewMem(1)
	f := fs.Failing(m, func(op fs.Op, name string) error {
		if op == fs.OpSyncDir && name == "/q" && l != nil {
			if err := l.Delete(noPace); err != nil {
				t.Error(err)
			}
			l.o.Pool.Wait() // the folder is gone now
			if _, err := m.Stat("/q"); err == nil {
				t.Error("the folder is still there")
			}
			return syscall.ENOENT
		}
		return nil
	})
	told := false
	made := open(t, Options{FS: f, Dir: "/q", Pool: memPool(t, f), Report: func(Event) { told = true }})
	appendBatch(t, made, makeBatch(1, 100, 1, 1))
	l = made
	if err := l.Sync(); !errors.Is(err, ErrClosed) {
		t.Errorf("sync: %v", err)
	}
	if told || l.Err() != nil {
		t.Errorf("reported: %v, %v", told, l.Err())
	}
}

func TestAnIndexThatCanNotBeWrittenIsToldOnceAndDoesNotFailASync(t *testing.T) {
	m := fs.NewMem(1)
	var broken atomic.Bool
	f := fs.Failing(m, func(op fs.Op, name string) error {
		if broken.Load() && op == fs.OpWrite && filepath.Ext(name) == segment.IndexSuffix {
			return syscall.ENOSPC
		}
		return nil
	})
	var told atomic.Int32
	l := open(t, Options{FS: f, Dir: "/q", Pool: memPool(t, f), FirstSegmentBytes: 4096, SegmentBytes: 4096, Report: func(e Event) {
		if e.Kind == IndexFailed {
			told.Add(1)
		}
	}})
	b := makeBatch(1, 195, 1, 1)
	syncs := func(n int) {
		for range n {
			appendBatch(t, l, b)
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	broken.Store(true)
	if syncs(5 * tableRoom); told.Load() != 1 {
		t.Errorf("told %d times", told.Load())
	}
	broken.Store(false)
	syncs(2 * tableRoom)
	broken.Store(true)
	if syncs(5 * tableRoom); told.Load() != 2 {
		t.Errorf("told %d times after it had worked again", told.Load())
	}
}

func TestAMemoryFaultIsAnErrorAndMakesTheLogReadOnly(t *testing.T) {
	dir := t.TempDir()
	o := Options{FS: fs.Real(), Dir: filepath.Join(dir, "q"), Pool: newPool(t, fs.Real(), dir, 0), FirstSegmentBytes: 1 << 20}
	l := open(t, o)
	b := makeBatch(1, 3000, 1, 1)
	for range 30 { // what follows goes through the mapping
		appendBatch(t, l, b)
	}
	// Somebody cuts the file under the map: what is behind faults.
	if err := os.Truncate(l.active.Name(), 4096); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 3 {
		if _, err = l.Append(b); err != nil {
			break
		}
	}
	if !errors.Is(err, fault.Err) {
		t.Fatalf("append into a cut file: %v", err)
	}
	if _, err := l.Append(b); !errors.Is(err, ErrReadOnly) {
		t.Errorf("append afterwards: %v", err)
	}
	if _, err := l.Read(0, 1000); err != nil {
		t.Errorf("read of what is left: %v", err)
	}
}

func TestAppendsOutsideTheLimitsAreRefused(t *testing.T) {
	m := fs.NewMem(1)
	l := open(t, Options{FS: m, Dir: "/q", Pool: memPool(t, m), MaxBatchBytes: 1000})
	if _, err := l.Append(makeBatch(1, 1000, 1, 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := l.Append([]byte("not a batch")); !errors.Is(err, ErrInvalid) {
		t.Errorf("no batch: %v", err)
	}
	if names, err := m.ReadDir("/q"); err == nil {
		t.Errorf("a refused append left %v", names)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(makeBatch(1, 100, 1, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed log: %v", err)
	}
}

func TestABatchLargerThanASegmentGetsItsOwn(t *testing.T) {
	m := fs.NewMem(1)
	o := Options{FS: m, Dir: "/q", Pool: memPool(t, m), FirstSegmentBytes: 4096, SegmentBytes: 16384}
	l := open(t, o)
	for i, size := range []int{100, 7000, 100_000, 100, 16384, 100} {
		if base := appendBatch(t, l, makeBatch(1, size, byte(i), 1)); base != int64(i) {
			t.Fatalf("base %d, want %d", base, i)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	if got := ranges(readAll(t, l, 0, 100)); got != "0-5" {
		t.Errorf("read %s", got)
	}
}

func TestAnEmptyLogTouchesNothing(t *testing.T) {
	m := fs.NewMem(1)
	p := memPool(t, m)
	f := fs.Failing(m, func(op fs.Op, name string) error {
		if op != fs.OpReadDir {
			return fmt.Errorf("%s %s", op, name)
		}
		return nil
	})
	l, err := Open(Options{FS: f, Dir: "/q", Pool: p})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := l.Read(0, 100); err != nil || len(v.Bytes()) > 0 {
		t.Errorf("read: %v", err)
	}
	if err := errors.Join(l.Sync(), l.Truncate(5), l.Close()); err != nil {
		t.Error(err)
	}
}

func TestAppendAndReadAllocateNothing(t *testing.T) {
	dir := t.TempDir()
	p := newPool(t, fs.Real(), dir, 64<<20)
	l := open(t, Options{FS: fs.Real(), Dir: filepath.Join(dir, "q"), Pool: p, FirstSegmentBytes: 16 << 20})
	run := append(makeBatch(3, 300, 1, 1), makeBatch(2, 3000, 1, 1)...)
	appendBatch(t, l, run)
	if n := alloc.Least(0, 2000, func() {
		if _, err := l.Append(run); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("append: %v allocations", n)
	}
	from := int64(0)
	if n := alloc.Least(0, 2000, func() {
		v, err := l.Read(from, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		if b := batch.Batch(v.Bytes()); b.LastOffset() < from {
			t.Fatal("wrong batch")
		}
		v.Release()
		from += 5
	}); n > 0 {
		t.Errorf("read: %v allocations", n)
	}
}

func TestASmallerSegmentIsMadeWhereAFullOneDoesNotFit(t *testing.T) {
	m := fs.NewMem(1)
	l, err := Open(Options{FS: m, Dir: "/q", SegmentBytes: 1 << 20, FirstSegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m.SetCapacity(700 << 10)
	b := makeBatch(1, 1000, 1, 1)
	stored := 0
	for range 10_000 {
		if _, err := l.Append(b); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			break
		}
		stored += len(b)
	}
	// 64 + 128 + 256 KiB are segments of the usual sizes; the rest is only reached by
	// smaller ones. A file that was prepared in vain may still take room.
	if stored < 470<<10 {
		t.Errorf("%d bytes were stored on a disk of 700 KiB", stored)
	}
}

// A file that the pool is making ahead of need takes room, though no log has it yet.
func TestAFileThatIsBeingPreparedIsWaitedForWhenTheDiskIsFull(t *testing.T) {
	m := fs.NewMem(1)
	var held atomic.Bool
	making, gate := make(chan struct{}), make(chan struct{})
	f := fs.Failing(m, func(op fs.Op, name string) error {
		if op == fs.OpMap && held.CompareAndSwap(true, false) {
			close(making) // the room is taken, and the pool is not done
			<-gate
		}
		return nil
	})
	l := open(t, Options{FS: f, Dir: "/q", FirstSegmentBytes: 64 << 10, SegmentBytes: 1 << 20, Pool: newPool(t, f, "/", 0)})
	b := makeBatch(1, 1000, 1, 1)
	appendBatch(t, l, b) // makes the first segment
	m.SetCapacity((64 + 128 + 32) << 10)
	held.Store(true)
	for l.active.Fits(int64(len(b)), 1) {
		appendBatch(t, l, b)
	}
	<-making
	result := make(chan error)
	go func() {
		_, err := l.Append(b)
		result <- err
	}()
	// The appender, too, has found no room by the time that it asks the pool.
	for l.o.Pool.Stats().PendingJobs == 0 {
		runtime.Gosched()
	}
	close(gate)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if bytes, segments := l.Size(); segments != 2 || bytes != (64+128)<<10 {
		t.Errorf("%d bytes in %d segments, the prepared file was not used", bytes, segments)
	}
}
