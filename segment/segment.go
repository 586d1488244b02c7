package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/fs"
)

// MaxBytes bounds a segment's file, because positions in the index have 32 bits.
const MaxBytes = 1<<32 - fs.PageBytes

// Errors of segments.
var (
	ErrDropped = errors.New("segment dropped")
	ErrCorrupt = errors.New("segment damaged")
)

// Options is what all segments of one log share.
type Options struct {
	FS   fs.FS
	Pool *Pool
	// IndexIntervalBytes is the distance of index entries.
	IndexIntervalBytes int64
	// Transient segments are never synced and never recovered.
	Transient bool
	// Flushed is an offset below which every record is known to have been on disk, so
	// that Open looks for what follows damage further than it would otherwise.
	Flushed int64
	// Owner is the mutex under which the log appends; the sweep takes it before
	// it unmaps a segment that is still being written.
	Owner *sync.Mutex
	// Now is the clock for batches that have no time of their own; default time.Now.
	Now func() time.Time
	// Damage, if not nil, is told of each range that a reader had to skip.
	Damage func(s *Segment, d Span)

	trail    trail       // who reads where, of what is not in memory
	wary     atomic.Bool // see Distrust
	recycles atomic.Bool // a segment was dropped while it was mapped: its successors' files will be used again, too
}

// Distrust has all segments read from their files, and every batch checked: memory
// of them faulted, or did not hold what was written.
func (o *Options) Distrust() { o.wary.Store(true) }

// Segment is one file of a log. See the package comment for its life.
type Segment struct {
	o          *Options
	base       int64
	generation uint64
	size       int64 // allocated bytes; 0 in one that was found on disk
	createdMs  int64
	covers     int64 // see Covers
	name       string

	// position is the end of the whole batches. The appender stores it last;
	// a reader that loads it may read everything before.
	position atomic.Int64
	// next is the offset behind the last record once sealed, -1 before.
	next atomic.Int64

	// Written by the appender under the log's mutex, frozen by Seal.
	tail tail

	// Written under the log's sync lock only.
	synced       atomic.Int64 // bytes known to be durable
	checkpointed int64        // end position in the index file's last block
	indexBytes   int64        // length of the index file
	indexed      int          // entries in the index file
	finished     atomic.Bool  // the index file ends with a seal

	mem   atomic.Pointer[memory]      // nil when not mapped
	index atomic.Pointer[index.Index] // nil when it must be loaded
	used  atomic.Bool                 // touched since the last sweep
	gone  atomic.Bool                 // Drop or Close was called

	verified atomic.Int64           // bytes whose checksums this process knows to be good
	damage   atomic.Pointer[[]Span] // ranges that readers skip, rising

	replaced bool // Thinned.Claim was called; under the log's mutex

	mu     sync.Mutex // guards the fields below, and the loading of mem and index
	cold   *handle    // descriptor of a segment that is not mapped
	chunks []*readBuf // what was read last through it
	pinned bool       // the sweep leaves it open: see pin
}

// tail is the appender's state of a segment.
type tail struct {
	next    int64 // offset of the next record
	end     int64 // position behind the last batch written, for Publish
	records int64
	maxTime int64 // see ageTime
	marked  int64 // position behind which the next index entry is due
	warm    int64 // bytes whose pages are resident since a former life
}

// Span is a damaged range of a segment that readers skip.
type Span struct {
	FromPosition, ToPosition int64 // bytes
	FromOffset, ToOffset     int64 // records that are lost: [from, to)
	Err                      error // what is wrong with the first batch
}

// Create makes the segment name for records from base on, with room for at
// least size bytes of file, out of a new or recycled file of the pool.
func Create(o *Options, name string, base, size, nowMs int64) (*Segment, error) {
	p, err := Prepare(o, size, base)
	if err != nil {
		return nil, err
	}
	return p.Create(o, name, base, nowMs)
}

