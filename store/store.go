// Package store is the contract between the broker and whatever keeps its data:
// interfaces, options and errors, and no implementation.
//
// There are two kinds of thing in a store. A Log is the ordered record batches of
// one queue or of one partition of a topic, with the one work cursor that belongs
// to it. A Table is a small set of keys with values: definitions, group offsets.
//
// # What every store promises
//
//   - Append is done once, or it failed: after an error of it nothing of the call is
//     readable. What was taken and then not committed may be there or not.
//   - Offsets grow and are never reused in a log. They need not be dense: a reader
//     steps to the next offset that it reads.
//   - What is not here is not lost: ErrNotYet says that a log has it and that it is on
//     its way; only an empty view says that there is nothing.
//   - Retryable tells errors that pass from those that stay.
//   - What Commit reported as done survives what the log's Mode says it survives.
//   - A reader never waits for a writer, and a slow reader never slows one.
//   - A fault of the disk makes one log read-only, with the reason in Err; the rest goes on.
//   - Bytes that are lent may turn out not to be readable while somebody looks at
//     them. View.Use turns that into an error of this one log.
//
// The conformance suite in store/storetest holds these sentences; every backend runs it.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound   = errors.New("not found")
	ErrOutOfRange = errors.New("offset out of range")
	ErrFull       = errors.New("no space left")     // the disk or a quota; what was stored stays readable
	ErrReadOnly   = errors.New("log is read-only")  // after a fault; wraps the reason
	ErrConflict   = errors.New("revision conflict") // compare-and-set lost
	ErrClosed     = errors.New("store is closed")
	ErrTooLarge   = errors.New("batch too large")
	ErrMissing    = errors.New("something that was stored is missing")
	// ErrNotYet says that the log has what is asked for, but not here yet. Watchers
	// are woken when it is.
	ErrNotYet = errors.New("on its way")
	// ErrBusy says that too much is under way already.
	ErrBusy = errors.New("too much is under way")
	// ErrUnavailable says that whoever keeps the log can't be reached now.
	ErrUnavailable = errors.New("store can't be reached")
	// ErrFenced says that another process has the log's work cursor now.
	ErrFenced = errors.New("another process works this log")
)

// Retryable reports whether the same call may succeed later without anybody doing
// anything about it.
func Retryable(err error) bool {
	return errors.Is(err, ErrNotYet) || errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable)
}

// Mode says what a commit means.
type Mode uint8

// The modes, and what a done Commit survives.
const (
	ModeDefault Mode = iota // the store's own default
	ModeOS                  // in the page cache: a crash of the process; flushed every second
	ModeGroup               // on disk, one flush for all that wait: a power cut too
	ModeAlways              // on disk, each append on its own: a power cut too
)

// String is the mode's name as the command line writes it.
func (m Mode) String() string {
	switch m {
	case ModeOS:
		return "os"
	case ModeGroup:
		return "group"
	case ModeAlways:
		return "always"
	}
	return "default"
}

// ParseMode reads what String writes.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "os":
		return ModeOS, nil
	case "group":
		return ModeGroup, nil
	case "always":
		return ModeAlways, nil
	}
	return 0, errors.New("unknown durability mode " + s + " (os, group or always)")
}

// LogOptions are a log's settings. Name is for people: it is written beside the
// data so that a directory can be told from another. A log with an Owner has the name
// that it says, and what Owner says of itself is kept beside the data too and comes back
// with Unclaimed. Both stay what they were when the log was opened first.
type LogOptions struct {
	Name         string
	Owner        Owner
	Mode         Mode
	Transient    bool  // need not survive the process; never flushed
	SegmentBytes int64 // largest segment; 0 is the store's default
	Retention    Retention
}

// Called is what people call the log.
func (o LogOptions) Called() string {
	if o.Owner != nil {
		return o.Owner.LogName()
	}
	return o.Name
}

// Owner is whose a log is.
type Owner interface {
	// LogName is in the place of LogOptions.Name.
	LogName() string
	// Definition is what defines the owner, for the day on which that is lost. It is asked
	// for when the log is made and when SetOptions is called, and must not call the log.
	Definition() string
}

