package storetest

import (
	"bytes"
	"testing"

	"github.com/leveret-mq/leveret/store"
)

// testState holds that what an owner keeps beside a log comes back after a restart, or
// not at all.
func testState(t *testing.T, fresh Opener) {
	s := fresh()
	l, other := open(t, s, queue("l")), open(t, s, queue("other"))
	if data, err := l.LoadState(ctx, "thing"); err != nil || len(data) > 0 {
		t.Fatalf("state of a new log: %q, %v", data, err)
	}
	for _, data := range [][]byte{[]byte("first"), bytes.Repeat([]byte("x"), 100_000), []byte("last")} {
		if err := l.SaveState(ctx, "thing", data); err != nil {
			t.Fatalf("SaveState: %v", err)
		}
	}
	kept, err := l.LoadState(ctx, "thing")
	if err != nil || len(kept) > 0 && string(kept) != "last" {
		t.Fatalf("state %q, %v", kept, err)
	}
	if data, err := other.LoadState(ctx, "thing"); err != nil || len(data) > 0 {
		t.Fatalf("another log's state: %q, %v", data, err)
	}
	shut(t, s)
	l = reopen(t, fresh(), l.ID(), queue("l"))
	if data, err := l.LoadState(ctx, "thing"); err != nil || !bytes.Equal(data, kept) {
		t.Fatalf("after a restart %q, %v", data, err)
	}
	if start, end := bounds(t, l); start != end {
		t.Fatalf("bounds [%d, %d)", start, end)
	}
}

// testFigures holds that figures are right without opening anything.
func testFigures(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, queue("l"))
	if f := l.Figures(); f != (store.Figures{Certain: true}) {
		t.Fatalf("of a new log %+v", f)
	}
	add(t, l, records(0, "a"))
	second := add(t, l, records(0, "b", "c"))
	commit(t, s, l)
	if err := l.Progress(second, second+1); err != nil {
		t.Fatalf("Progress: %v", err)
	}
	l.Release(second)
	want := l.Figures()
	if _, end := bounds(t, l); want.End != end || want.Waiting != 2 || !want.Certain {
		t.Fatalf("figures %+v", want)
	}
	shut(t, s)
	l = reopen(t, fresh(), l.ID(), queue("l"))
	if f := l.Figures(); f.Certain && (f.Waiting != want.Waiting || f.End != want.End) {
		t.Fatalf("after a restart %+v, before %+v", f, want)
	}
}
