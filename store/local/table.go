package local

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

const (
	tableName       = "entries"
	compactMinBytes = 64 << 10  // smaller files are left alone
	compactStep     = 256 << 10 // what is caught up with under the lock at most
)

// table is a store.Table over one file of records, all of whose live entries are
// in memory as well.
//
// Writes go to the file under mu and are flushed by the store's syncer, outside of
// it. A compaction writes the live entries to a second file; while it runs, new
// records go to both files and a flush flushes both, so that at the moment of the
// rename, and until the directory is flushed, either file holds everything that
// was confirmed.
//
// Lock order: flushing before mu.
type table struct {
	name    string
	dir     string
	fs      fs.FS
	syncer  *syncer
	durable bool // mode group or always: Put waits for a flush
	note    func(event)
	now     func() time.Time
	check   func(name string, scan *tableScan) error // of what was found, before anything is changed; nil without a file
	damaged bool                                     // the file was, when it was opened
	state   syncState

	flushing sync.Mutex // held while files are flushed or closed

	mu        sync.Mutex // guards all below
	entries   map[string]tableEntry
	revision  uint64
	live      int64      // bytes of the records that count
	digest    uint64     // sum of digestOf over the live keys
	main      *tableFile // where a write must succeed
	twin      *tableFile // the other one during a compaction, else nil
	twinMust  bool       // after the rename a write must succeed there too
	delta     []byte     // records since the compaction's snapshot
	compact   bool       // a compaction runs
	compactAt int64      // file size below which none is tried again
	dirty     bool
	err       error // not nil: read-only
	closed    bool
	buf       []byte
	done      sync.WaitGroup // the compaction
}

type tableEntry struct {
	value    []byte // never changed
	revision uint64
}

// digestOf is a live key's share of its table's digest.
func digestOf(key string, revision uint64) uint64 {
	var d xxhash.Digest
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], revision)
	d.ResetWithSeed(0)
	_, _ = d.Write(b[:])
	_, _ = d.WriteString(key)
	return d.Sum64()
}

// mark is what the table holds, for a checkpoint.
func (t *table) mark() tableMark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tableMark{
		Name: t.name, Revision: t.revision, Keys: uint64(len(t.entries)), Digest: t.digest,
		File: t.main.tag, Bytes: t.main.size,
	}
}

// openTable reads the table's file, or makes it.
func openTable(t *table) error {
	if err := t.fs.MkdirAll(t.dir); err != nil {
		return fmt.Errorf("open table %s: %w", t.name, err)
	}
	file := t.dir + "/" + tableName
	data, err := readFile(t.fs, file)
	if errors.Is(err, os.ErrNotExist) {
		if err := t.whole(nil); err != nil {
			return err
		}
		return t.create(file)
	}
	if err != nil {
		return fmt.Errorf("open table %s: %w", t.name, err)
	}
	scan, err := scanTable(data)
	if err != nil {
		return fmt.Errorf("open table %s: %s: %w", t.name, file, err)
	}
	if err := t.whole(&scan); err != nil {
		return err
	}
	if len(data) < headerBytes {
		t.noteTorn(scan)
		return t.create(file)
	}
	return t.adopt(file, data, scan)
}

// whole asks whether what was found is what there was.
func (t *table) whole(scan *tableScan) error {
	if t.check == nil {
		return nil
	}
	return t.check(t.name, scan)
}

// create makes the file of a new table, flushed with its directories.
func (t *table) create(file string) error {
	t.entries = map[string]tableEntry{}
	var err error
	if t.main, err = createTableFile(t.fs, file, 0, t.now().UnixMilli()); err == nil {
		if err = t.main.file.Sync(); err == nil {
			err = t.fs.SyncDir(t.dir)
		}
	}
	if err != nil {
		return fmt.Errorf("open table %s: %w", t.name, err)
	}
	return nil
}

