package storetest

import (
	"testing"
	"time"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// testThin gives up all but a few messages. What stays must be there with its
// offset, at once and after a restart; what goes may be there or not, but never
// as something else.
func testThin(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, queue("q"))
	var all []seen
	for i := range 200 {
		add(t, l, numbered(int64(i), 10, 100))
	}
	all = bodies(t, l, 0)
	commit(t, s, l)
	_, end := bounds(t, l)
	full := l.Figures().Bytes
	wanted := []int{0, 777, 778, 1500, len(all) - 1}
	keep := func(first, last message.Offset) bool {
		for _, i := range wanted {
			if all[i].offset >= first && all[i].offset <= last {
				return true
			}
		}
		return false
	}
	view, err := readSoon(l, all[300].offset, 1)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	held := string(view.Raw())
	for range 3 { // more often changes nothing
		if err := l.Thin(end, keep); err != nil {
			t.Fatalf("Thin: %v", err)
		}
		s.Commit([]store.Log{l}, func(error) {})
	}
	if string(view.Raw()) != held {
		t.Error("a view changed while it was held")
	}
	view.Done()
	if size := l.Figures().Bytes; size > full {
		t.Errorf("%d bytes are more than the %d before", size, full)
	}
	check := func(l store.Log) {
		t.Helper()
		start, to := bounds(t, l)
		if start != 0 || to < end {
			t.Errorf("bounds are [%d,%d), were [0,%d)", start, to, end)
		}
		got := bodies(t, l, 0)
		left := map[message.Offset]string{}
		for i, r := range got {
			if left[r.offset] = r.body; i > 0 && r.offset <= got[i-1].offset {
				t.Fatalf("offset %d comes after %d", r.offset, got[i-1].offset)
			}
		}
		for _, r := range all {
			if body, ok := left[r.offset]; ok && body != r.body {
				t.Fatalf("record %d is %q and should be %q", r.offset, body, r.body)
			}
			delete(left, r.offset)
		}
		if len(left) > 0 {
			t.Errorf("%d records were never stored", len(left))
		}
		for _, i := range wanted {
			if b := bodies(t, l, all[i].offset); len(b) == 0 || b[0] != all[i] {
				t.Errorf("record %d is lost", all[i].offset)
			}
		}
		if n := count(t, l, 0, to); n != int64(len(got)) {
			t.Errorf("%d records are counted, %d read", n, len(got))
		}
		if at, ms, ok, err := l.OffsetForTime(ctx, 150); err != nil || !ok || at > all[len(all)-1].offset || ms < 150 {
			t.Errorf("time 150 is at %d, %d, %v, %v", at, ms, ok, err)
		}
	}
	check(l)
	id := l.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	l = reopen(t, s, id, queue("q"))
	check(l)
	if base := add(t, l, records(0, "next")); base < end {
		t.Errorf("the next offset is %d, below the end %d", base, end)
	}
}

func testThinElsewhere(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	aged := queue("aged")
	aged.Retention.Age = time.Hour
	for _, o := range []store.LogOptions{topic("topic"), aged} {
		l := open(t, s, o)
		for i := range 100 {
			add(t, l, numbered(time.Now().UnixMilli()+int64(i), 10, 100))
		}
		commit(t, s, l)
		_, end := bounds(t, l)
		if err := l.Thin(end, func(first, last message.Offset) bool { return false }); err != nil {
			t.Fatalf("Thin: %v", err)
		}
		if n := len(bodies(t, l, 0)); n != 1000 {
			t.Errorf("%s: %d of 1000 records are left", o.Name, n)
		}
	}
}
