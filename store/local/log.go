package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/log"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Log is a store.Log over one directory. It is a small struct until it is used:
// then inner is opened, once, and stays. There may be very many that are not, so what a
// log has only in use stands behind a pointer: see madeCursor.
//
// Lock order: mu before cursor.mu. An append takes neither.
type Log struct {
	id      LogNumber
	store   *Store
	owner   store.Owner                      // never nil
	options atomic.Pointer[store.LogOptions] // how it is kept, shared with others; see keptAs
	inner   atomic.Pointer[log.Log]
	cursor  atomic.Pointer[cursor] // made at first use
	fault   atomic.Pointer[error]  // of the cursor or the directory; the log's own are in inner
	watch   atomic.Pointer[watchers]
	rest    atomic.Pointer[rest] // what the last checkpoint says; nil when nothing
	left    atomic.Pointer[left] // what the consumer said with its state
	ahead   atomic.Bool          // the consumer had kept more than its floor when the log was opened: acks ahead of it are not counted before it says so
	end     atomic.Pointer[endMark]
	floor   atomic.Int64 // what Release said last
	grown   atomic.Int64 // bytes appended since a limit in bytes was looked at
	state   syncState

	durable atomic.Bool // the mode is group or always
	newDirs atomic.Bool // directories above the log's were not flushed yet
	unsaved atomic.Bool // it is not as the last checkpoint says: see touch

	mu     sync.Mutex // opening, options, removing; guards onDisk, gone and cut
	fresh  bool       // it had no directory at first, so it is empty until inner is there
	onDisk bool       // the directory is there
	gone   bool       // closed or removed
	cut    bool       // recovery cut a torn tail; told while the log is opened
}

var _ store.Log = (*Log)(nil)

func newLog(s *Store, id LogNumber, o store.LogOptions, onDisk bool, r *rest) *Log {
	l := &Log{id: id, store: s, owner: o.Owner, onDisk: onDisk, fresh: !onDisk}
	if l.owner == nil {
		l.owner = nameOnly(o.Name)
	}
	l.rest.Store(r)
	l.setOptions(o)
	return l
}

// madeCursor is the log's cursor, made if there is none.
func (l *Log) madeCursor() *cursor {
	if c := l.cursor.Load(); c != nil {
		return c
	}
	l.cursor.CompareAndSwap(nil, &cursor{state: slot{Boot: l.store.boot}})
	return l.cursor.Load()
}

// ID is the log's id.
func (l *Log) ID() store.LogID { return l.id.ID() }

// name is what people call the log.
func (l *Log) name() string { return l.owner.LogName() }

func (l *Log) transient() bool { return l.options.Load().Transient }

func (l *Log) dir() string { return l.store.logDir(l.id, l.transient()) }

// mode is the log's own or the store's.
func (l *Log) mode() store.Mode {
	o := l.options.Load()
	switch {
	case o.Transient:
		return store.ModeOS
	case o.Mode == store.ModeDefault:
		return l.store.o.Mode
	}
	return o.Mode
}

// use opens the log if it has a directory. It returns nil for one that has none:
// such a log is empty and begins at 0.
func (l *Log) use() (*log.Log, error) {
	if inner := l.inner.Load(); inner != nil {
		return inner, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil, store.ErrClosed
	}
	if !l.onDisk {
		return nil, nil
	}
	return l.open()
}

// useWithRoom is use, which has others give descriptors back if that is what it takes.
func (l *Log) useWithRoom() (*log.Log, error) {
	inner, err := l.use()
	if scarce(err) {
		l.store.makeRoom()
		inner, err = l.use()
	}
	return inner, err
}

// make opens the log, with a new directory if it has none.
func (l *Log) make() (*log.Log, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil, store.ErrClosed
	}
	if err := l.makeDirLocked(); err != nil {
		return nil, err
	}
	return l.open()
}