// adopt goes on with a file that was there.
func (t *table) adopt(file string, data []byte, scan tableScan) error {
	f, err := t.fs.Open(file, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("open table %s: %w", t.name, err)
	}
	t.entries, t.revision, t.live, t.digest = scan.entries, scan.revision, scan.live, scan.digest()
	t.main = &tableFile{file: f, size: scan.size, tag: scan.tag}
	t.noteTorn(scan)
	if len(scan.damaged) > 0 {
		t.damaged = true
		copyName := fmt.Sprintf("%s.damaged-%d", tableName, t.now().UnixMilli())
		if err := writeFile(t.fs, t.dir, copyName, data, true); err != nil {
			return fmt.Errorf("open table %s: keep a copy of the damaged file: %w", t.name, err)
		}
		t.note(event{Kind: eventDamaged, Name: t.name, Text: fmt.Sprintf(
			"%s: damaged ranges %s skipped, copy kept as %s", file, describe(scan.damaged), copyName)})
	}
	if scan.torn > 0 {
		if err := f.Truncate(scan.size); err != nil {
			return fmt.Errorf("open table %s: cut the torn end: %w", t.name, err)
		}
	}
	// What is there counts as confirmed from now on, so it must not be only in the page cache.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("open table %s: %w", t.name, err)
	}
	if len(scan.damaged) > 0 {
		t.mu.Lock()
		t.startCompaction()
		t.mu.Unlock()
	}
	return nil
}

func (t *table) noteTorn(scan tableScan) {
	if scan.torn > 0 {
		t.note(event{Kind: eventTorn, Name: t.name, Bytes: scan.torn,
			Text: fmt.Sprintf("table %s: %d bytes of an unfinished write cut", t.name, scan.torn)})
	}
}

