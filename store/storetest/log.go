package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

var logTests = map[string]func(*testing.T, Opener){
	"a new log is empty":                          testNewLog,
	"offsets grow and bodies come back":           testAppendRead,
	"one append takes several batches":            testSeveralBatches,
	"the caller's bytes are free after an append": testAppendCopies,
	"appends of many are each whole and in order": testConcurrentAppends,
	"messages survive a restart":                  testLogSurvives,
	"offsets go on after a restart":               testOffsetsGoOn,
	"a transient log does not survive":            testTransient,
	"truncate moves the start":                    testTruncate,
	"truncation survives a restart":               testTruncateSurvives,
	"release keeps what is above the floor":       testRelease,
	"release of all leaves a log that works":      testReleaseAll,
	"a topic ignores release":                     testTopicRelease,
	"thin keeps what is wanted":                   testThin,
	"thin leaves a topic and a log kept for age":  testThinElsewhere,
	"compact changes what it is asked to":         testCompact,
	"a deleted log is gone":                       testDelete,
	"a log is the same when opened twice":         testOpenTwice,
	"a watcher hears of every append":             testWatch,
	"a stopped watcher hears nothing":             testWatchStop,
	"a watcher hears that a log was cut and gone": testWatchEnd,
	"size grows with what is stored":              testSize,
	"an append that is no batch changes nothing":  testNoBatch,
}

func testNewLog(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("new"))
	if start, end := bounds(t, l); start != end {
		t.Fatalf("bounds are [%d,%d)", start, end)
	}
	_, end := bounds(t, l)
	if got := readAll(t, l, end, 1<<20); len(got) != 0 {
		t.Fatalf("read %d batches", len(got))
	}
	if n := count(t, l, 0, 100); n != 0 {
		t.Fatalf("%d records", n)
	}
	if _, _, ok, err := l.OffsetForTime(ctx, 0); ok || err != nil {
		t.Fatalf("OffsetForTime: %v, %v", ok, err)
	}
	if err := l.Err(); err != nil {
		t.Fatalf("Err: %v", err)
	}
}

func testAppendRead(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	var want []seen
	last := message.NoOffset
	for i := range 200 {
		words := []string{fmt.Sprint("a", i), fmt.Sprint("b", i), ""}[:1+i%3]
		base := add(t, l, records(int64(i), words...))
		if base <= last {
			t.Fatalf("append %d got offset %d after %d", i, base, last)
		}
		for k, w := range words {
			want = append(want, seen{base + message.Offset(k), w})
		}
		last = base + message.Offset(len(words)) - 1
		if start, end := bounds(t, l); start > want[0].offset || end <= last {
			t.Fatalf("bounds are [%d,%d) after offset %d", start, end, last)
		}
	}
	start, _ := bounds(t, l)
	compare(t, bodies(t, l, start), want)
	if n := count(t, l, start, last+1); n != int64(len(want)) {
		t.Fatalf("%d records, should be %d", n, len(want))
	}
}

// compare fails unless got is want.
func compare(t *testing.T, got, want []seen) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("record %d is %+v and should be %+v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d records and should be %d", len(got), len(want))
	}
}

func testSeveralBatches(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	var call []byte
	for i := range 5 {
		call = append(call, records(0, fmt.Sprint(i), fmt.Sprint(i, "+"))...)
	}
	base := add(t, l, call)
	got := bodies(t, l, base)
	if len(got) != 10 || got[0].offset != base {
		t.Fatalf("read %+v", got)
	}
	for i := 1; i < len(got); i++ {
		if got[i].offset <= got[i-1].offset {
			t.Fatalf("offsets do not grow: %+v", got)
		}
	}
	if got[9].body != "4+" {
		t.Fatalf("last is %+v", got[9])
	}
}

func testAppendCopies(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	data := records(0, "mine")
	base := add(t, l, data)
	clear(data)
	if got := bodies(t, l, base); len(got) != 1 || got[0].body != "mine" {
		t.Fatalf("read %+v", got)
	}
}

func testConcurrentAppends(t *testing.T, fresh Opener) {
	const writers, each = 8, 50
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				if _, err := l.Append(records(0, fmt.Sprintf("%d %d", w, i), "x")); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	commit(t, s, l)
	next := map[int]int{}
	start, _ := bounds(t, l)
	all := bodies(t, l, start)
	if len(all) != 2*writers*each {
		t.Fatalf("%d records", len(all))
	}
	for i := 0; i < len(all); i += 2 {
		var w, n int
		if _, err := fmt.Sscan(all[i].body, &w, &n); err != nil || all[i+1].body != "x" {
			t.Fatalf("record %+v followed by %+v", all[i], all[i+1])
		}
		if next[w] != n {
			t.Fatalf("writer %d: %d came before %d", w, n, next[w])
		}
		next[w]++
	}
}

