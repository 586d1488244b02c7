package log

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// stragglers is a log of 4,000 records, i of time 10*i, in segments of up to 64
// KiB, synced, on a file system that a hook watches.
func stragglers(t *testing.T, hook func(op fs.Op, name string) error) (*Log, Options) {
	t.Helper()
	m := fs.NewMem(1)
	f := fs.Failing(m, hook)
	o := Options{FS: f, Dir: "/q", Pool: newPool(t, f, "/", 1<<20), FirstSegmentBytes: 16 << 10, SegmentBytes: 64 << 10, IndexIntervalBytes: 1024}
	l := open(t, o)
	for i := range 4000 {
		appendBatch(t, l, makeBatch(1, 67, byte(i), int64(10*i)))
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	return l, o
}

func fine(fs.Op, string) error { return nil }

// one keeps a single record.
func one(offset int64) func(first, last int64) bool {
	return func(first, last int64) bool { return offset >= first && offset <= last }
}

// kept returns the offsets of the batches that have records.
func kept(t *testing.T, l *Log, from int64) (offsets []int64) {
	t.Helper()
	for _, b := range readAll(t, l, from, 4096) {
		if b.Count() > 0 {
			offsets = append(offsets, b.BaseOffset())
		}
	}
	return offsets
}

func TestThinLeavesWhatIsWantedAndWhatIsNotSealed(t *testing.T) {
	l, o := stragglers(t, fine)
	full, files := l.Size()
	list := l.segments()
	tail := list[len(list)-1].Base()
	freed, err := l.Thin(4000, one(3))
	if err != nil {
		t.Fatal(err)
	}
	size, now := l.Size()
	if freed != full-size || size > full/5 || now != 2 {
		t.Errorf("freed %d: from %d bytes in %d segments to %d in %d", freed, full, files, size, now)
	}
	want := []int64{3}
	for i := tail; i < 4000; i++ {
		want = append(want, i)
	}
	check := func(l *Log) {
		t.Helper()
		if got := kept(t, l, 0); !slices.Equal(got, want) {
			t.Errorf("%d records are left, want %d", len(got), len(want))
		}
		if start, end := l.Bounds(); start != 0 || end != 4000 {
			t.Errorf("bounds [%d, %d)", start, end)
		}
		for _, r := range []struct{ from, to, want int64 }{{0, 4000, int64(len(want))}, {0, tail, 1}, {3, 4, 1}, {4, tail, 0}, {tail, 4000, 4000 - tail}} {
			if got, err := l.Records(r.from, r.to); err != nil || got != r.want {
				t.Errorf("[%d, %d) has %d records, want %d", r.from, r.to, got, r.want)
			}
		}
		for ms, want := range map[int64]int64{0: 3, 30: 3, 31: tail, 10 * (tail - 1): tail, 10*tail + 5: tail + 1} {
			if at, _, ok, err := l.OffsetForTime(ms); at != want || !ok || err != nil {
				t.Errorf("time %d is at %d, %v, %v; want %d", ms, at, ok, err, want)
			}
		}
	}
	check(l)
	if freed, err := l.Thin(4000, one(3)); freed != 0 || err != nil {
		t.Errorf("a second time freed %d: %v", freed, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	check(l)
	if err := l.Truncate(tail); err != nil {
		t.Fatal(err)
	}
	if _, files := l.Size(); files != 1 {
		t.Errorf("%d segments are left once the straggler is gone", files)
	}
}

func TestThinAsksForNothingAboveItsLimitOrBelowTheStart(t *testing.T) {
	l, _ := stragglers(t, fine)
	list := l.segments()
	start, below := list[0].Next()+5, list[3].Next()+1
	if err := l.Truncate(start); err != nil {
		t.Fatal(err)
	}
	_, err := l.Thin(below, func(first, last int64) bool {
		if last < start || last >= list[3].Next() {
			t.Errorf("asked for [%d, %d]", first, last)
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := kept(t, l, start); got[0] != list[4].Base() {
		t.Errorf("the first record left is %d, want %d", got[0], list[4].Base())
	}
}

func TestAThinThatFailsChangesNothing(t *testing.T) {
	var armed atomic.Bool
	for _, op := range []fs.Op{fs.OpOpen, fs.OpWrite, fs.OpSync, fs.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			l, o := stragglers(t, func(at fs.Op, name string) error {
				if armed.Load() && at == op {
					return syscall.ENOSPC
				}
				return nil
			})
			armed.Store(true)
			freed, err := l.Thin(4000, one(3))
			armed.Store(false)
			if freed != 0 || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("freed %d: %v", freed, err)
			}
			if n := len(kept(t, l, 0)); n != 4000 || l.Err() != nil {
				t.Errorf("%d records are left; %v", n, l.Err())
			}
			if freed, err := l.Thin(4000, one(3)); freed == 0 || err != nil {
				t.Errorf("then freed %d: %v", freed, err)
			}
			l.o.Pool.Wait()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if got := kept(t, open(t, o), 0); got[0] != 3 {
				t.Errorf("the first is %d", got[0])
			}
		})
	}
}

func TestAppendsReadsAndDropsGoOnBesideThin(t *testing.T) {
	const every = 501 // of so many records one is never given up
	l, _ := stragglers(t, fine)
	stop := make(chan struct{})
	var work sync.WaitGroup
	run := func(fn func()) {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					fn()
				}
			}
		})
	}
	run(func() {
		_, end := l.Bounds()
		if end == 30_000 {
			runtime.Gosched()
			return
		}
		appendBatch(t, l, makeBatch(1, 67, byte(end), 10*end))
		if end%64 == 0 {
			if err := l.Sync(); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2 {
		run(func() {
			start, end := l.Bounds()
			if start == end {
				return
			}
			at := (start + rand.Int64N(end-start) + every - 1) / every * every
			if at >= end {
				return
			}
			v, err := l.Read(at, 8192)
			if errors.Is(err, ErrOutOfRange) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			b, _, err := batch.Next(v.Bytes())
			if err == nil {
				err = b.Check()
			}
			if err != nil || b.BaseOffset() > at || b.LastOffset() < at || b.Count() == 0 {
				t.Errorf("%d: read [%d, %d] of %d records: %v", at, b.BaseOffset(), b.LastOffset(), b.Count(), err)
			}
			v.Release()
		})
	}
	run(func() { l.o.Pool.Sweep(); time.Sleep(time.Millisecond) })
	for range 30 {
		start, end := l.Bounds()
		if _, err := l.Thin(end-every, func(first, last int64) bool { return last/every > (first-1)/every || first == 0 }); err != nil {
			t.Error(err)
		}
		if err := l.Truncate(start + (end-start)/10); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	work.Wait()
}