// open opens segments and cursor. Needs mu and the directory.
func (l *Log) open() (*log.Log, error) {
	if inner := l.inner.Load(); inner != nil {
		return inner, nil
	}
	if fault := l.fault.Load(); fault != nil {
		return nil, readOnly(l, *fault)
	}
	o := l.options.Load()
	c := l.madeCursor()
	cursor, err := c.read(l)
	if err != nil {
		return nil, fmt.Errorf("open log %d (%s): read the cursor: %w", l.id, l.name(), err)
	}
	inner, err := log.Open(log.Options{
		FS: l.store.o.FS, Dir: l.dir(), Pool: l.store.pool,
		SegmentBytes: l.segmentBytes(), MaxBatchBytes: l.store.o.MaxBatchBytes,
		NextOffset: cursorReach(cursor), Known: l.known(), Transient: o.Transient, Now: l.store.now, Report: l.report, Begins: l.noteStart,
	})
	if err != nil {
		return nil, fmt.Errorf("open log %d (%s): %w", l.id, l.name(), storeError(err))
	}
	err = inner.Truncate(cursorStart(cursor))
	if err == nil && (l.cut || inner.Dirty() && cursorBoot(cursor) != l.store.boot) {
		// What was cut must stay cut: a later start, which knows where the next
		// segment begins, would look behind the torn range and find more. After a
		// power cut the range may begin with a page of zeros, and nobody can tell.
		err = inner.Sync()
	}
	if err == nil {
		start, end := inner.Bounds()
		err = c.recover(l, cursor, start, end)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log %d (%s): %w", l.id, l.name(), err), inner.Close())
	}
	l.floor.Store(c.state.Floor)
	l.ahead.Store(c.state.BlobLen > 0)
	l.inner.Store(inner)
	l.opened()
	return inner, nil
}

// segmentBytes is the log's largest segment.
func (l *Log) segmentBytes() int64 {
	if n := l.options.Load().SegmentBytes; n > 0 {
		return n
	}
	return l.store.o.SegmentBytes
}

// makeDir makes the log's directory for a cursor that comes before any message.
func (l *Log) makeDir() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return store.ErrClosed
	}
	return l.makeDirLocked()
}

// makeDirLocked makes the directory with its meta file. Needs mu.
func (l *Log) makeDirLocked() error {
	if l.onDisk {
		return nil
	}
	if err := l.store.makeHashDir(l.id, l.transient()); err != nil {
		return fmt.Errorf("make the directory of log %d: %w", l.id, storeError(err))
	}
	if err := l.store.fs.MkdirAll(l.dir()); err != nil {
		return fmt.Errorf("make the directory of log %d: %w", l.id, storeError(err))
	}
	if err := l.writeMeta(); err != nil {
		return err
	}
	l.newDirs.Store(!l.transient())
	l.onDisk = true
	return nil
}

// writeMeta writes the meta file. Needs mu.
func (l *Log) writeMeta() error {
	m := Meta{ID: l.id, Created: l.store.now(), Options: *l.options.Load(), Definition: l.owner.Definition()}
	m.Options.Name = l.name()
	meta := encodeMeta(m)
	if err := writeFile(l.store.fs, l.dir(), metaName, meta, false); err != nil {
		return fmt.Errorf("write meta of log %d: %w", l.id, storeError(err))
	}
	return nil
}

// metaName is the file that says whose directory it is.
const metaName = "meta"

// Append stores batches; see store.Log.
func (l *Log) Append(batches []byte) (store.Position, error) {
	inner := l.inner.Load()
	if inner == nil {
		var err error
		if inner, err = l.make(); scarce(err) {
			l.store.makeRoom()
			inner, err = l.make()
		}
		if err != nil {
			return store.Position{}, err
		}
	}
	if fault := l.fault.Load(); fault != nil {
		return store.Position{}, readOnly(l, *fault)
	}
	if !l.unsaved.Load() {
		l.touch()
	}
	if l.store.o.Gap > 0 {
		batches = withGap(batches, l.store.o.Gap)
	}
	base, err := inner.Append(batches)
	for tries := 0; scarce(err) && tries < roomTries; tries++ {
		l.store.makeRoom()
		base, err = inner.Append(batches)
	}
	if err != nil {
		return store.Position{}, l.appendError(inner, err)
	}
	if !l.unsaved.Load() { // a checkpoint was written meanwhile, maybe without these
		l.touch()
	}
	_, end := inner.Bounds()
	l.noteEnd(end)
	l.store.appended.Add(uint64(len(batches)))
	l.dropGrown(inner, len(batches))
	if !l.state.listed.Load() && !l.transient() {
		l.store.syncer.dirty(l)
	}
	l.wake()
	return store.At(message.Offset(base)), nil
}

// Bounds are where the log begins and ends. A log in use answers without waiting for
// a lock: its first append may be waiting for the disk.
func (l *Log) Bounds() (start, end message.Offset, err error) {
	if l.fresh && l.inner.Load() == nil {
		if !l.mu.TryLock() {
			return 0, 0, nil // it is being made
		}
		gone, inner := l.gone, l.inner.Load()
		l.mu.Unlock()
		if gone && inner == nil {
			return 0, 0, store.ErrClosed
		}
		if inner == nil {
			return 0, 0, nil
		}
	}
	inner, err := l.useWithRoom()
	if err != nil || inner == nil {
		return 0, 0, err
	}
	from, to := inner.Bounds()
	return message.Offset(from), message.Offset(to), nil
}

