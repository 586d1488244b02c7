package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/store"
)

// testCompact drops every third batch and changes every fifth of those that are left. A store that compacts by itself lists no
// segments, and leaves all as it is.
func testCompact(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, topic("t"))
	for i := range 200 {
		add(t, l, numbered(int64(i), 10, 100))
	}
	all := bodies(t, l, 0)
	commit(t, s, l)
	if err := l.EndSegment(time.Now().Add(time.Hour)); err != nil {
		t.Fatalf("EndSegment: %v", err)
	}
	list, err := l.Segments()
	if err != nil {
		t.Fatalf("Segments: %v", err)
	}
	start, end := bounds(t, l)
	compacts := len(list) > 0
	reaches := start
	for _, one := range list {
		if one.Start != reaches || one.End <= one.Start || one.Bytes <= 0 || one.Begun.IsZero() {
			t.Errorf("segment %+v, the one before ends at %d", one, reaches)
		}
		reaches = one.End
	}
	if compacts && reaches != end {
		t.Errorf("the segments end at %d, the log at %d", reaches, end)
	}
	// What each batch is to be is told by its number, so that doing it again changes nothing.
	gone := func(b batch.Batch) bool { return b.MaxTimestamp()%3 == 0 }
	edit := func(b batch.Batch) (batch.Batch, error) {
		switch {
		case gone(b):
			return nil, nil
		case b.MaxTimestamp()%5 != 0:
			return b, nil
		}
		out := batch.Batch(bytes.Clone(b))
		out.Seal(batch.Header{LastOffsetDelta: b.LastOffsetDelta(), BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
			ProducerID: 7, ProducerEpoch: 1, BaseSequence: 2, Count: b.Count()})
		out.SetBaseOffset(b.BaseOffset())
		return out, nil
	}
	stop := errors.New("enough")
	asked := 0
	if _, err := l.Compact(end, func(b batch.Batch) (batch.Batch, error) {
		if asked++; asked > 50 {
			return nil, stop
		}
		return edit(b)
	}); compacts && !errors.Is(err, stop) {
		t.Errorf("an edit that gives up: %v", err)
	}
	view, err := readSoon(l, all[300].offset, 1)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	held := string(view.Raw())
	for range 2 {
		reached, err := l.Compact(end, edit)
		if err != nil || compacts && reached < end {
			t.Fatalf("Compact: up to %d of %d, %v", reached, end, err)
		}
	}
	if string(view.Raw()) != held {
		t.Error("a view changed while it was held")
	}
	view.Done()
	check := func(l store.Log) {
		t.Helper()
		if a, b := bounds(t, l); a != start || b < end {
			t.Errorf("bounds are [%d,%d), were [%d,%d)", a, b, start, end)
		}
		var want []seen
		for i, one := range all {
			if i/10%3 != 0 || !compacts {
				want = append(want, one)
			}
		}
		compare(t, bodies(t, l, 0), want)
		if n := count(t, l, 0, end); n != int64(len(want)) {
			t.Errorf("%d records are counted, %d are there", n, len(want))
		}
		for _, b := range readAll(t, l, 0, 1<<20) {
			if is := b.ProducerID() == 7; b.Count() > 0 && compacts && is != (b.MaxTimestamp()%5 == 0) {
				t.Errorf("batch %d is of producer %d", b.BaseOffset(), b.ProducerID())
			}
		}
	}
	check(l)
	id := l.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	l = reopen(t, s, id, topic("t"))
	check(l)
	if base := add(t, l, records(0, "next")); base < end {
		t.Errorf("the next offset is %d, below the end %d", base, end)
	}
	if got := bodies(t, l, 0); got[len(got)-1].body != "next" {
		t.Errorf("the last record is %q", fmt.Sprint(got[len(got)-1]))
	}
}
