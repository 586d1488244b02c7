package storetest

import (
	"errors"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Damager spoils what an open store keeps, behind its back. It ends the test when
// it can't.
type Damager interface {
	// Cut takes some of the log's data away, at least a tenth and at most a half, and
	// returns how much.
	Cut(l store.Log) (bytes int)
	// Garble writes garbage over some 10 KB of the log's data, and not at its end.
	Garble(l store.Log)
	// CutCursor takes the log's cursor away.
	CutCursor(l store.Log)
}

// RunFaults runs what a store must do that keeps its data in files of this
// machine, when they are damaged while it is open. fresh is called once a test.
func RunFaults(t *testing.T, fresh func(t *testing.T) (Opener, Damager)) {
	for name, test := range faultTests {
		t.Run("fault/"+name, func(t *testing.T) {
			open, d := fresh(t)
			test(t, open, d)
		})
	}
}

var faultTests = map[string]func(*testing.T, Opener, Damager){
	"a view that can't be read is an error of its log":     testCutUnderView,
	"a log that was cut goes on with what is left":         testCutReadsOn,
	"garbage under a reader is skipped, not read":          testGarbled,
	"a look-up over bytes that can't be read is an error":  testCutLookup,
	"a cursor that can't be written makes its log say so":  testCutCursor,
	"appends over bytes that are gone make the log say so": testCutAppend,
}

// fill appends n batches of about 3 KB, at times from 1000 on.
func fill(t *testing.T, l store.Log, n int) {
	t.Helper()
	for i := range n {
		add(t, l, numbered(1000+int64(i), 3, 1000))
	}
}

// roomy are the options of a log that fits one segment.
func roomy(name string) store.LogOptions {
	return store.LogOptions{Name: name, SegmentBytes: 4 << 20}
}

// wantFine fails unless the log takes and gives messages.
func wantFine(t *testing.T, s store.Store, l store.Log) {
	t.Helper()
	base := add(t, l, records(0, "fine"))
	commit(t, s, l)
	if got := bodies(t, l, base); len(got) != 1 || got[0].body != "fine" {
		t.Fatalf("another log gave %v", got)
	}
	if err := l.Err(); err != nil {
		t.Fatalf("another log: %v", err)
	}
}

// wantFailed fails unless the log is read-only with a reason.
func wantFailed(t *testing.T, l store.Log) {
	t.Helper()
	wantError(t, "Err", l.Err(), store.ErrReadOnly)
	_, err := l.Append(records(0, "more"))
	wantError(t, "Append", err, store.ErrReadOnly)
}

func testCutUnderView(t *testing.T, fresh Opener, d Damager) {
	s := fresh()
	defer shut(t, s)
	l, other := open(t, s, roomy("cut")), open(t, s, roomy("other"))
	fill(t, l, 100)
	views := borrow(t, l)
	for _, v := range views {
		defer v.Done()
		if err := v.Check(); err != nil {
			t.Fatalf("Check of a good view: %v", err)
		}
	}
	d.Cut(l)
	var failed error
	for _, v := range views {
		read, sum := 0, 0
		err := v.Use(func(data []byte) error {
			for i := range data {
				sum += int(data[i])
				read++
			}
			return nil
		})
		t.Logf("%d bytes read, of the sum %d", read, sum)
		if bad := read < v.Len(); bad != (err != nil) || bad != (v.Check() != nil) {
			t.Fatalf("%d of %d bytes were read: %v; Check: %v", read, v.Len(), err, v.Check())
		}
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		t.Fatal("everything can be read")
	}
	wantFailed(t, l)
	wantFine(t, s, other)
}

// borrow takes views of the whole log.
func borrow(t *testing.T, l store.Log) (views []store.View) {
	t.Helper()
	from, end := bounds(t, l)
	for from < end {
		v, err := l.Read(from, 1<<20)
		if err == nil {
			views = append(views, v)
			err = v.Use(func(data []byte) error {
				for len(data) > 0 {
					var b batch.Batch
					var err error
					if b, data, err = batch.Next(data); err != nil {
						return err
					}
					from = message.Offset(b.LastOffset()) + 1
				}
				return nil
			})
		}
		if err != nil {
			t.Fatalf("Read(%d): %v", from, err)
		}
	}
	return views
}

// readOn reads the whole log, over errors, and returns what came.
func readOn(t *testing.T, l store.Log) (got []seen, failures int) {
	t.Helper()
	from, end := bounds(t, l)
	for from < end && failures < 5 {
		view, err := readSoon(l, from, 16<<10)
		if err == nil && view.Len() == 0 {
			view.Done()
			break
		}
		if err == nil {
			err = view.Use(func(data []byte) error {
				for len(data) > 0 {
					var b batch.Batch
					var err error
					if b, data, err = batch.Next(data); err == nil {
						err = b.Check()
					}
					if err != nil {
						return err
					}
					got = append(got, decode(t, append(batch.Batch(nil), b...))...)
					from = message.Offset(b.LastOffset()) + 1
				}
				return nil
			})
			view.Done()
		}
		if err != nil {
			failures++
		}
	}
	return got, failures
}

func testCutReadsOn(t *testing.T, fresh Opener, d Damager) {
	s := fresh()
	defer shut(t, s)
	l, other := open(t, s, roomy("cut")), open(t, s, roomy("other"))
	fill(t, l, 100)
	lost := d.Cut(l)
	got, failures := readOn(t, l)
	if failures == 0 || failures > 1 {
		t.Errorf("%d reads failed, want the first that met the end", failures)
	}
	if want := 300 - lost/1000; len(got) < want-9 || len(got) > want+9 {
		t.Errorf("%d of 300 records of 1 KB were read, and %d bytes are gone", len(got), lost)
	}
	for i, r := range got {
		if i > 0 && r.offset <= got[i-1].offset {
			t.Errorf("%d came behind %d", r.offset, got[i-1].offset)
		}
	}
	wantFailed(t, l)
	wantFine(t, s, other)
}

func testGarbled(t *testing.T, fresh Opener, d Damager) {
	s := fresh()
	defer shut(t, s)
	l, other := open(t, s, roomy("garbled")), open(t, s, roomy("other"))
	fill(t, l, 100)
	d.Garble(l)
	got, failures := readOn(t, l)
	if failures != 1 {
		t.Errorf("%d reads failed, want the one that met the garbage", failures)
	}
	if len(got) < 300-30 || len(got) >= 300-6 {
		t.Errorf("%d of 300 records were read, and the garbage covers about 10", len(got))
	}
	wantFailed(t, l)
	wantFine(t, s, other)
}

func testCutLookup(t *testing.T, fresh Opener, d Damager) {
	s := fresh()
	defer shut(t, s)
	l, other := open(t, s, roomy("cut")), open(t, s, roomy("other"))
	fill(t, l, 100)
	d.Cut(l)
	if _, _, _, err := l.OffsetForTime(ctx, 1002); err != nil {
		t.Errorf("a look-up in what is left: %v", err)
	}
	failed := false
	for ms := range int64(100) {
		_, _, _, err := l.OffsetForTime(ctx, 1000+ms)
		failed = failed || err != nil
	}
	if failed { // the first that met the end; a store with an index need not meet it
		wantFailed(t, l)
	}
	wantFine(t, s, other)
}

func testCutAppend(t *testing.T, fresh Opener, d Damager) {
	s := fresh()
	defer shut(t, s)
	l, other := open(t, s, roomy("cut")), open(t, s, roomy("other"))
	fill(t, l, 100)
	d.Cut(l)
	var err error
	for range 100 {
		if _, err = l.Append(records(0, string(make([]byte, 1000)))); err != nil {
			break
		}
	}
	if err != nil { // a store that writes by system calls fills the hole
		wantFailed(t, l)
	}
	wantFine(t, s, other)
}

func testCutCursor(t *testing.T, fresh Opener, d Damager) {
	s := fresh()
	defer shut(t, s)
	l, other := open(t, s, roomy("cut")), open(t, s, roomy("other"))
	fill(t, l, 10)
	l.Progress(1, 2)
	d.CutCursor(l)
	l.Progress(3, 5)
	if err := l.SaveCursor(ctx, []byte("state"), 0, 0); err == nil && l.Err() == nil {
		t.Error("a cursor that is gone was written")
	}
	if err := l.Err(); err != nil && !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Err: %v", err)
	}
	other.Progress(0, 1)
	wantFine(t, s, other)
}
