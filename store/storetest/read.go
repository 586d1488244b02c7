package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

var readTests = map[string]func(*testing.T, Opener){
	"begins with the batch that holds the offset":    testReadInside,
	"gives whole batches and at least one":           testReadLimit,
	"out of range is an error":                       testReadRange,
	"an offset in a gap reads on with the next":      testReadEveryOffset,
	"a view outlives truncation":                     testViewOutlives,
	"readers and a writer do not disturb each other": testReadWhileWriting,
	"reads that may not wait agree with others":      testReadNow,
	"records are counted exactly at batch borders":   testRecords,
	"the first batch at or after a time is found":    testOffsetForTime,
}

func testReadInside(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	for range 30 {
		add(t, l, numbered(0, 10, 100))
	}
	start, _ := bounds(t, l)
	for _, b := range readAll(t, l, start, 1<<20) {
		base := message.Offset(b.BaseOffset())
		for _, from := range []message.Offset{base, min(base+1, message.Offset(b.LastOffset())), message.Offset(b.LastOffset())} {
			view, err := readSoon(l, from, 1)
			if err != nil {
				t.Fatalf("Read(%d): %v", from, err)
			}
			got, _, err := batch.Next(view.Raw())
			if err != nil || message.Offset(got.BaseOffset()) != base {
				t.Fatalf("Read(%d) begins with %d and should with %d (%v)", from, got.BaseOffset(), base, err)
			}
			view.Done()
		}
	}
}

// testReadNow holds that what is had without waiting is what Read gives.
func testReadNow(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	for range 30 {
		add(t, l, numbered(0, 10, 100))
	}
	start, end := bounds(t, l)
	for from := start; from <= end; from++ {
		want, err := readSoon(l, from, 1)
		if err != nil {
			t.Fatalf("Read(%d): %v", from, err)
		}
		got, err := l.ReadNow(from, 1)
		switch {
		case err == nil && !bytes.Equal(got.Raw(), want.Raw()):
			t.Fatalf("ReadNow(%d) gives %d bytes, Read %d", from, got.Len(), want.Len())
		case err != nil && !errors.Is(err, store.ErrNotYet):
			t.Fatalf("ReadNow(%d): %v", from, err)
		}
		got.Done()
		want.Done()
		n, err := l.Records(start, from)
		if now, exact := l.RecordsNow(start, from); err != nil || exact && now != n {
			t.Fatalf("RecordsNow(%d) is %d, Records %d, %v", from, now, n, err)
		}
	}
	for _, from := range []message.Offset{start - 1, end + 1} {
		if v, err := l.ReadNow(from, 1); err == nil {
			t.Errorf("ReadNow(%d) gives %d bytes of a log of [%d, %d)", from, v.Len(), start, end)
		}
	}
}

func testReadLimit(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	for i := range 50 {
		add(t, l, numbered(0, 1+i%7, 300))
	}
	start, _ := bounds(t, l)
	for _, limit := range []int{0, 1, 500, 5000, 1 << 20} {
		from, total := start, 0
		for {
			view, err := readSoon(l, from, limit)
			if err != nil {
				t.Fatalf("Read(%d, %d): %v", from, limit, err)
			}
			if len(view.Raw()) == 0 {
				view.Done()
				break
			}
			n := 0
			for rest := view.Raw(); len(rest) > 0; n++ {
				var b batch.Batch
				if b, rest, err = batch.Next(rest); err != nil {
					t.Fatalf("Read(%d, %d): %v", from, limit, err)
				}
				total += int(b.Count())
				from = message.Offset(b.LastOffset()) + 1
			}
			if n > 1 && len(view.Raw()) > limit {
				t.Fatalf("Read(%d, %d) gave %d batches of %d bytes", from, limit, n, len(view.Raw()))
			}
			view.Done()
		}
		if total != 50/7*28+1 {
			t.Fatalf("%d records with a limit of %d", total, limit)
		}
	}
}

func testReadRange(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	add(t, l, numbered(0, 10, 10))
	base := add(t, l, numbered(0, 10, 10))
	_, end := bounds(t, l)
	_, err := l.Read(end+1, 1)
	wantError(t, "read above the end", err, store.ErrOutOfRange)
	if err := l.Truncate(ctx, base); err != nil {
		t.Fatalf("Truncate: %v", err)
	}
	_, err = l.Read(base-1, 1)
	wantError(t, "read below the start", err, store.ErrOutOfRange)
}

