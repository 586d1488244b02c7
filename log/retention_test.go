package log

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// fourSegments is a log of 50 records in segments of 15, record i of time 100*i.
func fourSegments(t *testing.T, m *fs.Mem) *Log {
	t.Helper()
	l := open(t, tableOptions(m, memPool(t, m)))
	for i := range 50 {
		appendBatch(t, l, makeBatch(1, tableBatch-batch.HeaderBytes, byte(i), int64(100*i)))
	}
	return l
}

func TestTruncateMovesTheStartAndDropsWholeSegments(t *testing.T) {
	for _, tt := range []struct {
		before       int64
		start, files int64
	}{{-1, 0, 4}, {0, 0, 4}, {7, 7, 4}, {14, 14, 4}, {15, 15, 3}, {44, 44, 2}, {45, 45, 1}, {50, 50, 1}, {99, 50, 1}} {
		t.Run(fmt.Sprint(tt.before), func(t *testing.T) {
			m := fs.NewMem(1)
			l := fourSegments(t, m)
			if err := l.Truncate(tt.before); err != nil {
				t.Fatal(err)
			}
			start, end := l.Bounds()
			_, files := l.Size()
			if start != tt.start || end != 50 || files != int(tt.files) {
				t.Errorf("[%d, %d) in %d segments, want [%d, 50) in %d", start, end, files, tt.start, tt.files)
			}
			l.o.Pool.Wait()
			names, _ := m.ReadDir("/q")
			if len(names) != files {
				t.Errorf("files %v", names)
			}
			if err := l.Truncate(3); err != nil {
				t.Fatal(err)
			}
			if again, _ := l.Bounds(); again != max(start, 3) {
				t.Errorf("the start went back to %d", again)
			}
		})
	}
}

func TestTheEndIsRememberedWhenAllIsTruncated(t *testing.T) {
	m := fs.NewMem(1)
	l := fourSegments(t, m)
	for range 3 {
		if err := errors.Join(l.Truncate(50), l.Close()); err != nil {
			t.Fatal(err)
		}
		l = open(t, tableOptions(m, memPool(t, m)))
		if _, end := l.Bounds(); end != 50 {
			t.Fatalf("end %d, want 50", end)
		}
	}
}

func TestNextOffsetKeepsNumbersFromBeingGivenTwice(t *testing.T) {
	m := fs.NewMem(1)
	o := tableOptions(m, memPool(t, m))
	o.NextOffset = 1000
	l := open(t, o)
	if base := appendBatch(t, l, makeBatch(2, 100, 1, 1)); base != 1000 {
		t.Errorf("base %d", base)
	}
	if start, end := l.Bounds(); start != 1000 || end != 1002 {
		t.Errorf("bounds [%d, %d)", start, end)
	}
}

func TestExpiredSegmentsAreDropped(t *testing.T) {
	const size = segment.HeaderBytes + tableRoom*tableBatch
	for _, tt := range []struct {
		name             string
		old, max, below  int64
		dropped, toStart int64
	}{
		{"nothing set", 0, 0, 50, 0, 0},
		{"time: first segment's last record is not older", 1400, 0, 50, 0, 0},
		{"time: first segment is older", 1401, 0, 50, 1, 15},
		{"time: all are older, the last too", 1 << 40, 0, 50, 4, 50},
		{"time: all are older, the last is needed", 1 << 40, 0, 49, 3, 45},
		{"time: only below", 1 << 40, 0, 44, 2, 30},
		{"bytes: enough room", 0, 4 * size, 50, 0, 0},
		{"bytes: one too many", 0, 3 * size, 50, 1, 15},
		{"bytes: tiny", 0, 1, 50, 3, 45},
		{"bytes: only below", 0, 1, 15, 1, 15},
		{"both", 1401, 2 * size, 50, 2, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := fourSegments(t, fs.NewMem(1))
			l.o.Now = later
			n, err := l.DropExpired(tt.old, tt.max, tt.below)
			start, _ := l.Bounds()
			if err != nil || int64(n) != tt.dropped || start != tt.toStart {
				t.Errorf("dropped %d, start %d, %v; want %d, %d", n, start, err, tt.dropped, tt.toStart)
			}
		})
	}
}