// Records counts the records in a range.
func (l *Log) Records(from, to message.Offset) (int64, error) {
	inner, err := l.useWithRoom()
	if err != nil || inner == nil {
		return 0, err
	}
	n, err := inner.Records(int64(from), int64(to))
	if err != nil {
		return n, l.readError(err)
	}
	return n, nil
}

// RecordsNow counts offsets, which are records as a rule; see store.Log.
func (l *Log) RecordsNow(from, to message.Offset) (int64, bool) {
	inner := l.inner.Load()
	if inner == nil {
		return 0, false
	}
	return inner.RecordsNow(int64(from), int64(to))
}

// OffsetForTime finds the first batch at or after a time.
func (l *Log) OffsetForTime(_ context.Context, ms int64) (message.Offset, int64, bool, error) {
	inner, err := l.use()
	if err != nil || inner == nil {
		return 0, 0, false, err
	}
	offset, timestamp, ok, err := inner.OffsetForTime(ms)
	if err != nil {
		return 0, 0, false, l.readError(err)
	}
	return message.Offset(offset), timestamp, ok, nil
}

// Err is why the log is read-only.
func (l *Log) Err() error {
	if fault := l.fault.Load(); fault != nil {
		return readOnly(l, *fault)
	}
	if inner := l.inner.Load(); inner != nil {
		if err := inner.Err(); err != nil {
			return readOnly(l, err)
		}
	}
	return nil
}

// fail makes the log read-only with that reason, and returns the error that
// tells it. What was only not tried, for want of a descriptor, is tried again
// with the next flush.
func (l *Log) fail(err error) error {
	if scarce(err) {
		l.store.note(event{Kind: eventNotice, Name: l.name(),
			Text: fmt.Sprintf("log %d (%s): %v", l.id, l.name(), err)})
		l.store.syncer.dirty(l)
		return l.readError(err)
	}
	if l.fault.CompareAndSwap(nil, &err) {
		l.store.note(event{Kind: eventFault, Name: l.name(),
			Text: fmt.Sprintf("log %d (%s) is read-only: %v", l.id, l.name(), err)})
	}
	return l.Err()
}

// readOnly is the error of a log that can't be written.
func readOnly(l *Log, reason error) error {
	return fmt.Errorf("log %d (%s): %w: %w", l.id, l.name(), store.ErrReadOnly, reason)
}

// SetOptions changes mode and retention, and the meta file if there is one.
func (l *Log) SetOptions(_ context.Context, o store.LogOptions) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.options.Load()
	o.Transient = old.Transient // where the files are can't change
	if _, nobody := l.owner.(nameOnly); l.gone || nobody && keptAs(o) == *old {
		return nil // an owner may have another definition
	}
	l.setOptions(o)
	if !l.onDisk {
		return nil
	}
	return l.writeMeta()
}

func (l *Log) setOptions(o store.LogOptions) {
	kept := keptAs(o)
	l.options.Store(l.store.kept.Of(kept, func() *store.LogOptions { return &kept }))
	if inner := l.inner.Load(); inner != nil {
		inner.SetSegmentBytes(l.segmentBytes())
	}
	l.durable.Store(l.mode() != store.ModeOS)
}

// touched says whether there is anything to close.
func (l *Log) touched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.onDisk {
		l.gone = true
	}
	return l.onDisk
}

// close flushes, writes checkpoints and closes.
func (l *Log) close() error {
	l.mu.Lock()
	l.gone = true
	inner := l.inner.Load()
	l.mu.Unlock()
	var errs []error
	if l.transient() {
		errs = append(errs, l.madeCursor().drop())
	} else if l.fault.Load() == nil {
		errs = append(errs, l.madeCursor().close(l))
		if l.newDirs.Swap(false) {
			errs = append(errs, l.syncDirs())
		}
	}
	if inner != nil {
		waiting := l.waiting(inner)
		errs = append(errs, inner.Close())
		if !l.transient() {
			l.atRest(inner, waiting)
			l.unsaved.Store(false)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close log %d (%s): %w", l.id, l.name(), err)
	}
	return nil
}

// remove deletes everything of the log.
func (l *Log) remove(ctx context.Context) error {
	l.mu.Lock()
	onDisk := l.onDisk
	l.gone, l.onDisk = true, false
	inner := l.inner.Load()
	l.mu.Unlock()
	l.wake() // nothing will come any more
	errs := []error{l.madeCursor().drop()}
	p := newPace(ctx)
	if inner != nil {
		errs = append(errs, inner.Delete(p.next))
	}
	if onDisk && errs[len(errs)-1] == nil {
		errs = append(errs, l.store.removeDir(l.dir(), p))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete log %d (%s): %w", l.id, l.name(), err)
	}
	return nil
}