// Retention says what may go. A segment goes as a whole, when all of it may.
type Retention struct {
	// Consumed logs are work queues: only what lies below the floor given to
	// Release may go, and Age, when set, keeps it for that long after it was
	// written. Otherwise the log is a topic: what is older than Age goes, and the
	// oldest go while the log has more than Bytes.
	Consumed bool
	Age      time.Duration // 0: for ever for a topic, not at all for a work queue
	Bytes    int64         // 0: no limit
}

// Store keeps logs and tables. All methods are safe for concurrent use.
type Store interface {
	// Caps are what the store can do beyond the contract, and what it can't.
	Caps() Caps
	// NewLogs makes n logs and returns their ids, which no log has or had. beside are
	// the logs that they are further partitions of, in order; none for a new name. They
	// can be appended to when it returns. It may take time.
	NewLogs(ctx context.Context, o LogOptions, beside []LogID, n int) ([]LogID, error)
	// OpenLog opens a log that NewLogs made. It is cheap: nothing is touched before
	// the log is used, so a log that is gone shows when it is. Opening an open log
	// returns the same Log with its options replaced.
	OpenLog(id LogID, o LogOptions) (Log, error)
	// DeleteLog removes the log and everything in it, piece by piece, and may take
	// its time, so that nobody else notices. Readers that hold a View keep it until
	// they release it. A log that is not there is no error. When ctx ends, or the
	// process, what is left is unreadable rubbish: call it again, then or after the
	// next start.
	DeleteLog(ctx context.Context, id LogID) error
	// Commit calls done once everything that was appended to logs before the call
	// is as durable as each log's mode promises, or with the error that prevents
	// it. done may run before Commit returns, or later on the store's own
	// goroutine, so it must be short and never block. Calls of done for one log
	// keep the order of the Commits. The slice is borrowed for the call.
	Commit(logs []Log, done func(error))
	// Table opens the table of that name, or makes it.
	Table(ctx context.Context, name string) (Table, error)
	// Leases say whose the logs' work cursors are.
	Leases() Leases
	// Unclaimed lists the logs that are stored and were not opened since the store was.
	// Called when all that is defined has been opened, it tells what the definitions do
	// not know of, but for those that are to be deleted. A store that others use too
	// lists none.
	Unclaimed(deleted ...LogID) []Unclaimed
	// Stats fills in what the store measured of itself.
	Stats() Stats
	// Err is not nil when the store as a whole can't take writes, with the reason.
	Err() error
	// Close flushes, writes checkpoints and releases everything.
	Close() error
}

// Unclaimed is a log that nobody asked for.
type Unclaimed struct {
	ID         LogID
	Options    LogOptions // as far as they could be read
	Definition string     // what its owner said of itself
	// Excused says that this is no proof that a definition is lost: a power cut may have
	// left the log, or the same was accepted at an earlier start.
	Excused bool
}