func TestOffsetForTimeFindsTheFirstBatchThatReachesIt(t *testing.T) {
	m := fs.NewMem(1)
	l := fourSegments(t, m)
	// One batch late in the log is older than those before it.
	appendBatch(t, l, makeBatch(1, 100, 1, 5))
	check := func(l *Log, start int64) {
		t.Helper()
		for _, tt := range []struct{ ms, offset int64 }{
			{-1, start}, {0, start}, {100 * start, start}, {1501, 16}, {1600, 16}, {2999, 30}, {3000, 30}, {4900, 49}, {4901, -1},
		} {
			offset, at, ok, err := l.OffsetForTime(tt.ms)
			if err != nil || ok != (tt.offset >= 0) || ok && (offset != tt.offset || at != 100*offset) {
				t.Errorf("time %d: offset %d of time %d, %v, %v; want %d", tt.ms, offset, at, ok, err, tt.offset)
			}
		}
	}
	check(l, 0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, tableOptions(m, memPool(t, m)))
	check(l, 0)
	if err := l.Truncate(4); err != nil {
		t.Fatal(err)
	}
	check(l, 4)
}

func TestRecordsCountsAroundGaps(t *testing.T) {
	m := tableDisk(t, "synced")
	change(t, m, file1, zero(position(20), position(24)))
	l := open(t, tableOptions(m, memPool(t, m)))
	_ = readAll(t, l, 0, 1000) // meets the damage
	l.sparse.Store(true)
	for _, tt := range []struct{ from, to, want int64 }{
		{0, 40, 36}, {0, 15, 15}, {15, 30, 11}, {20, 24, 0}, {19, 26, 3}, {-5, 3, 3}, {38, 99, 2}, {7, 7, 0}, {9, 3, 0},
	} {
		if got, err := l.Records(tt.from, tt.to); err != nil || got != tt.want {
			t.Errorf("[%d, %d): %d records, want %d", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestRecordsInsideABatchWithGapsAreBounded(t *testing.T) {
	m := fs.NewMem(1)
	l := open(t, tableOptions(m, memPool(t, m)))
	appendBatch(t, l, makeBatch(10, 100, 1, 1))
	b := batch.Batch(makeBatch(2, 100, 1, 1))
	b.Seal(batch.Header{LastOffsetDelta: 9, Count: 2}) // compacted: eight of ten are gone
	appendBatch(t, l, b)
	for _, tt := range []struct{ from, to, want int64 }{{0, 20, 12}, {10, 20, 2}, {5, 15, 7}, {19, 20, 1}} {
		if got, err := l.Records(tt.from, tt.to); err != nil || got != tt.want {
			t.Errorf("[%d, %d): %d records, want %d", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestTransientLogsAreNeverSyncedAndLeaveNoIndexInMemory(t *testing.T) {
	m := fs.NewMem(1)
	f := fs.Failing(m, func(op fs.Op, name string) error {
		if op == fs.OpSync || op == fs.OpSyncDir {
			return fmt.Errorf("%s %s", op, name)
		}
		return nil
	})
	o := tableOptions(f, memPool(t, f))
	o.Transient = true
	l := open(t, o)
	for i := range 50 {
		appendBatch(t, l, makeBatch(1, tableBatch-batch.HeaderBytes, byte(i), 1))
	}
	if err := l.Sync(); err != nil || l.Dirty() {
		t.Errorf("sync %v, dirty %v", err, l.Dirty())
	}
	l.o.Pool.Sweep()
	l.o.Pool.Sweep()
	if n := l.o.Pool.Stats().Open; n != 0 {
		t.Errorf("%d segments open when idle", n)
	}
	if got := ranges(readAll(t, l, 0, 1000)); got != "0-49" {
		t.Errorf("read %s", got)
	}
	if err := l.Truncate(50); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestATrickleStaysInSmallSegments(t *testing.T) {
	m := fs.NewMem(1)
	now := time.UnixMilli(1_700_000_000_000)
	l := open(t, Options{FS: m, Dir: "/q", Pool: memPool(t, m), FirstSegmentBytes: 4096, SegmentBytes: 1 << 20, Now: func() time.Time { return now }})
	for range 300 {
		base := appendBatch(t, l, makeBatch(1, 1000, 1, 1))
		now = now.Add(time.Minute)
		if err := l.Truncate(base); err != nil {
			t.Fatal(err)
		}
	}
	if bytes, n := l.Size(); bytes > 2*4096 {
		t.Errorf("a consumed trickle occupies %d bytes in %d segments", bytes, n)
	}
	for range 300 {
		appendBatch(t, l, makeBatch(1, 1000, 1, 1))
	}
	if _, n := l.Size(); n > 12 {
		t.Errorf("a burst of 300 KB lies in %d segments", n)
	}
}

func TestDeleteRemovesTheFolder(t *testing.T) {
	m := fs.NewMem(1)
	l := fourSegments(t, m)
	v, err := l.Read(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(noPace); err != nil {
		t.Fatal(err)
	}
	l.o.Pool.Wait()
	if names, err := m.ReadDir("/q"); err == nil {
		t.Errorf("left: %v", names)
	}
	if b := batch.Batch(v.Bytes()); b.Check() != nil {
		t.Error("the view changed")
	}
	v.Release()
	if _, err := l.Append(makeBatch(1, 10, 1, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := l.Read(0, 100); !errors.Is(err, ErrClosed) { // an empty view would say that its records were damaged
		t.Errorf("read: %v", err)
	}
}

// TestReadersAndOneAppenderRunSideBySide is for the race detector: readers,
// syncs, truncation, recycling and sweeps run beside appends.
func TestReadersAndOneAppenderRunSideBySide(t *testing.T) {
	dir := t.TempDir()
	p := newPool(t, fs.Real(), dir, 4<<20)
	l := open(t, Options{FS: fs.Real(), Dir: dir + "/q", Pool: p, FirstSegmentBytes: 256 << 10, SegmentBytes: 512 << 10})
	var done atomic.Bool
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			from := int64(0)
			for !done.Load() {
				v, err := l.Read(from, 30_000)
				if start, _ := l.Bounds(); errors.Is(err, ErrOutOfRange) && from < start {
					from = start
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				for rest := v.Bytes(); len(rest) > 0; {
					var b batch.Batch
					if b, rest, err = batch.Next(rest); err != nil || b.Check() != nil || b.LastOffset() < from {
						t.Errorf("read %d: batch %d, %v", from, b.BaseOffset(), err)
						return
					}
					from = b.LastOffset() + 1
				}
				v.Release()
				if _, end := l.Bounds(); from > end {
					t.Errorf("read up to %d, the end is %d", from, end)
					return
				}
			}
		})
	}
	group.Go(func() {
		for !done.Load() {
			if err := l.Sync(); err != nil {
				t.Error(err)
			}
			p.Sweep()
		}
	})
	for i := 0; i < 5000 || i < 100_000 && p.Stats().Recycled < 10; i++ {
		base := appendBatch(t, l, append(makeBatch(2, 2000, byte(i), 1), append(makeBatch(1, 9000, 1, 1), makeBatch(1, 100, 1, 1)...)...))
		if i%50 == 0 && base > 1000 {
			if err := l.Truncate(base - 1000); err != nil {
				t.Fatal(err)
			}
		}
	}
	done.Store(true)
	group.Wait()
	if st := p.Stats(); st.Recycled == 0 {
		t.Errorf("nothing was recycled: %+v", st)
	}
}

// noPace deletes without a pause.
func noPace() error { return nil }

// TestDropBelowDoesNotWaitForAnAppend, which may be waiting for the disk.
func TestDropBelowDoesNotWaitForAnAppend(t *testing.T) {
	l := &Log{}
	l.mu.Lock()
	if l.DropBelow(1) {
		t.Error("it says that it did")
	}
	l.mu.Unlock()
	if !l.DropBelow(1) {
		t.Error("it says that it did not")
	}
}

// A segment is wholly below the offset behind its last record, and not below that record's.
func TestDropBelowDropsWhatEndsThere(t *testing.T) {
	m := fs.NewMem(1)
	l := open(t, Options{FS: m, Dir: "/q", Pool: newPool(t, m, "/", 0), FirstSegmentBytes: 4 << 10, SegmentBytes: 4 << 10})
	for i := range 40 {
		appendBatch(t, l, makeBatch(1, 1000, byte(i), int64(i)))
	}
	first := l.segments()[0]
	for _, c := range []struct{ below, start int64 }{{first.Next() - 1, 0}, {first.Next(), first.Next()}, {1 << 40, l.active.Base()}} {
		if !l.DropBelow(c.below) {
			t.Fatal("it says that it did not")
		}
		if start, end := l.Bounds(); start != c.start || end != 40 {
			t.Errorf("below %d: bounds [%d, %d), want [%d, 40)", c.below, start, end, c.start)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