// Prepared is a file that waits to become a segment.
type Prepared struct {
	b    *block
	pool *Pool
}

// Prepare fetches a file for a segment whose base will be minBase or more.
func Prepare(o *Options, size, minBase int64) (*Prepared, error) {
	if size < HeaderBytes || size > MaxBytes {
		return nil, fmt.Errorf("segment of %d bytes: size out of range", size)
	}
	b, err := o.Pool.take(size, minBase)
	if err != nil {
		return nil, err
	}
	return &Prepared{b: b, pool: o.Pool}, nil
}

// SizeBytes is the size of the file.
func (p *Prepared) SizeBytes() int64 { return p.b.size }

// Discard gives the file back unused.
func (p *Prepared) Discard() {
	p.pool.later(func() { p.pool.discard(p.b) })
}

// Create turns the file into the segment name. The Prepared is spent.
func (p *Prepared) Create(o *Options, name string, base, nowMs int64) (*Segment, error) {
	b := p.b
	s := &Segment{o: o, base: base, generation: newGeneration(), size: b.size, createdMs: nowMs, name: name}
	s.tail = tail{next: base, maxTime: index.NoTime, warm: b.warm}
	if err := o.FS.Rename(b.name, name); err != nil {
		p.Discard()
		return nil, fmt.Errorf("new segment: %w", err)
	}
	b.name = name
	// Not through the mapping: the fault would read ahead, which fills pages that
	// are about to be overwritten.
	var head [HeaderBytes]byte
	Header{Generation: s.generation, BaseOffset: base, CreatedMs: nowMs, AllocatedBytes: b.size}.Put(head[:])
	if _, err := b.file.WriteAt(head[:], 0); err != nil {
		p.pool.discard(b) // now: later, the name may be the next segment's, which has the same base
		return nil, fmt.Errorf("new segment %s: %w", name, err)
	}
	if b.index == nil {
		b.index = new(index.Index)
	}
	b.index.Reset()
	s.index.Store(b.index)
	s.position.Store(HeaderBytes)
	s.next.Store(-1)
	s.verified.Store(MaxBytes)
	s.mem.Store(newMemory(b, o))
	s.used.Store(true)
	o.Pool.track(s)
	return s, nil
}

// newGeneration is a random life number; 0 means none.
func newGeneration() uint64 { return rand.Uint64() | 1 }

// Name is the path of the segment's file.
func (s *Segment) Name() string { return s.name }

// Base is the offset of the first record.
func (s *Segment) Base() int64 { return s.base }

// CreatedMs is when the segment was created, ms since 1970; 0 when unknown.
func (s *Segment) CreatedMs() int64 { return s.createdMs }

// Position is the end of the published bytes in the file.
func (s *Segment) Position() int64 { return s.position.Load() }

// AllocatedBytes is what the segment occupies on disk.
func (s *Segment) AllocatedBytes() int64 {
	if s.size == 0 {
		return s.position.Load()
	}
	return s.size
}

// Next is the offset behind the last record of a sealed segment.
func (s *Segment) Next() int64 { return s.next.Load() }

// Sealed reports whether nothing can be appended any more.
func (s *Segment) Sealed() bool { return s.next.Load() >= 0 }

// MaxTime is the latest time of a record in ms, index.NoTime without records. One
// without a time of its own counts as of when it was appended (NoRecordTime: it was
// an earlier version that appended it).
// The caller holds the log's mutex, or the segment is sealed.
func (s *Segment) MaxTime() int64 { return s.tail.maxTime }

// Records is the number of records. The caller holds the log's mutex, or the
// segment is sealed.
func (s *Segment) Records() int64 { return s.tail.records }

// Finished reports whether data and seal are on disk, so that nothing is left
// for Sync to do.
func (s *Segment) Finished() bool { return s.finished.Load() }

// Seal ends appending; next is the offset that comes after. The caller holds
// the log's mutex.
func (s *Segment) Seal() { s.next.Store(s.tail.next) }
