package broker

import (
	"testing"

	"github.com/leveret-mq/leveret/message"
)

func TestFetchGivesWholeBatchesWithinItsLimits(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	part := q.Partitions()[0]
	var size int
	for range 5 {
		b := produced(-1, -1, -1, "a", "b")
		size = len(b)
		if _, err := r.s.Produce(part, b); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		from    message.Offset
		max     int
		whole   bool
		batches int
		err     Kind
	}{
		{"everything", 0, 1 << 20, false, 5, 0},
		{"from within a batch", 3, 1 << 20, false, 4, 0},
		{"the end", 10, 1 << 20, false, 0, 0},
		{"behind the end", 11, 1 << 20, false, 0, OutOfRange},
		{"before the start", -1, 1 << 20, false, 0, OutOfRange},
		{"two", 0, 2*size + 1, false, 2, 0},
		{"less than one", 0, size - 1, false, 0, 0},
		{"less than one, whole", 0, size - 1, true, 1, 0},
		{"one and a half, whole", 0, size + size/2, true, 1, 0},
		{"nothing", 0, 0, false, 0, 0},
		{"nothing, whole", 0, 0, true, 1, 0},
	} {
		got, list, err := r.s.Fetch(part, Fetch{From: c.from, MaxBytes: c.max, Whole: c.whole}, nil)
		if KindOf(err) != c.err {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Bytes != c.batches*size || got.Records != int64(2*c.batches) || (c.batches > 0) != (len(list) > 0) {
			t.Errorf("%s: %+v in %d runs, want %d batches of %d bytes", c.name, got, len(list), c.batches, size)
		}
		if err == nil && (got.Start != 0 || got.End != 10) {
			t.Errorf("%s: the log is %d to %d", c.name, got.Start, got.End)
		}
		for i := range list {
			list[i].Release()
		}
	}
	if _, err := r.s.DeleteQueue("t", false, false); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.s.Fetch(part, Fetch{MaxBytes: 1 << 20}, nil)
	kind(t, err, NotFound)
}

func TestTruncateMovesATopicsStart(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	part := q.Partitions()[0]
	for range 3 {
		if _, err := r.s.Produce(part, produced(-1, -1, -1, "a", "b")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		before, start message.Offset
		err           Kind
	}{{0, 0, 0}, {3, 3, 0}, {2, 3, 0}, {7, 0, OutOfRange}, {-1, 6, 0}, {6, 6, 0}} {
		if start, err := r.s.Truncate(part, c.before); start != c.start || KindOf(err) != c.err {
			t.Errorf("before %d: starts at %d, %v; want %d", c.before, start, err, c.start)
		}
	}
	if start, end, err := r.s.Bounds(part); start != 6 || end != 6 || err != nil {
		t.Error(start, end, err)
	}
	work := r.queue("q", QueueOptions{})
	_, err = r.s.Truncate(work.Partitions()[0], -1)
	kind(t, err, Precondition)
}
