package local

import (
	"fmt"

	"github.com/leveret-mq/leveret/store"
)

// maybeCompact starts a compaction when more than half of the file is garbage. Needs mu.
func (t *table) maybeCompact() {
	size := t.main.size
	if size < compactMinBytes || size < t.compactAt || size-headerBytes <= 2*t.live {
		return
	}
	t.startCompaction()
}

// startCompaction takes the snapshot and leaves the work to a goroutine. Needs mu.
func (t *table) startCompaction() {
	if t.compact || t.closed || t.err != nil {
		return
	}
	snapshot := make([]store.Entry, 0, len(t.entries))
	for key, e := range t.entries {
		snapshot = append(snapshot, store.Entry{Key: key, Value: e.value, Revision: e.revision})
	}
	t.compact, t.delta = true, nil
	revision := t.revision
	t.done.Go(func() { t.runCompaction(snapshot, revision) })
}

// runCompaction rewrites the table. Its steps, with what a crash after each leaves:
//
//  1. write the snapshot to a new file, catch up with what was written meanwhile,
//     and from then on write to both                      the old file, complete
//  2. flush the new file                                  the old file, complete
//  3. rename it over the old one                          either, both complete
//  4. flush the directory, then forget the old file       the new file, complete
func (t *table) runCompaction(snapshot []store.Entry, revision uint64) {
	next, err := t.writeSnapshot(snapshot, revision)
	if err == nil {
		err = t.catchUp(next)
	}
	if err == nil {
		err = next.file.Sync()
	}
	if err == nil {
		err = t.swapFiles(next)
	}
	if err == nil {
		err = t.forgetOld()
	} else if next != nil {
		t.discard(next)
	}
	t.mu.Lock()
	t.compact, t.delta = false, nil
	t.compactAt = 0
	if err != nil {
		// Not a fault of the table: the old file is complete. Try again when it has doubled.
		t.compactAt = 2 * t.main.size
		t.note(event{Kind: eventNotice, Name: t.name, Text: fmt.Sprintf("table %s: compaction: %v", t.name, err)})
	}
	t.mu.Unlock()
}

// writeSnapshot writes the live entries to the new file, each as a write of its own.
func (t *table) writeSnapshot(snapshot []store.Entry, revision uint64) (*tableFile, error) {
	next, err := createTableFile(t.fs, t.dir+"/"+tableName+".new", revision, t.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	var buf []byte
	for i, e := range snapshot {
		buf = appendRecord(buf, recordUpsert, recordFirst|recordLast, e.Revision, e.Key, e.Value)
		if len(buf) >= 1<<20 || i == len(snapshot)-1 {
			if err := next.append(buf); err != nil {
				return next, err
			}
			buf = buf[:0]
		}
	}
	return next, nil
}

// catchUp writes the records made since the snapshot; when it returns without an
// error, the new file has all of them and every further write goes to it too.
func (t *table) catchUp(next *tableFile) error {
	for {
		t.mu.Lock()
		delta := t.delta
		t.delta = nil
		if len(delta) <= compactStep {
			err := next.append(delta)
			if err == nil {
				t.twin = next
			}
			t.mu.Unlock()
			return err
		}
		t.mu.Unlock()
		if err := next.append(delta); err != nil {
			return err
		}
	}
}

// swapFiles makes the new file the main one by a rename; the old one is the twin
// that must be written too until forgetOld.
func (t *table) swapFiles(next *tableFile) error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.twin != next {
		return fmt.Errorf("the new file could not be written")
	}
	file := t.dir + "/" + tableName
	if err := t.fs.Rename(file+".new", file); err != nil {
		return err
	}
	t.main, t.twin, t.twinMust = next, t.main, true
	return nil
}

// forgetOld flushes the directory, after which only the new file counts.
func (t *table) forgetOld() error {
	err := t.fs.SyncDir(t.dir)
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	old := t.twin
	t.twin, t.twinMust = nil, false
	if err != nil {
		t.fail(fmt.Errorf("flush the directory after a compaction: %w", err))
	}
	t.mu.Unlock()
	if closeErr := old.file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// discard removes the new file of a compaction that failed.
func (t *table) discard(next *tableFile) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	t.twin = nil
	t.mu.Unlock()
	if err := next.file.Close(); err != nil {
		t.note(event{Kind: eventNotice, Name: t.name, Text: fmt.Sprintf("table %s: close: %v", t.name, err)})
	}
	if err := t.fs.Remove(t.dir + "/" + tableName + ".new"); err != nil {
		t.note(event{Kind: eventNotice, Name: t.name, Text: fmt.Sprintf("table %s: remove: %v", t.name, err)})
	}
}
