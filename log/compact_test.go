package log

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// eachTenth is an edit that leaves each tenth record.
func eachTenth() segment.Edit {
	return func(b batch.Batch) (batch.Batch, error) {
		if b.Count() > 0 && b.BaseOffset()%10 != 0 {
			return nil, nil
		}
		return b, nil
	}
}

// wholeTo has all but the last segment on disk, and says where that begins.
func wholeTo(t *testing.T, l *Log) int64 {
	t.Helper()
	list := l.WholeSegments()
	if len(list) < 4 {
		t.Fatalf("%d segments", len(list))
	}
	return list[len(list)-1].End
}

func TestANearlyFullSegmentIsNotCopiedForWhatIsBesideIt(t *testing.T) {
	m := fs.NewMem(1)
	l := open(t, Options{FS: m, Dir: "/q", Pool: newPool(t, m, "/", 1<<20), FirstSegmentBytes: 64 << 10, SegmentBytes: 64 << 10, IndexIntervalBytes: 1024})
	defer l.Close()
	add := func(kib int) {
		t.Helper()
		for i := range kib * 8 { // of 128 bytes
			appendBatch(t, l, makeBatch(1, 67, byte(i), int64(i)))
		}
		if err := errors.Join(l.Sync(), l.Roll(1<<62)); err != nil {
			t.Fatal(err)
		}
	}
	compact := func() {
		t.Helper()
		list := l.WholeSegments()
		end := list[len(list)-1].End
		if reached, _, err := l.Compact(end, func(b batch.Batch) (batch.Batch, error) { return b, nil }); err != nil || reached != end {
			t.Fatalf("%d of %d: %v", reached, end, err)
		}
	}
	add(4)
	add(40)
	before := slices.Clone(l.segments()[:2])
	for range 5 {
		add(4)
		compact()
		for i, s := range before {
			if !slices.Contains(l.segments(), s) {
				t.Errorf("segment %d of %d bytes was copied", i, s.Position())
			}
		}
	}
	if n := len(l.segments()); n != 4 {
		t.Errorf("%d segments, want 4: the small ones become one", n)
	}
}

func TestWhatNobodyCanReadAnyMoreIsNotAskedAboutAndGoes(t *testing.T) {
	l, _ := stragglers(t, fine)
	defer l.Close()
	end := wholeTo(t, l)
	if err := l.Truncate(100); err != nil {
		t.Fatal(err)
	}
	asked := int64(1 << 40)
	reached, freed, err := l.Compact(end, func(b batch.Batch) (batch.Batch, error) {
		asked = min(asked, b.BaseOffset())
		return b, nil
	})
	if err != nil || reached != end || asked != 100 || freed <= 0 {
		t.Errorf("reached %d of %d, asked from %d on, %d bytes freed: %v", reached, end, asked, freed, err)
	}
}

