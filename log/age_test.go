package log

import (
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// aging is a log on a clock of its own, in ms.
func aging(t *testing.T, f fs.FS, now *int64) *Log {
	t.Helper()
	o := tableOptions(f, memPool(t, f))
	o.Now = func() time.Time { return time.UnixMilli(*now) }
	return open(t, o)
}

// later is when no segment of a test is a newcomer any more.
func later() time.Time { return time.Now().Add(newcomer + time.Second) }

func TestRecordsThatCameWithOldTimesStayForAWhile(t *testing.T) {
	for age, stays := range map[int64]int64{7 * 24 * 3600 * 1000: newcomer.Milliseconds(), 1000: 1000} {
		now := int64(1 << 40)
		l := aging(t, fs.NewMem(1), &now)
		appendBatch(t, l, makeBatch(7, 100, 1, 5))
		for _, at := range []int64{0, stays - 1} {
			now = 1<<40 + at
			if n, err := l.DropExpired(now-age, 0, math.MaxInt64); n != 0 || err != nil {
				t.Fatalf("with %d ms to keep, dropped %d after %d ms, %v", age, n, at, err)
			}
		}
		now = 1<<40 + stays
		if n, err := l.DropExpired(now-age, 0, math.MaxInt64); n != 1 || err != nil {
			t.Fatalf("with %d ms to keep, dropped %d after %d ms, %v", age, n, stays, err)
		}
		bounds(t, l, 7, 7)
	}
}

func bounds(t *testing.T, l *Log, start, end int64) {
	t.Helper()
	if s, e := l.Bounds(); s != start || e != end {
		t.Errorf("[%d, %d), want [%d, %d)", s, e, start, end)
	}
}

func TestTheLastSegmentGoesWhenItsTimeIsUpAndTheEndIsKept(t *testing.T) {
	for _, how := range []string{"goes on", "closed", "power cut"} {
		t.Run(how, func(t *testing.T) {
			now := int64(1000)
			m := fs.NewMem(1)
			l := aging(t, m, &now)
			appendBatch(t, l, makeBatch(7, 100, 1, now))
			for range 2 {
				if n, err := l.DropExpired(now, 0, math.MaxInt64); n != 0 || err != nil {
					t.Fatalf("dropped %d of what is just as old as may be, %v", n, err)
				}
			}
			if n, err := l.DropExpired(now+1, 0, 6); n != 0 || err != nil {
				t.Fatalf("dropped %d of what is not consumed, %v", n, err)
			}
			for i := range 3 {
				n, err := l.DropExpired(now+1, 0, math.MaxInt64)
				if _, files := l.Size(); err != nil || n != max(0, 1-i) || files != 1 {
					t.Fatalf("dropped %d, %d files, %v", n, files, err)
				}
				bounds(t, l, 7, 7)
			}
			switch how {
			case "closed":
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = aging(t, m, &now)
			case "power cut": // what was dropped may be back, to be dropped again
				l.o.Pool.Wait()
				l = aging(t, m.Crash(rand.New(rand.NewPCG(1, 1))), &now)
				if _, err := l.DropExpired(now+1, 0, math.MaxInt64); err != nil {
					t.Fatal(err)
				}
			}
			bounds(t, l, 7, 7)
			if base := appendBatch(t, l, makeBatch(1, 100, 2, now)); base != 7 {
				t.Errorf("the next one gets %d", base)
			}
			if got := readAll(t, l, 7, 1000); len(got) != 1 {
				t.Errorf("%d batches", len(got))
			}
		})
	}
}

func TestTheSegmentBehindAnOldOneBeginsSmall(t *testing.T) {
	now := int64(1000)
	m := fs.NewMem(1)
	o := tableOptions(m, memPool(t, m))
	o.SegmentBytes = 1 << 20
	o.Now = func() time.Time { return time.UnixMilli(now) }
	l := open(t, o)
	for range 100 {
		appendBatch(t, l, makeBatch(1, 10_000, 1, now))
	}
	if _, err := l.DropExpired(now+1, 0, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if bytes, files := l.Size(); bytes > 4096 || files != 1 {
		t.Errorf("%d bytes in %d segments of nothing", bytes, files)
	}
}

func TestAnEmptySegmentThatIsTooSmallIsReplaced(t *testing.T) {
	now := int64(1000)
	m := fs.NewMem(1)
	l := aging(t, m, &now)
	appendBatch(t, l, makeBatch(7, 100, 1, now))
	if n, err := l.DropExpired(now+1, 0, math.MaxInt64); n != 1 || err != nil {
		t.Fatalf("dropped %d, %v", n, err)
	}
	appendBatch(t, l, makeBatch(2, 20_000, 2, now))
	if _, files := l.Size(); files != 1 {
		t.Errorf("%d segments for one batch", files)
	}
	appendBatch(t, l, makeBatch(1, 20_000, 3, now))
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	l.o.Pool.Wait()
	l = aging(t, m.Crash(rand.New(rand.NewPCG(1, 1))), &now)
	if got := readAll(t, l, 7, 100_000); len(got) != 2 || got[0].BaseOffset() != 7 || got[1].LastOffset() != 9 {
		t.Errorf("%d batches", len(got))
	}
}

func TestASegmentFoundAtTheStartGoesWhenItsTimeIsUp(t *testing.T) {
	m := tableDisk(t, "closed")
	now := time.Now().Add(newcomer + time.Second).UnixMilli()
	l := aging(t, m, &now)
	_, before := l.Size()
	n, err := l.DropExpired(5000, 0, tableCount-1)
	if _, files := l.Size(); err != nil || files != before-n || files == 0 {
		t.Fatalf("dropped %d of %d, %d files while the last is needed, %v", n, before, files, err)
	}
	n, err = l.DropExpired(5000, 0, math.MaxInt64)
	if _, files := l.Size(); err != nil || n == 0 || files != 1 {
		t.Fatalf("dropped %d, %d files, %v", n, files, err)
	}
	bounds(t, l, tableCount, tableCount)
}

// A trickle does not keep what is old until a segment is full.
func TestASegmentThatIsWrittenToForLongerThanItsAgeIsEnded(t *testing.T) {
	now := int64(1_000_000)
	const age, step = 1000, 100
	l := aging(t, fs.NewMem(1), &now)
	for range 100 {
		appendBatch(t, l, makeBatch(1, 10, 1, now))
		now += step
		if _, err := l.DropExpired(now-age, 0, math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		start, end := l.Bounds()
		if kept := end - start; kept > 2*age/step+2 || kept < min(end, age/step) {
			t.Fatalf("%d batches are kept of the %d within their age", kept, age/step)
		}
		if _, files := l.Size(); files > 3 {
			t.Fatalf("%d segments", files)
		}
	}
}

func TestRecordsWithoutATimeAgeFromTheirArrival(t *testing.T) {
	const arrived, age = int64(1_000_000), int64(5000)
	for _, how := range []string{"goes on", "closed", "killed"} {
		t.Run(how, func(t *testing.T) {
			now := arrived
			m := fs.NewMem(1)
			l := aging(t, m, &now)
			appendBatch(t, l, makeBatch(1, 100, 1, 10)) // long ago
			appendBatch(t, l, makeBatch(1, 100, 2, segment.NoRecordTime))
			switch how {
			case "closed":
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = aging(t, m, &now)
			case "killed": // nobody knows any more when it came: it counts as new
				now += 1000
				l = aging(t, m, &now)
			}
			from := now
			now += age
			if n, err := l.DropExpired(now-age, 0, math.MaxInt64); n != 0 || err != nil {
				t.Fatalf("dropped %d, %v", n, err)
			}
			bounds(t, l, 0, 2)
			if _, _, ok, err := l.OffsetForTime(11); ok || err != nil {
				t.Errorf("a time is found that no record has: %v", err)
			}
			now = from + age + 1
			if _, err := l.DropExpired(now-age, 0, math.MaxInt64); err != nil {
				t.Fatal(err)
			}
			bounds(t, l, 2, 2)
		})
	}
}

// Until now a segment without any time was noted as of the time -1.
func TestASealedSegmentWithoutATimeAgesFromWhenTheNextWasBegun(t *testing.T) {
	l := fourSegments(t, fs.NewMem(1))
	list := l.segments()
	if got := ageTime(list[0], list[1:]); got != list[0].MaxTime() {
		t.Errorf("with a time: %d", got)
	}
	now := int64(77_000)
	l = aging(t, fs.NewMem(1), &now)
	l.so.Now = func() time.Time { return time.UnixMilli(segment.NoRecordTime) } // as if it were noted so
	for len(l.segments()) < 3 {
		now += 1000
		appendBatch(t, l, makeBatch(1, 1000, 1, segment.NoRecordTime))
	}
	list = l.segments()
	if got, want := ageTime(list[0], list[1:]), list[1].CreatedMs(); got != want || want < 77_000 {
		t.Errorf("the first ages from %d, want %d", got, want)
	}
	if got := ageTime(list[2], nil); got != math.MaxInt64 {
		t.Errorf("the last ages from %d", got)
	}
}

func TestAFullDiskDoesNotKeepOldSegments(t *testing.T) {
	m := fs.NewMem(1)
	full := false
	f := fs.Failing(m, func(op fs.Op, _ string) error {
		if full && op == fs.OpAllocate {
			return syscall.ENOSPC
		}
		return nil
	})
	o := tableOptions(f, memPool(t, f))
	l := open(t, o)
	for i := range 50 {
		appendBatch(t, l, makeBatch(1, 100, byte(i), int64(100*i)))
		l.o.Pool.Wait()
	}
	_, files := l.Size()
	full = true
	l.o.Now = later
	n, err := l.DropExpired(1<<40, 0, math.MaxInt64)
	if n < files-1 {
		t.Errorf("dropped %d of %d, %v", n, files, err)
	}
	full = false
	if _, err := l.DropExpired(1<<40, 0, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	bounds(t, l, 50, 50)
}