// Log is one ordered sequence of record batches and its work cursor.
type Log interface {
	ID() LogID
	// Append stores one or more whole record batches that stand back to back and
	// were checked by the caller, and numbers their records on. It copies; the
	// caller's bytes are free after the call, but for base offsets and leader epochs,
	// which may be changed in them, as they were. Appends of one log are numbered in
	// the order of the calls. It never waits for a flush, but may wait while too much
	// is under way. Errors: ErrFull, ErrReadOnly, ErrTooLarge, ErrClosed, ErrNotFound,
	// ErrBusy, ErrUnavailable.
	Append(batches []byte) (Position, error)
	// Bounds are the first offset that can be read and the one after the last. What
	// others append may show in them a little later.
	Bounds() (start, end message.Offset, err error)
	// Read returns whole batches, beginning with the one that holds from or the
	// first after it, at most maxBytes of them but at least one. At the end the
	// view is empty. ErrOutOfRange if from is below the start or above the end,
	// ErrNotYet if the batches are on their way.
	Read(from message.Offset, maxBytes int) (View, error)
	// ReadNow is Read without waiting for anything: ErrNotYet for what it may have to wait
	// for, a disk included. It wakes nobody when that could be had: Read fetches it.
	ReadNow(from message.Offset, maxBytes int) (View, error)
	// OffsetForTime finds the first batch whose latest timestamp is at or after ms,
	// and returns its base offset and that timestamp; ok is false if there is none.
	OffsetForTime(ctx context.Context, ms int64) (offset message.Offset, timestamp int64, ok bool, err error)
	// Records counts the records in [from, to), exactly at batch borders if Caps
	// says so.
	Records(from, to message.Offset) (int64, error)
	// RecordsNow is Records without waiting for anything; exact is false when it is
	// the number of offsets, of which some may be no records.
	RecordsNow(from, to message.Offset) (n int64, exact bool)
	// Watch has wake called after appends, a truncation and the log's deletion until
	// stop is called. wake must not block, and may be called more often or less often
	// than there are changes, but always after the last one.
	Watch(wake func()) (stop func())

	// Wake has what Watch was given called, as after an append: something else that watchers go by has changed.
	Wake()

	// LoadCursor returns the work cursor as it was last known; a log that never
	// had one returns the zero State with Floor at the log's start. ErrFenced if
	// this process does not have the lease of the log.
	LoadCursor(ctx context.Context) (CursorState, error)
	// Progress notes how far the work cursor is: everything below floor is acked,
	// nothing at or after handed was ever given to a consumer. It survives the
	// process. When handed must be durable first (modes group and always) it may
	// wait for a reservation ahead of it, once every few thousand offsets. ErrBusy says
	// that it could not be noted just now: who hands nothing out before another try
	// succeeds has nothing come back unmarked. ErrFenced says that what was handed out
	// since the last call may go to others as well: the holder of the cursor forgets it.
	// Any other failure is the log's own to tell.
	Progress(floor, handed message.Offset) error
	// ProgressNow is Progress without waiting for anything, as ReadNow is Read: with
	// ErrNotYet nothing was noted. It is called on every turn of a delivery, so it
	// costs a few nanoseconds. Nobody calls it beside Progress of the same log.
	ProgressNow(floor, handed message.Offset) error
	// SaveCursor keeps the rest of the cursor's state, opaque to the store; ErrTooLarge
	// keeps nothing of it. In data, open messages below next are left to be consumed,
	// and all from next on: that is for Figures, which are told without reading data.
	SaveCursor(ctx context.Context, data []byte, open int64, next message.Offset) error

	// SaveState keeps a small thing of the owner's beside the log, instead of what it kept
	// under that name before; the name is of lower-case letters. It survives the process, a
	// power cut only if it was saved some time before. LoadState returns it, and
	// nothing if there is none. So it must be something that can be made again from the
	// log. A store whose logs are kept by others who know the same may keep nothing: a Kafka
	// cluster keeps the state of producers itself.
	SaveState(ctx context.Context, name string, data []byte) error
	LoadState(ctx context.Context, name string) ([]byte, error)

	// Release says that everything below floor was consumed, so that retention may take
	// it. It waits for nothing.
	Release(floor message.Offset)
	// Truncate moves the start: what lies before can't be read any more.
	Truncate(ctx context.Context, before message.Offset) error
	// Thin frees space below an offset that nobody needs any more, in a work queue
	// whose floor stands still because of a few messages: batches for which keep
	// says no can't be read afterwards, or read as batches without records; all
	// others stay as they are, with their offsets. Bounds do not move. keep(first,
	// last) says whether any message in the range still matters; its answer may
	// change to no, not back to yes, and it must not call the log. How much is
	// freed is up to the store, which rewrites only what is mostly not needed; one
	// that can't do it, a topic and a log kept for its age free nothing. It is slow
	// work, beside which appends and reads go on: call it now and then. After a
	// crash each batch is there whole or not at all.
	Thin(below message.Offset, keep func(first, last message.Offset) bool) error
	// Segments lists, oldest first and without a gap, the parts of the log that Compact could write anew: none of what
	// is still being written or not yet on disk, nor what lies behind damage. A store that can't compact lists none.
	Segments() ([]Segment, error)
	// EndSegment makes a part that Compact could write anew of what is being written, if that was begun before a time.
	EndSegment(begunBefore time.Time) error
	// Compact writes segments anew that begin before an offset, oldest first, as edit wants their batches: it is called once
	// for each, in order, and returns the batch itself, another one with the same first and last offset, or nil for none. What it
	// returns is used until its next call. An error of it ends the work. It must not call the log. Bounds and offsets stay. It is
	// slow work, beside which appends and reads go on. After a crash each segment is as it was or as it was to be; once
	// Compact returns it is that for good, up to reached, which is less than asked for if others were at the log too.
	Compact(before message.Offset, edit func(b batch.Batch) (batch.Batch, error)) (reached message.Offset, err error)
	// SetOptions changes mode and retention of an open log.
	SetOptions(ctx context.Context, o LogOptions) error
	// Figures are what is known of the log without opening it or waiting for a disk:
	// of one that was not used since the start, what was saved at the end or a little before.
	// Of an open one with gaps batch headers may be looked at.
	Figures() Figures
	// Err is the reason for which the log is read-only, or nil.
	Err() error
}

