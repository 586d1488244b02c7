package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
)

func TestOfAKeyTheNewestRecordIsRead(t *testing.T) {
	c := newCoordinator(t, Options{})
	commit := func(topic string, offset int64) {
		t.Helper()
		if code := c.Commit(nil, Identity{Group: "g", Generation: -1}, []Position{{Topic: topic, Offset: Offset{Offset: offset}}}); code != wire.None {
			t.Fatal(code)
		}
	}
	commit("before", 1)
	l := c.OffsetLog()
	if l != c.OffsetLog() {
		t.Fatal("there are two")
	}
	woken := 0
	stop := l.Watch(func() { woken++ })
	n := OffsetPartition("g")
	start, _ := l.Bounds(n)
	for i := range 1000 {
		commit("often", int64(i))
	}
	stop()
	commit("last", 3)
	from, end := l.Bounds(n)
	if woken != 1000 || from != start || end != start+1003 { // with the group itself
		t.Errorf("woken %d times, %d to %d", woken, from-start, end-start)
	}
	list := l.Read(n, start, 1<<20)
	if len(list) != 4 || list[2].Offset != end-2 || list[3].Offset != end-1 {
		t.Fatalf("%d records: %+v", len(list), list)
	}
	if p := &l.parts[n]; len(p.records) > 300 {
		t.Errorf("%d records are held", len(p.records))
	}
	if got := l.Read(n, end-1, 1); len(got) != 1 || got[0].Offset != end-1 {
		t.Errorf("%+v", got)
	}
	if got := l.Read(n, end, 1); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if code := c.Delete(nil, "g"); code != wire.None {
		t.Fatal(code)
	}
	for _, r := range l.Read(n, start, 1<<20) {
		if r.Value != nil {
			t.Errorf("%q is gone: %+v", r.Key, r)
		}
	}
}

// TestGroupsThatComeAndGoLeaveNothing behind, once it was told for long enough that they are gone.
func TestGroupsThatComeAndGoLeaveNothing(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		l := c.OffsetLog()
		for i := range 4 * 5000 {
			name := fmt.Sprint("g", i)
			if code := c.Commit(nil, Identity{Group: name, Generation: -1}, []Position{{Topic: "t"}}); code != wire.None {
				t.Fatal(code)
			}
			if code := c.Delete(nil, name); code != wire.None {
				t.Fatal(code)
			}
			time.Sleep(4 * keptTombstones / (4 * 5000))
		}
		for i := range l.parts { // each has 100 groups a day, of two keys
			p := &l.parts[i]
			if len(p.records) > 1000 || len(p.newest) > len(p.records) {
				t.Fatalf("partition %d has %d records of %d keys", i, len(p.records), len(p.newest))
			}
		}
	})
}