func testReadEveryOffset(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	var bases []message.Offset
	for range 20 {
		bases = append(bases, add(t, l, numbered(0, 3, 10)))
	}
	start, end := bounds(t, l)
	for from := start; from < end; from++ {
		got := bodies(t, l, from)
		if len(got) > 0 && got[0].offset < from {
			t.Fatalf("from %d came %d", from, got[0].offset)
		}
		want := 0
		for _, base := range bases {
			want += int(max(0, min(3, base+3-from)))
		}
		if len(got) != want {
			t.Fatalf("%d records from %d and should be %d", len(got), from, want)
		}
	}
}

func testViewOutlives(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("q"))
	first := add(t, l, numbered(0, 10, 1000))
	view, err := readSoon(l, first, 1)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	want := string(view.Raw())
	var last message.Offset
	for range 100 {
		last = add(t, l, numbered(0, 10, 1000))
		l.Release(last)
	}
	if err := l.Truncate(ctx, last); err != nil {
		t.Fatalf("Truncate: %v", err)
	}
	for range 100 {
		add(t, l, numbered(0, 10, 1000))
	}
	if string(view.Raw()) != want {
		t.Fatal("the borrowed bytes changed")
	}
	view.Done()
}

func testReadWhileWriting(t *testing.T, fresh Opener) {
	const batches = 400
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	var group sync.WaitGroup
	group.Go(func() {
		for i := range batches {
			if _, err := l.Append(records(0, fmt.Sprint(i), string(make([]byte, 500)))); err != nil {
				t.Errorf("Append: %v", err)
				return
			}
		}
	})
	for range 3 {
		group.Go(func() { followLog(t, l, batches) })
	}
	group.Wait()
}

// followLog reads until it has seen the bodies "0" to "n-1" in order.
func followLog(t *testing.T, l store.Log, n int) {
	from, _ := bounds(t, l)
	for seen := 0; seen < 2*n && !t.Failed(); {
		view, err := readSoon(l, from, 4096)
		if err != nil {
			t.Errorf("Read(%d): %v", from, err)
			return
		}
		for rest := view.Raw(); len(rest) > 0; {
			var b batch.Batch
			if b, rest, err = batch.Next(rest); err == nil {
				err = b.Check()
			}
			if err != nil {
				t.Errorf("Read(%d): %v", from, err)
				return
			}
			// A store may put the records of several appends into one batch, and those of one
			// append into two: the order of all of them is what holds.
			for _, r := range decode(t, b) {
				if seen%2 == 0 && r.body != fmt.Sprint(seen/2) {
					t.Errorf("batch %d has %.20q and should have %d", b.BaseOffset(), r.body, seen/2)
					return
				}
				seen++
			}
			from = message.Offset(b.LastOffset()) + 1
		}
		view.Done()
	}
}

func testRecords(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	var bases []message.Offset
	for i := range 60 {
		bases = append(bases, add(t, l, numbered(0, 1+i%4, 700)))
	}
	_, end := bounds(t, l)
	bases = append(bases, end)
	for from := 0; from < len(bases); from += 7 {
		want := int64(0)
		for to := from; to < len(bases); to++ {
			if got := count(t, l, bases[from], bases[to]); got != want {
				t.Fatalf("%d records in [%d,%d) and should be %d", got, bases[from], bases[to], want)
			}
			want += int64(1 + to%4)
		}
	}
}

func testOffsetForTime(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, topic("t"))
	bases := map[int64]message.Offset{}
	for i := range int64(100) {
		bases[1000+10*i] = add(t, l, numbered(1000+10*i, 3, 700))
	}
	for _, c := range []struct {
		ms, want int64
		ok       bool
	}{{0, 1000, true}, {1000, 1000, true}, {1001, 1010, true}, {1505, 1510, true}, {1990, 1990, true}, {1991, 0, false}} {
		offset, timestamp, ok, err := l.OffsetForTime(ctx, c.ms)
		if err != nil || ok != c.ok {
			t.Fatalf("OffsetForTime(%d): %t, %v", c.ms, ok, err)
		}
		if ok && (offset != bases[c.want] || timestamp != c.want) {
			t.Fatalf("OffsetForTime(%d) is %d at %d and should be %d at %d", c.ms, offset, timestamp, bases[c.want], c.want)
		}
	}
}