// Segment is a part of a log in which nothing changes but by Compact, and by retention as a whole.
type Segment struct {
	Start, End message.Offset // [Start, End)
	Bytes      int64
	Newest     time.Time // of the latest record; the zero Time if it is not known
	Begun      time.Time // about when the first record came; the zero Time if it is not known
}

// Figures are a log's size and how much there is to do in it.
type Figures struct {
	Start, End message.Offset
	Bytes      int64 // on disk
	Segments   int
	Waiting    int64 // messages that are left to be consumed, unacked ones included
	// Certain is false when the log may have changed after the figures were saved, in a
	// process that was killed. Who opens it makes them certain.
	Certain bool
	// Cold says that there is something in the log and nobody has opened it: whoever reads it makes it cost memory and
	// descriptors from then on.
	Cold bool
}

// CursorState is a work cursor at rest.
type CursorState struct {
	Floor  message.Offset // all below are acked
	Handed message.Offset // nothing from here on was ever handed out
	Data   []byte         // what SaveCursor got last; may be older than Floor
}

// Entry is one key of a table. A nil Value deletes the key.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64 // of the write that made it; 0 means: not there
}

// Table is a small ordered map that survives. What it is given is the caller's own after
// a call; values that it returns are never changed, by nobody.
type Table interface {
	// Load calls fn for every key that has a value, in the order of their revisions.
	Load(ctx context.Context, fn func(Entry) error) error
	// Get is the entry of one key, of revision 0 if it has no value.
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes all entries at once or none, and returns when they are as durable
	// as the store's default mode promises. Revisions are not compared.
	Put(ctx context.Context, entries ...Entry) error
	// Swap writes the entry if the key's revision still is e.Revision (0: the key
	// is not there), else ErrConflict. It returns the new revision.
	Swap(ctx context.Context, e Entry) (uint64, error)
	// Watch has fn called for every change made by others than this process since
	// the last Load began, in their order, one at a time; a store that has no others
	// never calls it.
	Watch(fn func(Entry)) (stop func())
}

// Caps are what a store can do.
type Caps struct {
	// Exact says that Records counts and does not estimate.
	Exact bool
	// Shared says that other processes may use the same store: names that are free
	// here may be taken there, and definitions change by their hands.
	Shared bool
	// Transactions says that batches keep what their headers say of producers and transactions, and that control batches can be
	// appended. Where they don't, what a transaction has not committed would be seen.
	Transactions bool
	// MaxBatchBytes is the longest batch that Append takes.
	MaxBatchBytes int
	// MaxCursorBytes is the most that SaveCursor keeps; 0: whatever there may be.
	MaxCursorBytes int
}

// Stats are a store's own figures, running totals since it was opened.
type Stats struct {
	Mode          Mode
	AppendedBytes uint64
	Syncs         uint64
	SyncErrors    uint64
	SyncBuckets   []Bucket // cumulative, as Prometheus wants them
	SyncSeconds   float64
	Recovered     []string // what recovery did when the store was opened, for people
}

// Bucket counts the flushes that took at most Le seconds.
type Bucket struct {
	Le    float64
	Count uint64
}
