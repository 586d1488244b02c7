package segment

import (
	"errors"
	"fmt"
	"os"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// Found says what Open met in a segment's files.
type Found struct {
	ScannedBytes int64  // read because no checkpoint covered them; 0 for a sealed segment
	ScannedFrom  int64  // where that began
	CutBytes     int64  // behind the last good batch, not all of them zero: a torn tail
	CutRecords   int64  // in the batch that was cut, if its header tells
	CutErr       error  // what was wrong there
	HeaderErr    error  // the header is damaged, the batches are not
	IndexErr     error  // the index file is there but of no use
	Empty        bool   // no batch: the segment can be removed
	Damage       []Span // damaged ranges
}

// Open opens a segment that was found on disk, read-only. base is the offset in
// its name, bound the base of the segment behind it or -1. What a seal covers
// is trusted, what a checkpoint covers too; the rest is read and checked.
//
//	files found                     outcome
//	─────────────────────────────── ─────────────────────────────────────────────────────────
//	sealed index                    taken as it is; checksums are checked when it is first read
//	checkpoints only                read from the last one
//	no index, or not this life's    read from the start
//	bad batch, good ones behind it  isolated, goes on at the next good batch
//	bad batch, none behind it       last segment: cut there, a torn tail; earlier one: isolated
//	merged, files it covers behind  as above, up to where it covers: see Merge
//	bad header, good first batch    read from the start, the header is reported
//	nothing good                    Empty
//	shorter than its seal           the missing end is a damaged range
//	a newer version                 an error: it is not touched
func Open(o *Options, name string, base, bound int64) (*Segment, Found, error) {
	s := &Segment{o: o, base: base, name: name}
	s.tail = tail{next: base, maxTime: index.NoTime}
	var found Found
	f, err := o.FS.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, found, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, found, fmt.Errorf("open segment %s: %w", name, err)
	}
	size = min(size, MaxBytes)
	if found.HeaderErr = s.readHeader(f, size); errors.Is(found.HeaderErr, ErrVersion) {
		return nil, found, fmt.Errorf("open segment %s: %w", name, found.HeaderErr)
	}
	if s.covers > 0 {
		bound = s.covers // the next file may be one of those that it took the place of
	}
	if s.openSealed(size, &found) {
		return s, found, nil
	}
	if err := s.openScanned(f, size, bound, &found); err != nil {
		return nil, found, fmt.Errorf("open segment %s: %w", name, err)
	}
	return s, found, nil
}

// readHeader takes what it needs from the header. One of another base is a
// former life's, whose successor never reached the disk.
func (s *Segment) readHeader(f fs.File, size int64) error {
	if size < HeaderBytes {
		return ErrNotSegment
	}
	var b [HeaderBytes]byte
	if err := readFull(f, b[:], 0); err != nil {
		return err
	}
	h, err := DecodeHeader(b[:])
	if err != nil {
		return err
	}
	if h.BaseOffset != s.base {
		return fmt.Errorf("%w: it begins at offset %d", ErrHeader, h.BaseOffset)
	}
	s.generation, s.createdMs, s.covers = h.Generation, h.CreatedMs, h.Covers
	return nil
}

// openSealed takes a segment whose index file ends with a seal. Only the
// file's first and last bytes are read.
func (s *Segment) openSealed(size int64, found *Found) bool {
	h, last, err := readSeal(s.o.FS, IndexName(s.name))
	if err != nil || h.BaseOffset != s.base || found.HeaderErr == nil && h.Generation != s.generation {
		return false
	}
	s.generation = h.Generation
	s.tail = tail{next: last.NextOffset, records: last.Records, maxTime: last.MaxTime}
	s.next.Store(last.NextOffset)
	s.position.Store(min(last.EndPosition, size))
	s.synced.Store(s.position.Load())
	s.verified.Store(HeaderBytes)
	s.finished.Store(true)
	found.Empty = last.Records == 0 && last.NextOffset == s.base
	if last.EndPosition > size {
		d := Span{FromPosition: size, ToPosition: last.EndPosition, ToOffset: last.NextOffset, Err: fmt.Errorf("%w: file ends at %d of %d", ErrCorrupt, size, last.EndPosition)}
		d.FromOffset = d.ToOffset // unknown without a scan; reading tells
		found.Damage = append(found.Damage, d)
	}
	return true
}

// openScanned reads what no checkpoint covers.
func (s *Segment) openScanned(f fs.File, size, bound int64, found *Found) error {
	x := new(index.Index)
	c := newScan(s, f, x, size, bound)
	s.resume(c, size, found)
	found.ScannedFrom = c.at
	if err := c.all(); err != nil {
		return err
	}
	found.ScannedBytes = c.at - found.ScannedFrom
	found.Damage = c.damage
	found.Empty = c.t.next == s.base && len(c.damage) == 0
	if c.reason != nil {
		if found.CutBytes = c.used(); found.CutBytes > 0 {
			found.CutErr, found.CutRecords = c.reason, c.torn()
		}
	}
	s.tail = c.t
	if n := len(c.damage); n > 0 {
		s.tail.next = max(s.tail.next, c.damage[n-1].ToOffset)
	}
	s.index.Store(x)
	s.position.Store(c.at)
	s.next.Store(s.tail.next)
	s.verified.Store(HeaderBytes) // what a checkpoint covered is checked when it is first read
	if found.ScannedFrom == HeaderBytes {
		s.verified.Store(c.at) // nothing was taken on trust
	}
	s.addDamage(c.damage...)
	if s.generation == 0 {
		s.generation = newGeneration()
	}
	return nil
}

// resume moves a scan to the last checkpoint, if there is one for this life.
func (s *Segment) resume(c *scan, size int64, found *Found) {
	d, err := readIndexFile(s.o.FS, IndexName(s.name), size)
	if err != nil {
		if !notExist(err) {
			found.IndexErr = err
		}
		return
	}
	if found.HeaderErr != nil || d.Header.Generation != s.generation || d.Header.BaseOffset != s.base {
		found.IndexErr = fmt.Errorf("%w: it belongs to another segment", index.ErrCorrupt)
		return
	}
	if d.Blocks == 0 || d.Last.EndPosition > size || d.Last.EndPosition < HeaderBytes {
		return
	}
	c.x.Load(d.Entries)
	c.at = d.Last.EndPosition
	c.t = tail{next: d.Last.NextOffset, records: d.Last.Records, maxTime: d.Last.MaxTime}
	if n := len(d.Entries); n > 0 {
		c.t.marked = int64(d.Entries[n-1].Position) + s.o.IndexIntervalBytes
	}
	s.indexBytes, s.indexed, s.checkpointed = int64(d.Bytes), len(d.Entries), c.at
}

// torn returns how many records the batch had that is cut, as far as its header can be
// believed: it must be the one that was to come here.
func (c *scan) torn() int64 {
	b, err := c.bytes(c.at, batch.HeaderBytes)
	if err != nil {
		return 0
	}
	h := batch.Batch(b)
	if n := int64(h.Count()); h.Magic() == batch.Magic && h.BaseOffset() == c.t.next && n <= int64(h.LastOffsetDelta())+1 {
		return max(n, 0)
	}
	return 0
}

// used returns how many bytes behind the scan's end belong to the batch that is
// not good there: 0 when the file just ends in zeros.
func (c *scan) used() int64 {
	n := min(c.limit-c.at, 4096)
	b, err := c.bytes(c.at, n)
	if err != nil {
		return 0
	}
	for i := len(b); i > 0; i-- {
		if b[i-1] != 0 {
			return int64(i)
		}
	}
	return 0
}
