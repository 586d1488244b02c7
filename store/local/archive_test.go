package local

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// one is a batch with one record that bears a number, as long as bytes.
func one(number uint64, bytes int) []byte {
	var b message.Builder
	body := make([]byte, max(8, bytes))
	binary.BigEndian.PutUint64(body, number)
	b.Add(&message.Publish{Body: body, TimestampMs: 1})
	return b.Seal()
}

// numbers are those of the records from an offset on, by offset.
func numbers(t *testing.T, l store.Log, from message.Offset) map[message.Offset]uint64 {
	t.Helper()
	out := map[message.Offset]uint64{}
	start, end := bounds(t, l)
	for from = max(from, start); from < end; {
		v, err := l.Read(from, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if v.Len() == 0 {
			break
		}
		err = v.Use(func(data []byte) error {
			for len(data) > 0 {
				b, rest, err := batch.Next(data)
				if err == nil {
					err = b.Check()
				}
				if err != nil {
					return err
				}
				data, from = rest, message.Offset(b.LastOffset())+1
				records := message.NewRecords(b.Records())
				for r := (message.Record{}); ; {
					ok, err := records.Next(&r)
					if err != nil {
						return err
					}
					if !ok {
						break
					}
					out[message.Offset(b.BaseOffset())+message.Offset(r.OffsetDelta)] = binary.BigEndian.Uint64(r.Value)
				}
			}
			return nil
		})
		v.Done()
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// flushed has what was appended be on disk, as what is thinned must be.
func flushed(t *testing.T, l *Log) {
	t.Helper()
	if err := l.inner.Load().Sync(); err != nil {
		t.Fatal(err)
	}
}

func everything(store.LogID) bool { return true }

// restored makes a store of an archive.
func restored(t *testing.T, data []byte) (*Store, Restored) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	got, err := Restore(bytes.NewReader(data), dir)
	if err != nil {
		t.Fatal(err)
	}
	return openStore(t, Options{Dir: dir, Mode: store.ModeOS}), got
}

func workQueue(name string) store.LogOptions {
	return store.LogOptions{Name: name, SegmentBytes: 64 << 10, Retention: store.Retention{Consumed: true}}
}

func TestAnArchiveHoldsAllThatThereIs(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS})
	defs, err := s.Table(ctx, "defs")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := defs.Put(ctx, store.Entry{Key: fmt.Sprint(i), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := defs.Put(ctx, store.Entry{Key: "1"}); err != nil {
		t.Fatal(err)
	}
	q, thinned, never, unwanted, passing := newTestLog(t, s, workQueue("q")), newTestLog(t, s, workQueue("thinned")), newTestLog(t, s, workQueue("never used")),
		newTestLog(t, s, workQueue("unwanted")), newTestLog(t, s, store.LogOptions{Name: "transient", Transient: true})
	for i := range uint64(300) {
		for _, l := range []*Log{q, thinned, unwanted, passing} {
			mustAppend(t, l, one(i, 1000))
		}
	}
	if err := q.Progress(120, 200); err != nil {
		t.Fatal(err)
	}
	if err := q.SaveCursor(ctx, []byte("acked ahead"), 10, 200); err != nil {
		t.Fatal(err)
	}
	q.Release(120)
	if err := q.SaveState(ctx, "producers", []byte("some state")); err != nil {
		t.Fatal(err)
	}
	flushed(t, thinned)
	if err := thinned.Thin(300, func(first, last message.Offset) bool { return first <= 7 && 7 <= last }); err != nil {
		t.Fatal(err)
	}
	if n := len(numbers(t, thinned, 0)); n > 150 {
		t.Fatalf("%d of 300 records are left of what was thinned", n)
	}
	var out bytes.Buffer
	if err := s.Archive(ctx, &out, func(id store.LogID) bool { return id != unwanted.ID() }); err != nil {
		t.Fatal(err)
	}
	again, got := restored(t, out.Bytes())
	if got.Logs != 2 || got.Records == 0 || got.Segments < 2 {
		t.Errorf("%+v", got)
	}
	for _, l := range []*Log{q, thinned} {
		r := openTestLog(t, again, l.ID(), workQueue(l.name()))
		a, b := bounds(t, l)
		if c, d := bounds(t, r); c > a || b != d {
			t.Errorf("%s is [%d, %d), and was [%d, %d)", l.name(), c, d, a, b)
		}
		was, is := numbers(t, l, a), numbers(t, r, a)
		if len(was) == 0 || len(was) != len(is) {
			t.Errorf("%s has %d records, and had %d", l.name(), len(is), len(was))
		}
		for o, n := range was {
			if is[o] != n {
				t.Errorf("%s: offset %d is %d, and was %d", l.name(), o, is[o], n)
			}
		}
	}
	r := openTestLog(t, again, q.ID(), workQueue("q"))
	if c, err := r.LoadCursor(ctx); err != nil || c.Floor != 120 || c.Handed < 200 || string(c.Data) != "acked ahead" {
		t.Errorf("%+v %v", c, err)
	}
	if data, err := r.LoadState(ctx, "producers"); err != nil || string(data) != "some state" {
		t.Errorf("%q %v", data, err)
	}
	for _, l := range []*Log{never, unwanted} {
		if start, end := bounds(t, openTestLog(t, again, l.ID(), workQueue(l.name()))); start != 0 || end != 0 {
			t.Errorf("%s is [%d, %d)", l.name(), start, end)
		}
	}
	table, err := again.Table(ctx, "defs")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	if err := table.Load(ctx, func(e store.Entry) error { keys = append(keys, fmt.Sprint(e.Key, "@", e.Revision)); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(keys) != "[0@1 2@3]" {
		t.Error(keys)
	}
	if a, b := newID(t, again), newID(t, s); a == q.ID() || a == passing.ID() || b == a {
		t.Errorf("id %s is given out again, the next here is %s", a, b)
	}
	mustAppend(t, r, one(1, 10))
}

// writes calls fn with what is written before it goes on.
type writes func(total int)

func (w writes) Write(p []byte) (int, error) {
	w(len(p))
	return len(p), nil
}

// What is acked while an archive is being written stays on disk until its end.
func TestAnArchiveHoldsBackWhatGoesMeanwhile(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS})
	q, held, aged := newTestLog(t, s, workQueue("q")), newTestLog(t, s, workQueue("held")), newTestLog(t, s, store.LogOptions{Name: "topic", SegmentBytes: 64 << 10, Retention: store.Retention{Bytes: 1}})
	for i := range uint64(500) {
		mustAppend(t, q, one(i, 1000))
		mustAppend(t, aged, one(i, 10))
		mustAppend(t, held, one(i, 1000))
	}
	if err := q.Progress(0, 0); err != nil {
		t.Fatal(err)
	}
	flushed(t, held)
	var out bytes.Buffer
	once := sync.OnceFunc(func() {
		if err := q.Progress(500, 500); err != nil {
			t.Error(err)
		}
		q.Release(500)
		s.sweepOnce()
		if err := held.Thin(500, func(first, last message.Offset) bool { return first <= 7 && 7 <= last }); err != nil {
			t.Error(err)
		}
		if list, err := q.Segments(); err != nil || len(list) > 0 {
			t.Error(list, err)
		}
		none := func(b batch.Batch) (batch.Batch, error) {
			t.Error("a log is compacted")
			return b, nil
		}
		if reached, err := q.Compact(500, none); err != nil || reached != 0 {
			t.Error(reached, err)
		}
		if err := s.Archive(ctx, io.Discard, everything); !errors.Is(err, store.ErrBusy) {
			t.Error(err)
		}
	})
	seen := 0
	w := io.MultiWriter(&out, writes(func(n int) {
		if seen += n; seen > 8<<10 { // the cursors were written
			once()
		}
	}))
	if err := s.Archive(ctx, w, everything); err != nil {
		t.Fatal(err)
	}
	again, _ := restored(t, out.Bytes())
	r := openTestLog(t, again, q.ID(), workQueue("q"))
	c, err := r.LoadCursor(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(numbers(t, r, c.Floor)); n != 500 || c.Floor != 0 {
		t.Errorf("%d of 500 are left to be consumed, from %d on", n, c.Floor)
	}
	if n := len(numbers(t, openTestLog(t, again, held.ID(), workQueue("held")), 0)); n != 500 {
		t.Errorf("%d of 500 are left of what was thinned meanwhile", n)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if start, _ := bounds(t, q); start > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("what was held back does not go")
		}
	}
}

// Messages that wander from log to log while an archive is written are in it, each at least once.
func TestAnArchiveLosesNothingThatMoves(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS})
	logs := make([]*Log, 4) // from the last to the first, against the order in which they are read
	for i := range logs {
		logs[i] = newTestLog(t, s, workQueue(fmt.Sprint(i)))
	}
	for round := range 3 {
		first := uint64(round) * 10000
		var at [4]message.Offset
		for i, l := range logs {
			_, at[i] = bounds(t, l)
		}
		for i := range uint64(400) {
			mustAppend(t, logs[3], one(first+i, 500))
		}
		var stop atomic.Bool
		var moved atomic.Int64
		var movers sync.WaitGroup
		for from := 3; from > 0; from-- {
			movers.Go(func() {
				for o := at[from]; !stop.Load(); {
					_, end, err := logs[from].Bounds()
					if err != nil || o >= end {
						time.Sleep(50 * time.Microsecond)
						continue
					}
					n := numbers(t, logs[from], o)[o]
					if _, err := logs[from-1].Append(one(n, 500)); err != nil {
						t.Error(err)
						return
					}
					o++
					if err := logs[from].Progress(o, o); err != nil {
						t.Error(err)
						return
					}
					logs[from].Release(o)
					moved.Add(1)
				}
			})
		}
		for moved.Load() < 50 {
			time.Sleep(time.Millisecond)
		}
		var out bytes.Buffer
		slow := io.MultiWriter(&out, writes(func(int) { time.Sleep(200 * time.Microsecond) }))
		err := s.Archive(ctx, slow, everything)
		stop.Store(true)
		movers.Wait()
		if err != nil {
			t.Fatal(err)
		}
		again, _ := restored(t, out.Bytes())
		have := map[uint64]int{}
		for _, l := range logs {
			r := openTestLog(t, again, l.ID(), workQueue(l.name()))
			c, err := r.LoadCursor(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range numbers(t, r, c.Floor) {
				have[n]++
			}
		}
		for i := range uint64(400) {
			if have[first+i] == 0 {
				t.Fatalf("round %d: message %d is in no log", round, i)
			}
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// archived is a small archive.
func archived(t testing.TB) []byte {
	s := openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS})
	l := newTestLog(t, s, workQueue("q"))
	for i := range uint64(50) {
		mustAppend(t, l, one(i, 100))
	}
	if err := l.Progress(3, 5); err != nil {
		t.Fatal(err)
	}
	if err := putOne(s, "k"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.Archive(ctx, &out, everything); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// refused fails the test when a restore does not fail, or leaves something.
func refused(t *testing.T, what string, data []byte) error {
	t.Helper()
	parent := t.TempDir()
	dir := filepath.Join(parent, "new")
	_, err := Restore(bytes.NewReader(data), dir)
	if err == nil {
		t.Errorf("%s: it was restored", what)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("%s: %v is left", what, left)
	}
	return err
}

func TestABadArchiveIsNotRestored(t *testing.T) {
	good := archived(t)
	for n := 0; n < len(good)-1536; n += 1021 { // the tape's own end may be missing
		refused(t, fmt.Sprintf("cut off at %d", n), good[:n])
	}
	flipped := 0
	for at := 0; at < len(good)-1024; at += 211 {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := Restore(bytes.NewReader(bad), dir); err != nil {
			flipped++
			continue
		}
		// Padding of the tape, or the time in its last entry: what was restored is right.
		s := openStore(t, Options{Dir: dir, Mode: store.ModeOS})
		if n := len(numbers(t, openTestLog(t, s, "1", workQueue("q")), 0)); n != 50 {
			t.Fatalf("a bit at %d: %d records", at, n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if flipped < 20 {
		t.Errorf("only %d were noticed", flipped)
	}
	type entry struct{ name, text string }
	made := func(list ...entry) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, e := range list {
			if err := w.WriteHeader(&tar.Header{Name: e.name, Typeflag: tar.TypeReg, Size: int64(len(e.text))}); err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write([]byte(e.text))
		}
		_ = w.Close()
		return out.Bytes()
	}
	layout := string(encodeLayout(layoutVersion))
	for what, list := range map[string][]entry{
		"nothing":                {},
		"another program's":      {{"etc/passwd", "root"}},
		"a way out":              {{"format", layout}, {"../evil", "x"}},
		"a way out of queues":    {{"format", layout}, {"queues/00/0000000000000001/../../../../evil.state", "x"}},
		"from the root":          {{"/etc/passwd", "x"}},
		"a piece of nothing":     {{"format", layout}, {"queues/00/0000000000000001/00000000000000000000.log+", "x"}},
		"no segment":             {{"format", layout}, {"queues/00/0000000000000001/00000000000000000000.log", "x"}},
		"another log's":          {{"format", layout}, {"queues/00/0000000000000002/meta", string(encodeMeta(Meta{ID: 1}))}},
		"twice the same":         {{"format", layout}, {"format", layout}},
		"a newer format":         {{"format", string(encodeLayoutText("7"))}},
		"a checkpoint":           {{"format", layout}, {"checkpoint/entries", ""}},
		"only an end":            {{archiveEnd, "{}"}},
		"an end that is no JSON": {{"format", layout}, {archiveEnd, "{"}},
		"a table of nonsense":    {{"format", layout}, {"defs/entries", strings.Repeat("x", 100)}},
	} {
		refused(t, what, made(list...))
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	_ = w.WriteHeader(&tar.Header{Name: "format", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	_ = w.Close()
	refused(t, "a link", out.Bytes())

	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(bytes.NewReader(good), full); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
	if _, err := Restore(bytes.NewReader(good), t.TempDir()); err != nil { // which is empty
		t.Error(err)
	}
}

// retaped is an archive with other entries, and the right sums.
func retaped(t *testing.T, data []byte, change func(names []string, entries map[string][]byte) []string) []byte {
	t.Helper()
	var names []string
	entries := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != archiveEnd {
			names = append(names, h.Name)
			entries[h.Name] = text
		}
	}
	var out bytes.Buffer
	a := &archive{s: openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS}), ctx: ctx, tar: tar.NewWriter(&out), Hash: sha256.New(), sum: archiveSum{Version: archiveVersion}}
	for _, name := range change(names, entries) {
		if err := a.put(name, entries[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(a.complete(nil), a.tar.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What has the right sums is looked at all the same.
// waking reads an archive, and does something before its end.
type waking struct {
	io.Reader
	last func()
}

func (w *waking) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && w.last != nil {
		w.last()
		w.last = nil
	}
	return n, err
}

// What somebody put into the directory while it was being restored is not deleted.
func TestARestoreDeletesNothingOfOthers(t *testing.T) {
	data := archived(t)
	dir := filepath.Join(t.TempDir(), "new")
	file := filepath.Join(dir, "file")
	cut := len(data) - 1536 // before the last entry and the tape's end
	slow := io.MultiReader(&waking{bytes.NewReader(data[:cut]), func() {
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, []byte("mine"), 0o600)); err != nil {
			t.Error(err)
		}
	}}, bytes.NewReader(data[cut:]))
	if _, err := Restore(slow, dir); err == nil || !strings.Contains(err.Error(), dir+".restoring") {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(file); string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

// A directory beside which nothing can be made, as where it is the volume of a container, is told as such.
func TestARestoreTellsWhereItCanNotBe(t *testing.T) {
	if _, err := Restore(bytes.NewReader(archived(t)), "/proc/leveret"); err == nil || !strings.Contains(err.Error(), "below one that may be written") {
		t.Errorf("%v", err)
	}
}

// Where a data directory is a link to another disk, that is where it is made.
func TestARestoreFollowsALink(t *testing.T) {
	parent := t.TempDir()
	disk, link := filepath.Join(parent, "disk", "data"), filepath.Join(parent, "link")
	if err := errors.Join(os.MkdirAll(disk, 0o700), os.Symlink(disk, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(bytes.NewReader(archived(t)), link); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(disk); err != nil || len(names) == 0 {
		t.Errorf("%v, %v", names, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAnArchiveThatSomebodyMadeUpIsNotRestored(t *testing.T) {
	good := archived(t)
	same := func(names []string, _ map[string][]byte) []string { return names }
	if _, err := Restore(bytes.NewReader(retaped(t, good, same)), filepath.Join(t.TempDir(), "new")); err != nil {
		t.Fatal(err)
	}
	segment := ""
	for what, change := range map[string]func([]string, map[string][]byte) []string{
		"a file twice": func(names []string, _ map[string][]byte) []string { return append(names, names[1]) },
		"no layout":    func(names []string, _ map[string][]byte) []string { return names[1:] },
		"the batches again": func(names []string, entries map[string][]byte) []string {
			segment = names[len(names)-1]
			entries[segment+pieceSuffix] = entries[segment][128:]
			return append(names, segment+pieceSuffix)
		},
		"another offset in its name": func(names []string, entries map[string][]byte) []string {
			last := names[len(names)-1]
			other := strings.Replace(last, "0.log", "5.log", 1)
			entries[other] = entries[last]
			return append(names[:len(names)-1], other)
		},
		"a batch that is damaged": func(names []string, entries map[string][]byte) []string {
			entries[names[len(names)-1]][300] ^= 1
			return names
		},
	} {
		refused(t, what, retaped(t, good, change))
	}
	at := bytes.Index(good, []byte(`"sha256":"`)) + len(`"sha256":"`)
	bad := bytes.Clone(good)
	bad[at] ^= 1
	refused(t, "another sum", bad)
}

// Offsets that nobody has stay so.
func TestAnArchiveKeepsGaps(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir, Mode: store.ModeOS})
	l := newTestLog(t, s, workQueue("q"))
	mustAppend(t, l, one(1, 10))
	if err := l.Progress(50, 50); err != nil { // as if the end was lost
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir, Mode: store.ModeOS})
	l = openTestLog(t, s, l.ID(), workQueue("q"))
	if at := mustAppend(t, l, one(2, 10)); at != 50 {
		t.Fatalf("at %d", at)
	}
	var out bytes.Buffer
	if err := s.Archive(ctx, &out, everything); err != nil {
		t.Fatal(err)
	}
	again, _ := restored(t, out.Bytes())
	r := openTestLog(t, again, l.ID(), workQueue("q"))
	if got := numbers(t, r, 0); len(got) != 2 || got[0] != 1 || got[50] != 2 {
		t.Error(got)
	}
}

// Who does not want it any more, and a store that closes, end an archive.
func TestAnArchiveIsGivenUp(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS})
	mustAppend(t, newTestLog(t, s, workQueue("q")), one(1, 10))
	given, cancel := context.WithCancel(ctx)
	var out bytes.Buffer
	err := s.Archive(given, io.MultiWriter(&out, writes(func(int) { cancel() })), everything)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s.held.Load() {
		t.Error("it holds back what is on disk")
	}
	refused(t, "given up", out.Bytes())
	gone := errors.New("the reader is gone")
	if err := s.Archive(ctx, failing{gone}, everything); !errors.Is(err, gone) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Archive(ctx, io.Discard, everything); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzRestore restores whatever comes: into its directory and nowhere else, or not at all.
func FuzzRestore(f *testing.F) {
	f.Add(archived(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		_, err := Restore(bytes.NewReader(data), filepath.Join(parent, "new"))
		left, _ := os.ReadDir(parent)
		if err != nil && len(left) > 0 || err == nil && (len(left) != 1 || left[0].Name() != "new") {
			t.Fatalf("%v: %v is left", err, left)
		}
	})
}
