package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

// usedStore is a directory in memory with two tables and three logs of several segments,
// closed, or killed a moment after a checkpoint.
func usedStore(t *testing.T, end string) (mem *fs.Mem, ids []LogNumber) {
	t.Helper()
	mem = fs.NewMem(1)
	s := openStore(t, Options{Dir: "/data", FS: mem, BootID: "one", SegmentBytes: 64 << 10})
	for _, name := range []string{"defs", "groups"} {
		table, err := s.Table(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "b", "c"} {
			if err := table.Put(ctx, store.Entry{Key: key, Value: []byte("value")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"orders", "bills", "mails"} {
		l := newTestLog(t, s, store.LogOptions{Name: name})
		ids = append(ids, l.id)
		for range 300 {
			mustAppend(t, l, batchOf(1, 1000))
		}
	}
	if end == "closed" {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		s.syncer.flushListed()
		if err := s.checkpoints.write(false); err != nil {
			t.Fatal(err)
		}
		if err := putOne(s, "one more"); err != nil {
			t.Fatal(err)
		}
	}
	if err := mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	return mem.Crash(rand.New(rand.NewPCG(1, 1))), ids
}

func logFile(t *testing.T, fsys fs.FS, id LogNumber, last bool) string {
	t.Helper()
	dir := (&Store{dir: "/data"}).logDir(id, false)
	names, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, name := range names {
		if _, ok := segment.ParseName(name); ok && (found == "" || last) {
			found = filepath.Join(dir, name)
		}
	}
	return found
}

func cutFile(t *testing.T, fsys fs.FS, name string, size int64) {
	t.Helper()
	f, err := fsys.Open(name, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsMissingIsNoticed takes something away from a directory. It must not open, and
// say what is missing, and with Recover it must open and say so as an error.
func TestWhatIsMissingIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name  string
		ends  []string
		take  func(t *testing.T, m *fs.Mem, ids []LogNumber) error
		words string
	}{
		{"a table's file", []string{"closed", "killed"},
			func(_ *testing.T, m *fs.Mem, _ []LogNumber) error { return m.Remove("/data/groups/entries") }, "table groups: its file is gone, with 3 keys"},
		{"a table's directory", []string{"closed", "killed"},
			func(_ *testing.T, m *fs.Mem, _ []LogNumber) error { return m.RemoveAll("/data/defs") }, "table defs: its file is gone"},
		{"a table's content", []string{"closed", "killed"},
			func(t *testing.T, m *fs.Mem, _ []LogNumber) error {
				cutFile(t, m, "/data/defs/entries", 0)
				return nil
			}, "table defs: it was at revision 3"},
		{"a table's entries", []string{"closed", "killed"},
			func(t *testing.T, m *fs.Mem, _ []LogNumber) error {
				cutFile(t, m, "/data/defs/entries", headerBytes)
				return nil
			}, "and is at 0 with 0"},
		{"a table's last entry", []string{"closed"},
			func(t *testing.T, m *fs.Mem, _ []LogNumber) error {
				info, err := m.Stat("/data/groups/entries")
				cutFile(t, m, "/data/groups/entries", info.SizeBytes-40)
				return err
			}, "table groups: it was at revision 3 with 3 keys, and is at 2 with 2"},
		{"a byte of a table", []string{"closed", "killed"},
			func(t *testing.T, m *fs.Mem, _ []LogNumber) error {
				flipByte(t, m, "/data/defs/entries", headerBytes+60)
				return nil
			}, "table defs: "},
		{"a log's directory", []string{"closed", "killed"},
			func(_ *testing.T, m *fs.Mem, ids []LogNumber) error {
				return m.RemoveAll((&Store{dir: "/data"}).logDir(ids[1], false))
			}, "(bills): its directory is gone"},
		{"a log's last segment", []string{"closed", "killed"},
			func(t *testing.T, m *fs.Mem, ids []LogNumber) error { return m.Remove(logFile(t, m, ids[2], true)) }, "(mails): its last segment"},
		{"a log's first segment", []string{"closed"},
			func(t *testing.T, m *fs.Mem, ids []LogNumber) error { return m.Remove(logFile(t, m, ids[0], false)) }, "(orders): its first segment"},
	} {
		for _, end := range c.ends {
			t.Run(c.name+", "+end, func(t *testing.T) {
				mem, ids := usedStore(t, end)
				if err := c.take(t, mem, ids); err != nil {
					t.Fatal(err)
				}
				for range 2 { // being refused changes nothing
					if err := openAll(t, mem, ids, false, quiet); !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), c.words) {
						t.Fatalf("opened with %v, want %q", err, c.words)
					}
				}
				var out bytes.Buffer
				if err := openAll(t, mem, ids, true, slog.New(slog.NewTextHandler(&out, nil))); err != nil {
					t.Fatalf("does not open to be recovered: %v", err)
				}
				if !strings.Contains(out.String(), "level=ERROR") {
					t.Errorf("nothing was told: %s", &out)
				}
				if err := openAll(t, mem, ids, false, quiet); err != nil {
					t.Errorf("does not open after recovery: %v", err)
				}
			})
		}
	}
}

// openAll opens a store with its tables and logs, uses them and closes it.
func openAll(t *testing.T, mem *fs.Mem, ids []LogNumber, recover bool, logger *slog.Logger) error {
	t.Helper()
	s, err := Open(Options{Dir: "/data", FS: mem, BootID: "one", SegmentBytes: 64 << 10, Recover: recover, Logger: logger})
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"defs", "groups"} {
		if _, err := s.Table(ctx, name); err != nil {
			return err
		}
	}
	var missing []error
	for i, id := range ids {
		l, err := s.OpenLog(id.ID(), store.LogOptions{Name: []string{"orders", "bills", "mails"}[i]})
		if err != nil {
			missing = append(missing, err)
			continue
		}
		if _, end := bounds(t, l); end < 300 {
			t.Errorf("log %d ends at %d: offsets would be given out again", id, end)
		}
	}
	return errors.Join(missing...)
}

