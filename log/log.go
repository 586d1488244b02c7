package log

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// Errors of a Log. Storage errors of the file system come wrapped.
var (
	// ErrOutOfRange says that an offset lies outside [start, end].
	ErrOutOfRange = errors.New("offset out of range")
	// ErrClosed says that the log was closed or deleted.
	ErrClosed = errors.New("log closed")
	// ErrReadOnly says that an earlier storage error forbids appending.
	ErrReadOnly = errors.New("log is read-only")
	// ErrTooLarge says that one append exceeds MaxBatchBytes.
	ErrTooLarge = errors.New("batch too large")
	// ErrTooManyOpen says that the pool's or the system's limit of open files is
	// reached; see segment.Pool.MakeRoom.
	ErrTooManyOpen = segment.ErrTooManyOpen
	// ErrInvalid says that an append is not a run of whole batches.
	ErrInvalid = errors.New("not whole record batches")
)

// Defaults of Options.
const (
	DefaultSegmentBytes       = 64 << 20
	DefaultFirstSegmentBytes  = 64 << 10
	DefaultIndexIntervalBytes = 4 << 10
	DefaultMaxBatchBytes      = 256 << 20
)

// Options says where a log lives and how it cuts its segments. Zero fields take
// the defaults.
type Options struct {
	FS  fs.FS  // required
	Dir string // the log's folder; made by the first append, in one that is durable

	SegmentBytes       int64 // size of a full segment
	FirstSegmentBytes  int64 // size of the first one; each next doubles
	IndexIntervalBytes int   // bytes between two index entries
	MaxBatchBytes      int   // largest single append

	// Pool makes and recycles the segments; shared by all logs of a store.
	// Without one the log has its own, which recycles nothing.
	Pool *segment.Pool

	// NextOffset is the least offset that the next append may get. Whoever
	// remembers offsets elsewhere (a cursor) passes the highest, so that a log
	// whose end was lost does not give the same number twice.
	NextOffset int64

	// Known, if not nil, is what the owner remembers of the log. What is missing of it
	// is reported, and the numbers of records that are lost are not given out again.
	Known *Known

	// Transient logs are never synced and not recovered: the owner empties
	// their folders at the start.
	Transient bool

	// Begins, if not nil, is told where the log begins before what lies before that goes.
	// It must not call the log.
	Begins func(start int64)

	// Now is the clock for segment headers and sizes; default time.Now. It is
	// asked once a segment.
	Now func() time.Time

	// Report, if not nil, is told what recovery did and which damage readers
	// met. It must not call the log.
	Report func(Event)
}

