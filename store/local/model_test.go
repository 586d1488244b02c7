package local

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// crashFS is a file system whose lock dies with the process that a test kills.
type crashFS struct{ fs.FS }

func (crashFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// crashLog is what the store says, kept for a failing test that runs one seed.
func crashLog(t *testing.T) *slog.Logger {
	if *crashSeed == 0 {
		return quiet
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// kill ends a store as kill -9 would: nothing more is written.
func (s *Store) kill() {
	s.closed.Store(true)
	close(s.stop)
	s.work.Wait()
	s.syncer.close()
	for _, l := range s.allLogs() {
		_ = l.madeCursor().drop()
	}
	for _, t := range s.tables {
		t.done.Wait() // a compaction would go on beside the next process
	}
	_ = s.pool.Close() // its goroutines; all that it writes is done behind the scenes anyway
}

// model is what a client of the store knows: what it appended, what was
// confirmed, what it handed out and acked, and what it put into a table.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	mode  store.Mode
	logs  []*modelLog
	table map[string]string
	round int
}

type modelLog struct {
	id        store.LogID
	options   store.LogOptions
	appended  []modelRecord
	confirmed int // so many of them were
	gone      message.Offset
	floor     message.Offset
	handed    message.Offset
	data      []string // what SaveCursor was given, newest last
}

type modelRecord struct {
	offset message.Offset
	body   string
}

func newModel(t *testing.T, rng *rand.Rand, mode store.Mode) *model {
	return &model{t: t, rng: rng, mode: mode, table: map[string]string{}}
}

func (m *model) open(fsys fs.FS, boot string) *Store {
	m.t.Helper()
	s, err := Open(Options{
		Dir: "/data", FS: crashFS{fsys}, Mode: m.mode, BootID: boot, Logger: crashLog(m.t),
		SegmentBytes: 256 << 10, RecycleBytes: 4 << 20,
	})
	if err != nil {
		m.t.Fatalf("Open: %v", err)
	}
	return s
}

// work does n random things.
func (m *model) work(s *Store, mem *fs.Mem, n int) {
	m.t.Helper()
	m.round++
	for len(m.logs) < 3 {
		ids, err := s.NewLogs(ctx, store.LogOptions{}, nil, 1)
		if err != nil {
			m.t.Fatal(err)
		}
		id := ids[0]
		for _, l := range m.logs {
			if l.id == id {
				m.t.Fatalf("id %s came again", id)
			}
		}
		o := store.LogOptions{Name: fmt.Sprint("log ", id), Retention: store.Retention{Consumed: m.rng.IntN(2) == 0}}
		m.logs = append(m.logs, &modelLog{id: id, options: o})
	}
	for i := range n {
		ml := m.logs[m.rng.IntN(len(m.logs))]
		l, err := s.OpenLog(ml.id, ml.options)
		if err != nil {
			m.t.Fatal(err)
		}
		switch m.rng.IntN(12) {
		case 0, 1, 2, 3, 4:
			m.append(l, ml, i)
		case 5, 6:
			m.confirm(s, l, ml)
		case 7, 8:
			m.progress(l, ml)
		case 9:
			m.put(s, i)
		case 10:
			m.save(l, ml, i)
		case 11:
			mem.Writeback()
		}
	}
}

func (m *model) append(l store.Log, ml *modelLog, i int) {
	var b message.Builder
	var bodies []string
	for k := range 1 + m.rng.IntN(8) {
		body := fmt.Sprintf("%s/%d/%d %0*d", ml.id, m.round, i, m.rng.IntN(3000), k)
		bodies = append(bodies, body)
		b.Add(&message.Publish{Body: []byte(body), TimestampMs: int64(i)})
	}
	base, err := appendTo(l, b.Seal())
	if err != nil {
		m.t.Fatalf("Append: %v", err)
	}
	if n := len(ml.appended); n > 0 && base <= ml.appended[n-1].offset {
		m.t.Fatalf("log %s: offset %d after %d", ml.id, base, ml.appended[n-1].offset)
	}
	for k, body := range bodies {
		ml.appended = append(ml.appended, modelRecord{base + message.Offset(k), body})
	}
}

func (m *model) confirm(s *Store, l store.Log, ml *modelLog) {
	done := make(chan error, 1)
	s.Commit([]store.Log{l}, func(err error) { done <- err })
	if err := <-done; err != nil {
		m.t.Fatalf("Commit: %v", err)
	}
	ml.confirmed = len(ml.appended)
}

// progress hands some messages out, acks some, and releases what was acked.
func (m *model) progress(l store.Log, ml *modelLog) {
	_, end := bounds(m.t, l)
	if ml.handed < end {
		ml.handed += message.Offset(m.rng.Int64N(int64(end-ml.handed) + 1))
	}
	if ml.floor < ml.handed {
		ml.floor += message.Offset(m.rng.Int64N(int64(ml.handed-ml.floor) + 1))
	}
	l.Progress(ml.floor, ml.handed)
	if ml.options.Retention.Consumed {
		l.Release(ml.floor)
		ml.gone = max(ml.gone, ml.floor)
	}
	if err := l.Err(); err != nil {
		m.t.Fatalf("log %s: %v", ml.id, err)
	}
}

func (m *model) put(s *Store, i int) {
	table, err := s.Table(ctx, "defs")
	if err != nil {
		m.t.Fatal(err)
	}
	var entries []store.Entry
	for range 1 + m.rng.IntN(3) {
		e := store.Entry{Key: fmt.Sprint("key", m.rng.IntN(10)), Value: fmt.Appendf(nil, "%d/%0*d", i, m.rng.IntN(5000), m.round)}
		if m.rng.IntN(6) == 0 {
			e.Value = nil
		}
		entries = append(entries, e)
	}
	if err := table.Put(ctx, entries...); err != nil {
		m.t.Fatalf("Put: %v", err)
	}
	for _, e := range entries {
		delete(m.table, e.Key)
		if e.Value != nil {
			m.table[e.Key] = string(e.Value)
		}
	}
}

func (m *model) save(l store.Log, ml *modelLog, i int) {
	data := fmt.Sprintf("%s/%d/%0*d", ml.id, m.round, m.rng.IntN(9000), i)
	if err := l.SaveCursor(ctx, []byte(data), 0, 0); err != nil {
		m.t.Fatalf("SaveCursor: %v", err)
	}
	ml.data = append(ml.data, data)
}

// survivors reads what a log holds and checks it against what was appended.
func (m *model) survivors(l store.Log, ml *modelLog) []modelRecord {
	m.t.Helper()
	start, end := bounds(m.t, l)
	known := make(map[message.Offset]string, len(ml.appended))
	for _, r := range ml.appended {
		known[r.offset] = r.body
	}
	var all []modelRecord
	for from := start; from < end; {
		view, err := l.Read(from, 64<<10)
		if err != nil {
			m.t.Fatalf("log %s: Read(%d): %v", ml.id, from, err)
		}
		if len(view.Raw()) == 0 {
			view.Done()
			break
		}
		for rest := view.Raw(); len(rest) > 0; {
			var b batch.Batch
			if b, rest, err = batch.Next(rest); err != nil {
				m.t.Fatalf("log %s: Read(%d): %v", ml.id, from, err)
			}
			all = append(all, m.decode(b, ml, known)...)
			from = message.Offset(b.LastOffset()) + 1
		}
		view.Done()
	}
	return all
}

func (m *model) decode(b batch.Batch, ml *modelLog, known map[message.Offset]string) []modelRecord {
	m.t.Helper()
	if err := b.Check(); err != nil {
		m.t.Fatalf("log %s: batch %d: %v", ml.id, b.BaseOffset(), err)
	}
	var out []modelRecord
	records := message.NewRecords(b.Records())
	var rec message.Record
	for {
		ok, err := records.Next(&rec)
		if err != nil {
			m.t.Fatalf("log %s: batch %d: %v", ml.id, b.BaseOffset(), err)
		}
		if !ok {
			return out
		}
		r := modelRecord{message.Offset(b.BaseOffset()) + message.Offset(rec.OffsetDelta), string(rec.Value)}
		if known[r.offset] != r.body {
			m.t.Fatalf("log %s: offset %d holds %.40q and should hold %.40q", ml.id, r.offset, r.body, known[r.offset])
		}
		out = append(out, r)
	}
}

// checkLog fails unless every record that must be there is, and takes what is
// there for what was appended from now on.
func (m *model) checkLog(l store.Log, ml *modelLog, must int) {
	m.t.Helper()
	got := m.survivors(l, ml)
	there := make(map[message.Offset]bool, len(got))
	for _, r := range got {
		there[r.offset] = true
	}
	for _, r := range ml.appended[:must] {
		if !there[r.offset] && r.offset >= ml.gone {
			start, end := bounds(m.t, l)
			m.t.Fatalf("log %s [%d,%d): offset %d is lost (%d of %d had to be there)", ml.id, start, end, r.offset, must, len(ml.appended))
		}
	}
	ml.appended, ml.confirmed = got, len(got)
}

// checkTable fails unless the table holds exactly what was put.
func (m *model) checkTable(s *Store) {
	m.t.Helper()
	table, err := s.Table(ctx, "defs")
	if err != nil {
		m.t.Fatal(err)
	}
	got := map[string]string{}
	if err := table.Load(ctx, func(e store.Entry) error { got[e.Key] = string(e.Value); return nil }); err != nil {
		m.t.Fatal(err)
	}
	if !maps.Equal(got, m.table) {
		m.t.Fatalf("table holds %d keys and should hold %d:\n%.300v\n%.300v", len(got), len(m.table), got, m.table)
	}
}

// openLogs reopens the model's logs.
func (m *model) each(s *Store, fn func(store.Log, *modelLog)) {
	m.t.Helper()
	for _, ml := range m.logs {
		l, err := s.OpenLog(ml.id, ml.options)
		if err != nil {
			m.t.Fatal(err)
		}
		fn(l, ml)
		if err := l.Err(); err != nil && !errors.Is(err, store.ErrClosed) {
			m.t.Fatalf("log %s: %v", ml.id, err)
		}
	}
}