func testLogSurvives(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, topic("t"))
	start, _ := bounds(t, l)
	for i := range 100 {
		add(t, l, numbered(int64(i), 10, 500))
	}
	want := bodies(t, l, start)
	commit(t, s, l)
	_, end := bounds(t, l)
	id := l.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	l = reopen(t, s, id, topic("t"))
	if from, to := bounds(t, l); from != start || to != end {
		t.Fatalf("bounds are [%d,%d) and should be [%d,%d)", from, to, start, end)
	}
	compare(t, bodies(t, l, start), want)
}

func testOffsetsGoOn(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, topic("t"))
	id := l.ID()
	last := message.NoOffset
	for i := range 4 {
		for k := range 3 {
			base := add(t, l, records(0, fmt.Sprint(i, k)))
			if base <= last {
				t.Fatalf("offset %d after %d", base, last)
			}
			last = base
		}
		shut(t, s)
		s = fresh()
		l = reopen(t, s, id, topic("t"))
	}
	if got := bodies(t, l, 0); len(got) != 12 {
		t.Fatalf("%d records", len(got))
	}
	shut(t, s)
}

func testTransient(t *testing.T, fresh Opener) {
	s := fresh()
	o := queue("q")
	o.Transient = true
	l := open(t, s, o)
	base := add(t, l, records(0, "a", "b"))
	commit(t, s, l)
	if got := bodies(t, l, base); len(got) != 2 {
		t.Fatalf("read %+v", got)
	}
	l.Progress(base, base+1)
	id := l.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	wantNothing(t, reopen(t, s, id, o))
}

// wantNothing fails unless the log is empty, or is not there any more.
func wantNothing(t *testing.T, l store.Log) {
	t.Helper()
	if start, end, err := l.Bounds(); err != nil && !errors.Is(err, store.ErrNotFound) || start != end {
		t.Fatalf("bounds are [%d,%d), %v", start, end, err)
	}
}

func testTruncate(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	var bases []message.Offset
	for i := range 40 {
		bases = append(bases, add(t, l, numbered(int64(i), 5, 2000)))
	}
	_, end := bounds(t, l)
	for _, at := range []int{0, 1, 20, 39} {
		if err := l.Truncate(ctx, bases[at]); err != nil {
			t.Fatalf("Truncate(%d): %v", bases[at], err)
		}
		if start, to := bounds(t, l); start != bases[at] || to != end {
			t.Fatalf("bounds are [%d,%d), should be [%d,%d)", start, to, bases[at], end)
		}
		if got := bodies(t, l, bases[at]); len(got) != 5*(40-at) {
			t.Fatalf("%d records from %d", len(got), bases[at])
		}
	}
	_, err := l.Read(bases[3], 1)
	wantError(t, "read below the start", err, store.ErrOutOfRange)
	if err := l.Truncate(ctx, end); err != nil {
		t.Fatalf("Truncate(%d): %v", end, err)
	}
	if got := readAll(t, l, end, 1); len(got) != 0 {
		t.Fatalf("%d batches at the end", len(got))
	}
	if base := add(t, l, records(0, "on")); base < end {
		t.Fatalf("offset %d after %d", base, end)
	}
}

func testTruncateSurvives(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, topic("t"))
	add(t, l, numbered(0, 10, 10))
	base := add(t, l, numbered(0, 10, 10))
	if err := l.Truncate(ctx, base); err != nil {
		t.Fatalf("Truncate: %v", err)
	}
	id := l.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	if start, _ := bounds(t, reopen(t, s, id, topic("t"))); start != base {
		t.Fatalf("start is %d and should be %d", start, base)
	}
}

func testRelease(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("q"))
	var bases []message.Offset
	for i := range 60 {
		bases = append(bases, add(t, l, numbered(int64(i), 10, 1000)))
	}
	full := l.Figures().Bytes
	for _, at := range []int{10, 30, 59} {
		l.Release(bases[at])
		if start, _ := bounds(t, l); start > bases[at] {
			t.Fatalf("start is %d, above the floor %d", start, bases[at])
		}
		if got := bodies(t, l, bases[at]); len(got) != 10*(60-at) {
			t.Fatalf("%d records from the floor", len(got))
		}
	}
	eventually(t, "the consumed segments to go", func() bool {
		now := l.Figures().Bytes
		return now < full/2
	})
}