func TestAWholeDirectoryOpensAfterAnyEnd(t *testing.T) {
	for _, end := range []string{"closed", "killed"} {
		mem, ids := usedStore(t, end)
		for range 3 {
			if err := openAll(t, mem, ids, false, quiet); err != nil {
				t.Errorf("%s: %v", end, err)
			}
		}
	}
}

func TestADirectoryWithoutACheckpointOpens(t *testing.T) {
	mem, ids := usedStore(t, "closed")
	if err := mem.RemoveAll("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Options{Dir: "/data", FS: mem, BootID: "one"})
	if f := openTestLog(t, s, ids[0].ID(), store.LogOptions{}).Figures(); f.Certain {
		t.Errorf("figures %+v of a log of which nothing is known", f)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedCheckpointLeavesTheOneBefore(t *testing.T) {
	mem, ids := usedStore(t, "killed")
	if err := openAll(t, mem, ids, false, quiet); err != nil {
		t.Fatal(err)
	}
	newest := ""
	names, err := mem.ReadDir("/data/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if f, ok := parseCheckpointName(name); ok && !f.changed {
			newest = name
		}
	}
	flipByte(t, mem, "/data/checkpoint/"+newest, 50)
	if err := mem.Remove("/data/groups/entries"); err != nil {
		t.Fatal(err)
	}
	if err := openAll(t, mem, ids, false, quiet); !errors.Is(err, store.ErrMissing) {
		t.Errorf("opened with %v", err)
	}
}

func TestALogThatWasDeletedInPartIsNotMissed(t *testing.T) {
	mem, ids := usedStore(t, "killed")
	s := openStore(t, Options{Dir: "/data", FS: mem, BootID: "one"})
	s.checkpoints.gone(ids[1]) // as DeleteLog does, and then the process is killed
	s.kill()
	if err := mem.Remove(logFile(t, mem, ids[1], true)); err != nil {
		t.Fatal(err)
	}
	mem = mem.Crash(rand.New(rand.NewPCG(1, 1)))
	s = openStore(t, Options{Dir: "/data", FS: mem, BootID: "one"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFiguresAtRestAreRight compares what is told of logs that are not open with what
// was so before, after a clean end and for those that a kill did not hit.
func TestFiguresAtRestAreRight(t *testing.T) {
	mem := fs.NewMem(1)
	o := Options{Dir: "/data", FS: mem, BootID: "one", SegmentBytes: 64 << 10}
	s := openStore(t, o)
	idle := newTestLog(t, s, store.LogOptions{Name: "idle"})
	work := newTestLog(t, s, store.LogOptions{Name: "work"})
	busy := newTestLog(t, s, store.LogOptions{Name: "busy"})
	empty := newTestLog(t, s, store.LogOptions{Name: "empty"})
	for range 100 {
		mustAppend(t, idle, batchOf(1, 1000))
		mustAppend(t, work, batchOf(2, 1000))
		mustAppend(t, busy, batchOf(1, 1000))
	}
	work.Progress(10, 60)
	if err := work.SaveCursor(ctx, []byte("open: 10, 50 and 55"), 3, 60); err != nil {
		t.Fatal(err)
	}
	want := map[*Log]store.Figures{idle: idle.Figures(), work: work.Figures(), busy: busy.Figures(), empty: {Certain: true}}
	if w := want[work]; w.Waiting != 3+140 || w.End != 200 || !w.Certain {
		t.Fatalf("figures %+v", w)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	opened := 0
	for l, w := range want {
		at := openTestLog(t, s, l.ID(), store.LogOptions{Name: l.name()})
		f := at.Figures()
		w.Bytes, f.Bytes = f.Bytes, f.Bytes+0 // closing gives back what was allocated
		w.Cold = l != empty
		if f != w {
			t.Errorf("%s at rest %+v, was %+v", l.name(), f, w)
		}
		if at.inner.Load() != nil {
			opened++
		}
	}
	if opened > 0 {
		t.Errorf("%d logs were opened by looking", opened)
	}
	// One changes and the process is killed: only its figures are uncertain.
	again := openTestLog(t, s, busy.ID(), store.LogOptions{Name: "busy"})
	mustAppend(t, again, batchOf(1, 1000))
	if err := mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	o.FS = mem.Crash(rand.New(rand.NewPCG(1, 1)))
	s = openStore(t, o)
	for l, certain := range map[*Log]bool{idle: true, work: true, busy: false} {
		if f := openTestLog(t, s, l.ID(), store.LogOptions{Name: l.name()}).Figures(); f.Certain != certain {
			t.Errorf("%s after a kill: %+v", l.name(), f)
		}
	}
	changed := openTestLog(t, s, busy.ID(), store.LogOptions{Name: "busy"})
	if _, end := bounds(t, changed); end != 101 || changed.Figures() != (store.Figures{End: message.Offset(101), Bytes: changed.Figures().Bytes, Segments: changed.Figures().Segments, Waiting: 101, Certain: true}) {
		t.Errorf("opened: %+v", changed.Figures())
	}
}

// TestAfterAKillWhatIsMissingIsToldToTheMessage cuts the only segment of a log that was
// written after the last checkpoint, at any byte, or takes it away.
func TestAfterAKillWhatIsMissingIsToldToTheMessage(t *testing.T) {
	mem := fs.NewMem(1)
	o := Options{Dir: "/data", FS: mem, BootID: "one", SegmentBytes: 64 << 10}
	s := openStore(t, o)
	l := newTestLog(t, s, store.LogOptions{Name: "orders"})
	one := batchOf(3, 300)
	for range 20 {
		mustAppend(t, l, bytes.Clone(one))
	}
	if err := mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{-1, 0, 50, segment.HeaderBytes, segment.HeaderBytes + int64(len(one))*7, segment.HeaderBytes + int64(len(one))*7 + 30, segment.HeaderBytes + int64(len(one))*12 + 200} {
		t.Run(fmt.Sprint("at ", at), func(t *testing.T) {
			killed := mem.Crash(rand.New(rand.NewPCG(1, 1)))
			name := filepath.Join(l.dir(), segment.FileName(0))
			if at < 0 {
				if err := killed.Remove(name); err != nil {
					t.Fatal(err)
				}
			} else {
				cutFile(t, killed, name, at)
			}
			o := o
			told := &lossLog{}
			o.FS, o.Logger = killed, slog.New(told)
			s := openStore(t, o)
			l := openTestLog(t, s, l.ID(), store.LogOptions{Name: "orders"})
			start, end := bounds(t, l)
			if left := count(t, l, start, end); end != 60 || left+told.messages != 60 {
				t.Errorf("[%d, %d) with %d messages, told of %d", start, end, left, told.messages)
			}
			if base := mustAppend(t, l, bytes.Clone(one)); base != 60 {
				t.Errorf("appended at %d", base)
			}
		})
	}
}

// lossLog adds up the messages that errors tell of.
type lossLog struct{ messages int64 }

func (h *lossLog) Enabled(context.Context, slog.Level) bool { return true }
func (h *lossLog) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *lossLog) WithGroup(string) slog.Handler            { return h }

func (h *lossLog) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelError {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "messages" {
				h.messages += a.Value.Int64()
			}
			return true
		})
	}
	return nil
}

// TestAfterAKillALostBeginningIsToldAndAConsumedOneIsNot takes the first segment of a log away
// whose own first segments were consumed before, after the last checkpoint.
func TestAfterAKillALostBeginningIsToldAndAConsumedOneIsNot(t *testing.T) {
	mem := fs.NewMem(1)
	o := Options{Dir: "/data", FS: mem, BootID: "one", SegmentBytes: 64 << 10}
	s := openStore(t, o)
	l := newTestLog(t, s, store.LogOptions{Name: "orders", Retention: store.Retention{Consumed: true}})
	for range 500 {
		mustAppend(t, l, batchOf(1, 1000))
	}
	l.Progress(200, 200)
	l.Release(200)
	s.pool.Wait()
	begins, _ := bounds(t, l)
	if begins == 0 {
		t.Fatal("nothing was dropped")
	}
	if err := mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []bool{false, true} {
		killed := mem.Crash(rand.New(rand.NewPCG(1, 1)))
		if spoil {
			if err := killed.Remove(logFile(t, killed, l.id, false)); err != nil {
				t.Fatal(err)
			}
		}
		o, told := o, &lossLog{}
		o.FS, o.Logger = killed, slog.New(told)
		at := openTestLog(t, openStore(t, o), l.ID(), store.LogOptions{Name: "orders", Retention: store.Retention{Consumed: true}})
		start, end := bounds(t, at)
		if lost := int64(start - begins); end != 500 || told.messages != lost || (lost > 0) != spoil {
			t.Errorf("spoilt %t: [%d, %d), began at %d, told of %d", spoil, start, end, begins, told.messages)
		}
	}
}