// TestWhatIsCompactedIsDurableWhenThatIsSaid: what goes by it, ends of keys and the state beside the log, trusts in that.
func TestWhatIsCompactedIsDurableWhenThatIsSaid(t *testing.T) {
	m := fs.NewMem(7)
	o := Options{FS: m, Dir: "/q", Pool: newPool(t, m, "/", 0), FirstSegmentBytes: 8 << 10, SegmentBytes: 8 << 10, IndexIntervalBytes: 1024}
	l := open(t, o)
	defer l.Close()
	for i := range 300 {
		appendBatch(t, l, makeBatch(1, 67, byte(i), int64(10*i)))
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	end := wholeTo(t, l)
	if reached, _, err := l.Compact(end, eachTenth()); err != nil || reached != end {
		t.Fatalf("reached %d of %d: %v", reached, end, err)
	}
	for seed := range uint64(20) {
		disk := m.Crash(rand.New(rand.NewPCG(seed, 3)))
		again, err := Open(Options{FS: disk, Dir: "/q", Pool: newPool(t, disk, "/", 0), SegmentBytes: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range kept(t, again, 0) {
			if at < end && at%10 != 0 {
				t.Fatalf("seed %d: %d is there again behind a power cut", seed, at)
			}
		}
		_ = again.Close()
	}
}

// TestACompactionThatFailsAtAnyStepChangesNothingThatIsRead, as on a full disk, and can be done again when there is room.
func TestACompactionThatFailsAtAnyStepChangesNothingThatIsRead(t *testing.T) {
	op := 1
	for more := true; more; op++ {
		var mu sync.Mutex
		armed, ops := false, 0
		var failed fs.Op
		l, o := stragglers(t, func(op2 fs.Op, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			if !armed {
				return nil
			}
			if ops++; ops == op {
				failed = op2
				return syscall.ENOSPC
			}
			return nil
		})
		arm := func(on bool) {
			mu.Lock()
			defer mu.Unlock()
			armed = on
		}
		end := wholeTo(t, l)
		before := map[int64][]byte{}
		for _, b := range readAll(t, l, 0, 4096) {
			before[b.BaseOffset()] = bytes.Clone(b)
		}
		arm(true)
		reached, _, err := l.Compact(end, eachTenth())
		l.o.Pool.Wait()
		arm(false)
		more = ops >= op
		if err == nil && reached < end {
			t.Errorf("operation %d (%s): only up to %d of %d, and no error", op, failed, reached, end)
		}
		check := func(l *Log, all bool) {
			t.Helper()
			seen := 0
			for _, b := range readAll(t, l, 0, 4096) {
				if b.Count() == 0 || b.BaseOffset() >= 4000 {
					continue
				}
				if seen++; !bytes.Equal(b, before[b.BaseOffset()]) {
					t.Fatalf("operation %d (%s): batch %d changed", op, failed, b.BaseOffset())
				}
				if all && b.BaseOffset() < end && b.BaseOffset()%10 != 0 {
					t.Fatalf("operation %d (%s): batch %d stayed", op, failed, b.BaseOffset())
				}
			}
			for at := int64(0); at < 4000; at += 10 {
				if !slices.Contains(kept(t, l, at-at%100), at) {
					t.Fatalf("operation %d (%s): batch %d is lost", op, failed, at)
				}
				at += 390
			}
			if seen < 400 {
				t.Fatalf("operation %d (%s): %d batches are left", op, failed, seen)
			}
		}
		check(l, false)
		if l.Err() == nil {
			if reached, _, err := l.Compact(end, eachTenth()); err != nil || reached != end {
				t.Errorf("operation %d (%s): again: %d of %d, %v", op, failed, reached, end, err)
			}
			check(l, true)
			appendBatch(t, l, makeBatch(1, 67, 1, 1<<40))
		} else {
			t.Errorf("operation %d (%s): the log takes nothing any more: %v", op, failed, l.Err())
		}
		if err := l.Close(); err != nil {
			t.Errorf("operation %d (%s): close: %v", op, failed, err)
		}
		again := open(t, o)
		check(again, true)
		_ = again.Close()
	}
	if op < 20 {
		t.Errorf("%d operations", op)
	}
}

// TestRetentionMayTakeWhatIsBeingCompacted: what it took stays away, and it is told how far the rest is done.
func TestRetentionMayTakeWhatIsBeingCompacted(t *testing.T) {
	for when, step := range map[string]fs.Op{"while it is read": "", "while it is written": fs.OpSync, "while it is put in place": fs.OpRename} {
		var l *Log
		var cut int64
		drop := func() {
			if cut > 0 {
				if err := l.Truncate(cut); err != nil {
					t.Error(err)
				}
			}
		}
		l, o := stragglers(t, func(op fs.Op, _ string) error {
			if op == step {
				drop()
			}
			return nil
		})
		end := wholeTo(t, l)
		// The first of those that become one: the others are left, and not compacted.
		if n := len(l.group(0, end)); n < 2 {
			t.Fatalf("the first is alone")
		}
		cut = l.segments()[1].Base()
		reached, _, err := l.Compact(end, func(b batch.Batch) (batch.Batch, error) {
			if step == "" && b.BaseOffset() == 10 {
				drop()
			}
			return eachTenth()(b)
		})
		if start, _ := l.Bounds(); err != nil || start != cut {
			t.Errorf("%s: it begins at %d, want %d: %v", when, start, cut, err)
		}
		left := kept(t, l, cut)
		whole := slices.ContainsFunc(left, func(at int64) bool { return at < end && at%10 != 0 })
		if whole != (reached < end) {
			t.Errorf("%s: reached %d of %d, and what is to go is left: %v", when, reached, end, whole)
		}
		if reached, _, err = l.Compact(end, eachTenth()); err != nil || reached != end {
			t.Errorf("%s: again: %d of %d, %v", when, reached, end, err)
		}
		l.o.Pool.Wait()
		for _, at := range kept(t, l, cut) {
			if at < cut || at < end && at%10 != 0 {
				t.Fatalf("%s: %d is left", when, at)
			}
		}
		cut = 0
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, o)
		start, _ := again.Bounds()
		if first := kept(t, again, start)[0]; first%10 != 0 || start > first {
			t.Errorf("%s: then it begins at %d with %d", when, start, first)
		}
		_ = again.Close()
	}
}