func testReleaseAll(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("q"))
	for i := range 50 {
		base := add(t, l, numbered(int64(i), 10, 1000))
		if got := bodies(t, l, base); len(got) != 10 {
			t.Fatalf("%d records at %d", len(got), base)
		}
		_, end := bounds(t, l)
		l.Release(end)
		if start, to := bounds(t, l); start > end || to != end {
			t.Fatalf("bounds are [%d,%d) after release of %d", start, to, end)
		}
	}
}

func testTopicRelease(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	start, _ := bounds(t, l)
	for i := range 30 {
		add(t, l, numbered(int64(i), 10, 1000))
	}
	_, end := bounds(t, l)
	l.Release(end)
	if from, _ := bounds(t, l); from != start {
		t.Fatalf("start moved to %d", from)
	}
	if got := bodies(t, l, start); len(got) != 300 {
		t.Fatalf("%d records", len(got))
	}
}

func testDelete(t *testing.T, fresh Opener) {
	s := fresh()
	l, kept := open(t, s, topic("gone")), open(t, s, topic("kept"))
	base := add(t, l, records(0, "x"))
	add(t, kept, records(0, "y"))
	view, err := readSoon(l, base, 1<<20)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if err := s.DeleteLog(t.Context(), l.ID()); err != nil {
		t.Fatalf("DeleteLog: %v", err)
	}
	if len(view.Raw()) == 0 {
		t.Fatal("the view is empty")
	}
	view.Done()
	if _, err := l.Append(records(0, "z")); err == nil {
		t.Fatal("append to a deleted log worked")
	}
	if err := s.DeleteLog(t.Context(), l.ID()); err != nil {
		t.Fatalf("second DeleteLog: %v", err)
	}
	gone, there := l.ID(), kept.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	if got := bodies(t, reopen(t, s, there, topic("kept")), 0); len(got) != 1 {
		t.Fatalf("the other log has %+v", got)
	}
	wantNothing(t, reopen(t, s, gone, topic("gone")))
}

func testOpenTwice(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	again := reopen(t, s, l.ID(), queue("t"))
	if l != again {
		t.Fatal("two different logs")
	}
}

func testWatch(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("q"))
	woken := make(chan struct{}, 1)
	stop := l.Watch(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer stop()
	for i := range 20 {
		add(t, l, records(0, fmt.Sprint(i)))
		select {
		case <-woken:
		case <-time.After(10 * time.Second):
			t.Fatalf("append %d woke nobody", i)
		}
	}
}

func testWatchEnd(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	add(t, l, records(0, "a"))
	var heard atomic.Int64
	defer l.Watch(func() { heard.Add(1) })()
	if err := l.Truncate(ctx, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word of the truncation", func() bool { return heard.Load() > 0 })
	heard.Store(0)
	if err := s.DeleteLog(t.Context(), l.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word of the deletion", func() bool { return heard.Load() > 0 })
}

func testWatchStop(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("q"))
	var first, second atomic.Int64
	stop := l.Watch(func() { first.Add(1) })
	defer l.Watch(func() { second.Add(1) })()
	add(t, l, records(0, "a"))
	eventually(t, "both to wake", func() bool { return first.Load() > 0 && second.Load() > 0 })
	stop()
	stop()
	before, other := first.Load(), second.Load()
	add(t, l, records(0, "b"))
	eventually(t, "the other to wake", func() bool { return second.Load() > other })
	if first.Load() != before {
		t.Fatal("woken after stop")
	}
}

func testSize(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	for i := range 20 {
		add(t, l, numbered(int64(i), 10, 1000))
	}
	f := l.Figures()
	bytes, segments := f.Bytes, f.Segments
	if bytes < 20*10*1000 || segments < 1 {
		t.Fatalf("%d bytes in %d segments", bytes, segments)
	}
}

func testNoBatch(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	base := add(t, l, records(0, "a"))
	_, end := bounds(t, l)
	if _, err := l.Append(records(0, "cut")[:40]); err == nil {
		t.Fatal("an append of half a batch worked")
	}
	if _, now := bounds(t, l); now != end {
		t.Fatalf("end moved from %d to %d", end, now)
	}
	if next := add(t, l, records(0, "b")); next < end {
		t.Fatalf("offset %d is below %d", next, end)
	}
	if got := bodies(t, l, base); len(got) != 2 {
		t.Fatalf("read %+v", got)
	}
}

// eventually polls, because a backend may do a thing behind the call.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
