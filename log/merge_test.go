package log

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

func TestWhatStaysBehindAStragglerIsBoundedHoweverMuchPasses(t *testing.T) {
	m := fs.NewMem(1)
	o := Options{FS: m, Dir: "/q", Pool: newPool(t, m, "/", 1<<20), FirstSegmentBytes: 16 << 10, SegmentBytes: 64 << 10, IndexIntervalBytes: 1024}
	l := open(t, o)
	defer l.Close()
	for end := int64(0); end < 40_000; { // 90 segments
		for range 2000 {
			appendBatch(t, l, makeBatch(1, 67, byte(end), 10*end))
			end++
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Thin(end, func(first, last int64) bool { return first <= 3 || first/5000 != (last+1)/5000 }); err != nil {
			t.Fatal(err)
		}
		if bytes, segments := l.Size(); segments > 2*mergeLeast+1 || bytes > 512<<10 {
			t.Errorf("behind %d records there are %d segments of %d bytes", end, segments, bytes)
		}
	}
	want := []int64{0, 1, 2, 3}
	for i := int64(5000); i < 39_000; i += 5000 {
		want = append(want, i-1)
	}
	tail := l.segments()[len(l.segments())-1].Base()
	if got := kept(t, l, 0); !slices.Equal(got[:len(want)], want) || got[len(want)] > tail {
		t.Errorf("%v are left, want %v and what is behind %d", got[:len(want)+1], want, tail)
	}
	list := l.segments()
	if list[0].Covers() == 0 {
		t.Error("nothing was merged")
	}
	for i, s := range list[1:] {
		if s.Base() != list[i].Next() {
			t.Errorf("a gap from %d to %d", list[i].Next(), s.Base())
		}
	}
	for ms, want := range map[int64]int64{0: 0, 31: 4999, 49_990: 4999, 49_991: 9999, 10 * tail: tail} {
		if at, _, ok, err := l.OffsetForTime(ms); at != want || !ok || err != nil {
			t.Errorf("time %d is at %d, %v, %v; want %d", ms, at, ok, err, want)
		}
	}
	if n, err := l.Records(4, tail); err != nil || n < 7 || n > 8 {
		t.Errorf("%d records below the tail, %v", n, err)
	}
}

// TestEachByteIsMergedAFewTimesOnly: what stays grows here, by a tenth of what passes.
func TestEachByteIsMergedAFewTimesOnly(t *testing.T) {
	m := fs.NewMem(1)
	var written int64
	f := fs.Failing(m, func(op fs.Op, name string) error { return nil })
	o := Options{FS: f, Dir: "/q", Pool: newPool(t, f, "/", 0), FirstSegmentBytes: 16 << 10, SegmentBytes: 512 << 10, IndexIntervalBytes: 1024}
	l := open(t, o)
	defer l.Close()
	every := func(first, last int64) bool { return last/16 > (first-1)/16 || first == 0 }
	for end := int64(0); end < 200_000; {
		for range 5000 {
			appendBatch(t, l, makeBatch(1, 67, byte(end), 10*end))
			end++
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		before := mergedOf(l)
		if _, err := l.Thin(end, every); err != nil {
			t.Fatal(err)
		}
		for s, bytes := range mergedOf(l) {
			if before[s] == 0 {
				written += bytes
			}
		}
	}
	bytes, segments := l.Size()
	t.Logf("%d bytes in %d segments are left, %d bytes were merged", bytes, segments, written)
	if written > 4*bytes {
		t.Errorf("%d bytes were copied for %d that are left", written, bytes)
	}
	if most := int(bytes/(512<<10/mergeShare/2)) + 2*mergeLeast; segments > most {
		t.Errorf("%d segments are left, of %d bytes, want %d at most", segments, bytes, most)
	}
}

func mergedOf(l *Log) map[*segment.Segment]int64 {
	all := make(map[*segment.Segment]int64)
	for _, s := range l.segments() {
		if s.Covers() > 0 {
			all[s] = s.Position()
		}
	}
	return all
}

// TestWhatIsBeingMergedIsDroppedBehindThat: between, the new file covers those that would be
// first in the list, and a start would know of another first segment than it finds.
func TestWhatIsBeingMergedIsDroppedBehindThat(t *testing.T) {
	var l *Log
	var second, looks int64
	l, o := stragglers(t, func(op fs.Op, name string) error {
		if op == fs.OpSyncDir && name == "/q" && second > 0 {
			looks++
			if l.DropBelow(second) {
				t.Error("a drop of what is being merged says that it is done")
			}
			if err := l.Truncate(second); err != nil {
				t.Error(err)
			}
			if at := l.segments()[0].Base(); at != 0 {
				t.Errorf("the log begins with segment %d", at)
			}
		}
		return nil
	})
	second = l.segments()[1].Next()
	if _, err := l.Thin(4000, one(3000)); err != nil {
		t.Fatal(err)
	}
	if looks != 1 {
		t.Errorf("merged %d times", looks)
	}
	if start, _ := l.Bounds(); start != second || kept(t, l, start)[0] != 3000 {
		t.Errorf("starts at %d", start)
	}
	second = 0
	if !l.DropBelow(l.segments()[0].Next()) {
		t.Error("a drop waits behind the merge")
	}
	l.o.Pool.Wait()
	if names, _ := o.FS.ReadDir("/q"); len(names) > 2 {
		t.Errorf("files %v", names)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLeftoversGoOnlyOnceTheirSuccessorIsDurable at a start, too.
func TestLeftoversGoOnlyOnceTheirSuccessorIsDurable(t *testing.T) {
	l, o := stragglers(t, fine)
	l.mergeLeast = 2
	var stay [][]byte
	list := l.segments()
	for _, s := range list[:3] {
		stay = append(stay, readFile(t, o.FS, s.Name()))
	}
	if _, err := l.Thin(list[2].Next(), one(3)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for i, s := range list[1:3] {
		writeFile(t, o.FS, s.Name(), stay[i+1])
	}
	var ops []string
	o.FS = fs.Failing(o.FS, func(op fs.Op, name string) error {
		if op == fs.OpSyncDir || op == fs.OpRemove {
			ops = append(ops, fmt.Sprint(op, " ", filepath.Base(name)))
		}
		return nil
	})
	l = open(t, o)
	want := []string{"syncdir q"}
	for _, s := range list[1:3] {
		name := filepath.Base(s.Name())
		want = append(want, "remove "+name, "remove "+segment.IndexName(name))
	}
	if len(ops) < len(want) || !slices.Equal(ops[:len(want)], want) {
		t.Errorf("the start did %q, want %q first", ops, want)
	}
	if got := kept(t, l, 0); got[0] != 3 || got[1] != list[3].Base() {
		t.Errorf("%d and %d are left", got[0], got[1])
	}
}

func readFile(t *testing.T, f fs.FS, name string) []byte {
	t.Helper()
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := file.Size()
	b := make([]byte, size)
	if _, readErr := file.ReadAt(b, 0); err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	return b
}

func writeFile(t *testing.T, f fs.FS, name string, b []byte) {
	t.Helper()
	file, err := f.Open(name, os.O_RDWR|os.O_CREATE)
	if err == nil {
		_, err = file.WriteAt(b, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
}

// mergeCut is one way in which the power goes while segments are merged: before the file
// operation of that number, and with what the seed lets reach the disk.
type mergeCut struct {
	op   int
	seed uint64
}

// TestAPowerCutAtAnyStepOfAMergeLosesAndShowsNothing goes on behind the cut: another one comes at once
// behind the start, and one more when the start of the log has moved on.
func TestAPowerCutAtAnyStepOfAMergeLosesAndShowsNothing(t *testing.T) {
	last := 1
	for op := 1; op <= last; op++ {
		for seed := range uint64(12) {
			last = max(last, cutMerge(t, mergeCut{op, seed}))
		}
	}
	if last < 20 || t.Failed() {
		t.Errorf("%d operations", last)
	}
}

// cutMerge returns how many file operations there are.
func cutMerge(t *testing.T, c mergeCut) (ops int) {
	m := fs.NewMem(c.seed)
	rng := rand.New(rand.NewPCG(c.seed, uint64(c.op)))
	var cut *fs.Mem
	var mu sync.Mutex // the pool's goroutine works on files, too
	armed := false
	arm := func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		armed = on
	}
	disk := fs.Failing(m, func(op fs.Op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if !armed {
			return nil
		}
		if ops++; ops == c.op {
			cut = m.Crash(rng)
		}
		return nil
	})
	o := Options{FS: disk, Dir: "/q", Pool: newPool(t, disk, "/", 0), FirstSegmentBytes: 8 << 10, SegmentBytes: 8 << 10, IndexIntervalBytes: 1024}
	l := open(t, o)
	for i := range 300 { // five segments and the last
		appendBatch(t, l, makeBatch(1, 67, byte(i), int64(10*i)))
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	l.mergeLeast = 2
	end := l.segments()[len(l.segments())-1].Base()
	arm(true)
	if _, err := l.Thin(300, one(3)); err != nil {
		t.Fatal(err)
	}
	l.o.Pool.Wait()
	if _, files := l.Size(); files != 2 {
		t.Errorf("%d segments, want 2", files)
	}
	if err := l.Truncate(end); err != nil {
		t.Fatal(err)
	}
	l.o.Pool.Wait()
	arm(false)
	if cut == nil {
		cut = m.Crash(rng)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for again := range 2 {
		checkCut(t, c, cut, again)
		cut = cut.Crash(rng) // what the start has done may be gone, or half of it
	}
	return ops
}

func checkCut(t *testing.T, c mergeCut, disk *fs.Mem, again int) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("cut before operation %d, seed %d, start %d: %s", c.op, c.seed, again, fmt.Sprintf(format, args...))
	}
	o := Options{FS: disk, Dir: "/q", Pool: newPool(t, disk, "/", 0), SegmentBytes: 8 << 10, IndexIntervalBytes: 1024, Report: func(e Event) {
		switch e.Kind {
		case Missing, SetAside, Damaged, TornTail, BadHeader, Emptied:
			fail("%v", e)
		}
	}}
	l, err := Open(o)
	if err != nil {
		fail("%v", err)
		return
	}
	// Not closed: the machine goes down again.
	start, end := l.Bounds()
	if end != 300 {
		fail("ends at %d", end)
	}
	got := kept(t, l, start)
	if start <= 3 && got[0] > 3 {
		fail("the straggler is gone: from %d on there is %d first", start, got[0])
	}
	if n := len(got); got[n-1] != 299 || !slices.IsSorted(got) {
		fail("%d records, the last is %d", n, got[n-1])
	}
	for i := 1; i < len(l.segments()); i++ {
		if a, b := l.segments()[i-1], l.segments()[i]; a.Next() != b.Base() {
			fail("a gap from %d to %d", a.Next(), b.Base())
		}
	}
}