// Load calls fn for each key in the order of revisions; fn may use the table.
func (t *table) Load(_ context.Context, fn func(store.Entry) error) error {
	t.mu.Lock()
	all := make([]store.Entry, 0, len(t.entries))
	for key, e := range t.entries {
		all = append(all, store.Entry{Key: key, Value: e.value, Revision: e.revision})
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b store.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, e := range all {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// Get is one key's entry.
func (t *table) Get(_ context.Context, key string) (store.Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[key]
	return store.Entry{Key: key, Value: e.value, Revision: e.revision}, nil
}

// Put writes all entries or none.
func (t *table) Put(_ context.Context, entries ...store.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	t.mu.Lock()
	_, err := t.write(entries)
	t.mu.Unlock()
	return t.confirm(err)
}

// Swap writes one entry if its key still is at the given revision.
func (t *table) Swap(_ context.Context, e store.Entry) (uint64, error) {
	t.mu.Lock()
	if have := t.entries[e.Key].revision; have != e.Revision {
		t.mu.Unlock()
		return have, fmt.Errorf("table %s: key %q is at revision %d, not %d: %w",
			t.name, e.Key, have, e.Revision, store.ErrConflict)
	}
	revision, err := t.write([]store.Entry{e})
	t.mu.Unlock()
	if err = t.confirm(err); err != nil {
		return 0, err
	}
	if e.Value == nil {
		return 0, nil
	}
	return revision, nil
}

// Watch never calls fn: nobody else writes here.
func (t *table) Watch(func(store.Entry)) (stop func()) { return func() {} }

// confirm waits for the flush that the mode promises.
func (t *table) confirm(err error) error {
	if err != nil || !t.durable {
		return err
	}
	if err := t.syncer.wait(t); err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	return nil
}

// write appends the records of one write and applies it in memory. Needs mu.
func (t *table) write(entries []store.Entry) (uint64, error) {
	switch {
	case t.closed:
		return 0, store.ErrClosed
	case t.err != nil:
		return 0, fmt.Errorf("table %s: %w: %w", t.name, store.ErrReadOnly, t.err)
	}
	buf, err := t.encode(entries)
	if err != nil {
		return 0, err
	}
	if err := t.append(buf); err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, storeError(err))
	}
	for _, e := range entries {
		t.revision++
		t.apply(e)
	}
	if !t.dirty {
		t.dirty = true
		t.syncer.dirty(t)
	}
	t.maybeCompact()
	return t.revision, nil
}

// encode makes the records of one write in the table's buffer.
func (t *table) encode(entries []store.Entry) ([]byte, error) {
	buf := t.buf[:0]
	for i, e := range entries {
		if len(e.Key) > tableMaxKeyBytes || len(e.Value) > tableMaxValueByte {
			return nil, fmt.Errorf("table %s: entry of %d and %d bytes: %w",
				t.name, len(e.Key), len(e.Value), store.ErrTooLarge)
		}
		kind, flags := uint8(recordUpsert), uint8(0)
		if e.Value == nil {
			kind = recordTombstone
		}
		if i == 0 {
			flags |= recordFirst
		}
		if i == len(entries)-1 {
			flags |= recordLast
		}
		buf = appendRecord(buf, kind, flags, t.revision+uint64(i)+1, e.Key, e.Value)
	}
	if cap(buf) <= 1<<20 {
		t.buf = buf
	}
	return buf, nil
}

// append writes the records to every file that must have them, or to none.
func (t *table) append(buf []byte) error {
	if err := t.main.append(buf); err != nil {
		return t.poisonIfBroken(err)
	}
	if t.twin != nil {
		if err := t.twin.append(buf); err != nil {
			if t.twinMust {
				return t.poisonIfBroken(errors.Join(err, t.main.rollback(len(buf))))
			}
			t.twin = nil // the compaction sees that and gives up
		}
	}
	if t.compact && t.twin == nil {
		t.delta = append(t.delta, buf...)
	}
	return nil
}

// poisonIfBroken makes the table read-only when a file's state is not known.
func (t *table) poisonIfBroken(err error) error {
	var broken *brokenError
	if errors.As(err, &broken) {
		t.fail(err)
	}
	return err
}

// fail makes the table read-only. Needs mu.
func (t *table) fail(err error) {
	if t.err == nil {
		t.err = err
		t.note(event{Kind: eventFault, Name: t.name, Text: fmt.Sprintf("table %s is read-only: %v", t.name, err)})
	}
}

// apply puts one written entry, at the current revision, into the map.
func (t *table) apply(e store.Entry) {
	if old, had := t.entries[e.Key]; had {
		t.live -= int64(recordSize(len(e.Key), len(old.value)))
		t.digest -= digestOf(e.Key, old.revision)
	}
	if e.Value == nil {
		delete(t.entries, e.Key)
		return
	}
	t.entries[e.Key] = tableEntry{value: append([]byte{}, e.Value...), revision: t.revision}
	t.digest += digestOf(e.Key, t.revision)
	t.live += int64(recordSize(len(e.Key), len(e.Value)))
}

func (t *table) syncState() *syncState { return &t.state }

// flushAll is the background's; nothing of a table is flushed by it alone.
func (t *table) flushAll() error { return t.sync() }

// sync flushes what was written before the call; a failure makes the table read-only.
func (t *table) sync() error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	main, twin, must, err := t.main, t.twin, t.twinMust, t.err
	clean := !t.dirty
	t.dirty = false
	t.mu.Unlock()
	if err != nil || clean {
		return err
	}
	if err = main.file.Sync(); err == nil && twin != nil {
		if twinErr := twin.file.Sync(); twinErr != nil {
			if must {
				err = twinErr
			} else {
				t.abandonTwin(twin)
			}
		}
	}
	if err != nil {
		t.mu.Lock()
		t.fail(fmt.Errorf("flush: %w", err))
		err = t.err
		t.mu.Unlock()
	}
	return err
}

// abandonTwin gives up a compaction whose new file can't be flushed.
func (t *table) abandonTwin(twin *tableFile) {
	t.mu.Lock()
	if t.twin == twin && !t.twinMust {
		t.twin = nil
	}
	t.mu.Unlock()
}

// close waits for a compaction, flushes and closes.
func (t *table) close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	t.done.Wait()
	err := t.sync()
	t.flushing.Lock()
	defer t.flushing.Unlock()
	return errors.Join(err, t.main.file.Close())
}