func (o *Options) defaults() {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.FirstSegmentBytes <= 0 {
		o.FirstSegmentBytes = DefaultFirstSegmentBytes
	}
	o.FirstSegmentBytes = min(o.FirstSegmentBytes, o.SegmentBytes)
	if o.IndexIntervalBytes <= 0 {
		o.IndexIntervalBytes = DefaultIndexIntervalBytes
	}
	if o.MaxBatchBytes <= 0 {
		o.MaxBatchBytes = DefaultMaxBatchBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Log is one ordered sequence of record batches. Methods are safe for
// concurrent use.
type Log struct {
	o       Options
	so      segment.Options
	ownPool bool

	list  atomic.Pointer[[]*segment.Segment] // rising by base, never changed in place
	start atomic.Int64                       // logical start: nothing below is read
	end   atomic.Int64                       // offset of the next record

	mu        sync.Mutex       // guards appends, list, and the fields below
	active    *segment.Segment // last of list, nil until the first append of this process
	lastBytes int64            // size class of the last segment
	lastRoll  time.Time
	preparing bool
	prepared  *segment.Prepared
	closed    bool
	dropped   bool // segments were dropped, whose files may still be there
	failure   error
	newNames  []string           // folders above that hold names not known to be durable
	claimed   []*segment.Segment // are being replaced, and not dropped meanwhile: see replace

	cutTo int64 // offset behind the records that recovery cut and told of

	failed   atomic.Bool  // failure is set
	deleted  atomic.Bool  // its files go, under a Sync perhaps
	sparse   atomic.Bool  // offsets are missing somewhere: Records must count
	dirtyDir atomic.Bool  // a file was created since the last sync
	unsynced atomic.Bool  // recovery left segments without seal
	syncedTo atomic.Int64 // offsets below are durable

	syncMu sync.Mutex // one Sync at a time
	thinMu sync.Mutex // one Thin at a time; before all others
	// mergeLeast is of how many neighbours Thin makes one.
	mergeLeast int
	// indexFailing says that the last Sync could not write an index. syncMu guards it.
	indexFailing bool
}

// Err returns the storage error that made the log read-only, or nil.
func (l *Log) Err() error {
	if !l.failed.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// fail makes the log read-only. The caller holds mu.
func (l *Log) fail(err error) {
	if l.failure == nil {
		l.failure = err
		l.failed.Store(true)
		l.report(Event{Kind: Failed, Err: err})
	}
}

// Distrust makes the log read-only because bytes that it lent out of its memory
// could not be read, or were not what had been appended. From here on readers get
// what the files say, checked, and skip what is damaged there.
func (l *Log) Distrust(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.fail(err)
	if l.active != nil && !l.active.Sealed() {
		l.active.Seal() // nothing more comes, and damage in it has an end
	}
	l.so.Distrust()
}

// usable returns why the log takes no appends. The caller holds mu.
func (l *Log) usable() error {
	if l.closed {
		return ErrClosed
	}
	if l.failure != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, l.failure)
	}
	return nil
}

// Bounds returns the logical start and the offset that the next record gets.
func (l *Log) Bounds() (start, end int64) {
	end = l.end.Load()
	return min(l.start.Load(), end), end
}

// Size returns the bytes on disk, allocated ones included, and the number of
// segments.
func (l *Log) Size() (bytes int64, segments int) {
	list := l.segments()
	for _, s := range list {
		bytes += s.AllocatedBytes()
	}
	return bytes, len(list)
}

func (l *Log) segments() []*segment.Segment {
	if p := l.list.Load(); p != nil {
		return *p
	}
	return nil
}

func (l *Log) setSegments(list []*segment.Segment) { l.list.Store(&list) }

// Close syncs, seals the last segment and lets go of everything. Views stay
// valid until they are released.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	active, prepared := l.active, l.prepared
	l.prepared = nil
	if active != nil && !active.Sealed() {
		active.Seal()
	}
	failed, dropped := l.failure != nil, l.dropped
	l.mu.Unlock()
	if prepared != nil {
		prepared.Discard()
	}
	var err error
	if !failed {
		if err = l.sync(); err == nil && active != nil && !l.o.Transient {
			err = active.Trim()
		}
	}
	for _, s := range l.segments() {
		s.Close()
	}
	if dropped {
		l.o.Pool.Wait() // whoever opens the log next must not meet files that are about to go
	}
	return errors.Join(err, l.closePool())
}

func (l *Log) closePool() error {
	if !l.ownPool {
		return nil
	}
	return l.o.Pool.Close()
}

// Delete drops all segments, one after the other, and removes the folder. pace is
// called before each piece of that; its error ends the work early, and leaves what
// no Log opens any more.
func (l *Log) Delete(pace func() error) error {
	l.mu.Lock()
	l.closed = true
	l.deleted.Store(true)
	prepared := l.prepared
	l.prepared = nil
	list := l.segments()
	l.setSegments(nil)
	l.mu.Unlock()
	if prepared != nil {
		prepared.Discard()
	}
	var err error
	for _, s := range list {
		if err == nil {
			err = pace()
		}
		if err != nil {
			s.Close()
			continue
		}
		s.Drop() // nobody appends any more
		l.o.Pool.Wait()
	}
	if err == nil {
		err = l.o.FS.RemoveAll(l.o.Dir)
	}
	return errors.Join(err, l.closePool())
}
