package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

func fixedNow() time.Time { return time.UnixMilli(1_700_000_000_000) }

// openStore opens a store that the test closes if nobody else does.
func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newTestLog makes a log with a new id.
func newTestLog(t testing.TB, s *Store, o store.LogOptions) *Log {
	t.Helper()
	return openTestLog(t, s, newID(t, s), o)
}

// ctx is for calls that nobody gives up.
var ctx = context.Background()

func newID(t testing.TB, s *Store) store.LogID {
	t.Helper()
	ids, err := s.NewLogs(ctx, store.LogOptions{}, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	return ids[0]
}

// bounds are the log's.
func bounds(t testing.TB, l store.Log) (start, end message.Offset) {
	t.Helper()
	start, end, err := l.Bounds()
	if err != nil {
		t.Fatal(err)
	}
	return start, end
}

func openTestLog(t testing.TB, s *Store, id store.LogID, o store.LogOptions) *Log {
	t.Helper()
	l, err := s.OpenLog(id, o)
	if err != nil {
		t.Fatal(err)
	}
	return l.(*Log)
}

// appendTo is Append with the offset that this store knows at once.
func appendTo(l store.Log, data []byte) (message.Offset, error) {
	at, err := l.Append(data)
	base, _ := at.Known()
	return base, err
}

// count counts records.
func count(t testing.TB, l store.Log, from, to message.Offset) int64 {
	t.Helper()
	n, err := l.Records(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustAppend(t testing.TB, l *Log, data []byte) message.Offset {
	t.Helper()
	at, err := l.Append(data)
	if err != nil {
		t.Fatal(err)
	}
	base, _ := at.Known()
	return base
}

func putOne(s *Store, key string) error {
	table, err := s.Table(ctx, "defs")
	if err != nil {
		return err
	}
	return table.Put(ctx, store.Entry{Key: key, Value: []byte("v")})
}

func defsOf(t *testing.T, tb store.Table) *table {
	t.Helper()
	own, ok := tb.(*table)
	if !ok {
		t.Fatalf("a table of type %T", tb)
	}
	return own
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir, Logger: quiet})
	if !errors.Is(err, fs.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, Options{Dir: dir})
}

// TestLayoutOnDisk is what a start makes of the format file it finds.
func TestLayoutOnDisk(t *testing.T) {
	for name, c := range map[string]struct {
		format string // "-": no such file
		queues bool
		want   error
	}{
		"new directory":           {format: "-"},
		"ours":                    {format: string(encodeLayout(1)), queues: true},
		"newer":                   {format: string(encodeLayout(2)), want: ErrVersion},
		"damaged":                 {format: "leveret layout 1 0000\n", want: ErrCorrupt},
		"empty":                   {format: "", want: ErrCorrupt},
		"missing, but queues are": {format: "-", queues: true, want: ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.format != "-" {
				if err := os.WriteFile(filepath.Join(dir, layoutName), []byte(c.format), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.queues {
				if err := os.Mkdir(filepath.Join(dir, queuesName), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(Options{Dir: dir, Logger: quiet})
			if !errors.Is(err, c.want) {
				t.Fatalf("Open: %v and should be %v", err, c.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), dir) {
					t.Errorf("the error does not name the directory: %v", err)
				}
				return
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{{}, {Dir: t.TempDir(), Mode: 77}} {
		if s, err := Open(o); err == nil {
			_ = s.Close()
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestIdleLogsTouchNoFile holds that defining, asking and deleting leave the disk alone.
func TestIdleLogsTouchNoFile(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	for i := range 100 {
		l := newTestLog(t, s, store.LogOptions{Name: fmt.Sprint(i), Retention: store.Retention{Consumed: true, Age: time.Hour}})
		bounds(t, l)
		l.Figures()
		l.Records(0, 10)
		l.Release(0)
		l.Progress(0, 0)
		if _, err := l.LoadCursor(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Read(0, 100); err != nil {
			t.Fatal(err)
		}
		if err := l.SaveCursor(ctx, nil, 0, 0); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := s.DeleteLog(t.Context(), l.ID()); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.sweepOnce()
	names, err := os.ReadDir(filepath.Join(dir, queuesName))
	if err != nil || len(names) != 0 {
		t.Fatalf("%d names in %s (%v)", len(names), queuesName, err)
	}
}

func TestIdleLogIsSmall(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir()})
	id := LogNumber(1 << 20)
	o := store.LogOptions{Name: "idle"}
	const bound = 1024
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			id++
			if _, err := s.OpenLog(id.ID(), o); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if got > bound {
		t.Errorf("an idle log takes %d bytes, at most %d", got, bound)
	}
}

func TestTransientDirectoryIsWiped(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	l := newTestLog(t, s, store.LogOptions{Name: "t", Transient: true})
	mustAppend(t, l, batchOf(1, 10))
	if names, err := os.ReadDir(filepath.Join(dir, transientName)); err != nil || len(names) == 0 {
		t.Fatalf("%d names (%v)", len(names), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, Options{Dir: dir})
	if _, err := os.Stat(filepath.Join(dir, transientName)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("transient logs are still there: %v", err)
	}
}

func TestDeletedLogLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	used := newTestLog(t, s, store.LogOptions{Name: "used"})
	mustAppend(t, used, batchOf(10, 100))
	used.Progress(1, 2)
	kept := newTestLog(t, s, store.LogOptions{Name: "kept"})
	mustAppend(t, kept, batchOf(1, 1))
	if err := s.DeleteLog(t.Context(), used.ID()); err != nil {
		t.Fatal(err)
	}
	s.pool.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(used.dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory: %v", err)
	}
	// One that was not opened since the start goes too.
	s = openStore(t, Options{Dir: dir})
	if err := s.DeleteLog(t.Context(), kept.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept.dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the other's directory: %v", err)
	}
}

func TestMetaSaysWhose(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir()})
	o := store.LogOptions{Name: "/vhost with spaces:queue/../x", Mode: store.ModeAlways}
	l := newTestLog(t, s, o)
	mustAppend(t, l, batchOf(1, 1))
	o.Retention.Age = time.Hour
	l.SetOptions(ctx, o)
	data, err := os.ReadFile(filepath.Join(l.dir(), metaName))
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMeta(data)
	if err != nil || m.ID != l.id || m.Options != o {
		t.Fatalf("meta is %+v, %v", m, err)
	}
}

func TestFullDiskIsAnError(t *testing.T) {
	mem := fs.NewMem(1)
	s := openStore(t, Options{Dir: "/data", FS: mem, BootID: "b"})
	l := newTestLog(t, s, store.LogOptions{Name: "q", Retention: store.Retention{Consumed: true}})
	base := mustAppend(t, l, batchOf(10, 100))
	mem.SetCapacity(300 << 10)
	var err error
	var last message.Offset
	for range 1000 {
		var at message.Offset
		if at, err = appendTo(l, batchOf(10, 1000)); err != nil {
			break
		}
		last = at
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("Append on a full disk: %v", err)
	}
	if err := l.Err(); err != nil {
		t.Fatalf("a full disk made the log read-only: %v", err)
	}
	if view, err := l.Read(base, 1); err != nil || len(view.Raw()) == 0 {
		t.Fatalf("what is there can't be read: %v", err)
	} else {
		view.Done()
	}
	mem.SetCapacity(1)
	other := newTestLog(t, s, store.LogOptions{Name: "other"})
	if _, err := other.Append(batchOf(1, 1)); !errors.Is(err, store.ErrFull) {
		t.Fatalf("first append on a full disk: %v", err)
	}
	mem.SetCapacity(0)
	mustAppend(t, l, batchOf(10, 1000))
	mustAppend(t, other, batchOf(1, 1))
	l.Release(last)
}

func TestConsumingGoesOnWhileTheDiskIsFull(t *testing.T) {
	mem := fs.NewMem(1)
	s := openStore(t, Options{Dir: "/data", FS: mem, BootID: "b", RecycleBytes: -1})
	l := newTestLog(t, s, store.LogOptions{Name: "q", Retention: store.Retention{Consumed: true}})
	mem.SetCapacity(1 << 20)
	var err error
	var last message.Offset
	for err == nil {
		var at message.Offset
		if at, err = appendTo(l, batchOf(10, 1000)); err == nil {
			last = at
		}
	}
	mem.SetCapacity(1)       // not even the cursor's page
	l.Progress(0, last)      // its first use
	l.Progress(last, last+1) // consumed all but the end
	if err := l.Err(); err != nil {
		t.Fatalf("the cursor found no space and the log is read-only: %v", err)
	}
	mem.SetCapacity(1 << 20)
	l.Release(last)
	s.pool.Wait() // dropped files are unlinked behind
	mustAppend(t, l, batchOf(10, 1000))
	l.Progress(last+1, last+1)
	if st, err := l.LoadCursor(ctx); err != nil || st.Floor != last+1 {
		t.Fatalf("floor %d, want %d, %v", st.Floor, last+1, err)
	}
}

func TestFilesOfOthersDoNotKeepADirectoryFromOpening(t *testing.T) {
	m := fs.NewMem(1)
	s := openStore(t, Options{FS: m, Dir: "/data"})
	l := newTestLog(t, s, store.LogOptions{Name: "q"})
	mustAppend(t, l, batchOf(1, 10))
	id := l.ID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/data/.DS_Store", "/data/queues/file", "/data/queues/zz", "/data/queues/123"} {
		if err := writeFile(m, filepath.Dir(name), filepath.Base(name), []byte("x"), false); err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, Options{FS: m, Dir: "/data"})
	if start, end := bounds(t, openTestLog(t, s, id, store.LogOptions{Name: "q"})); start != 0 || end != 1 {
		t.Errorf("[%d, %d)", start, end)
	}
}

func TestDamagedIDTableGivesNoOldID(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	l := newTestLog(t, s, store.LogOptions{Name: "q"})
	mustAppend(t, l, batchOf(1, 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, ownTableName, tableName)); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	if id, err := number(newID(t, s)); err != nil || id <= l.id+1_000_000 {
		t.Fatalf("id %d after %d (%v)", id, l.id, err)
	}
}

func TestRecoveryIsReported(t *testing.T) {
	mem := fs.NewMem(1)
	s := openStore(t, Options{Dir: "/data", FS: crashFS{mem}, BootID: "b"})
	l := newTestLog(t, s, store.LogOptions{Name: "orders"})
	for range 10 {
		mustAppend(t, l, batchOf(10, 100))
	}
	s.kill()
	s = openStore(t, Options{Dir: "/data", FS: crashFS{mem}, BootID: "b"})
	if _, end := bounds(t, openTestLog(t, s, l.ID(), store.LogOptions{Name: "orders"})); end != 100 {
		t.Fatalf("end is %d", end)
	}
	lines := strings.Join(s.Stats().Recovered, "\n")
	if !strings.Contains(lines, "orders") {
		t.Fatalf("recovery says %q", lines)
	}
}
