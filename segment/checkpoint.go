package segment

import (
	"errors"
	"fmt"
	"os"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/fs"
)

// checkpointBytes is how much is written to a segment between two checkpoints
// in its index file, and so the most that recovery reads of a segment that was
// being synced.
const checkpointBytes = 256 << 10

// Mark is the state of a segment at one moment, made under the log's mutex.
type Mark struct {
	summary index.Summary
	entries int
}

// Mark returns the state that a Sync that begins now will cover. The caller
// holds the log's mutex.
func (s *Segment) Mark() Mark {
	m := Mark{summary: index.Summary{
		EndPosition: s.position.Load(),
		NextOffset:  s.tail.next,
		Records:     s.tail.records,
		MaxTime:     s.tail.maxTime,
		Sealed:      s.Sealed(),
	}}
	if x := s.index.Load(); x != nil {
		m.entries = x.Len()
	}
	return m
}

// Clean reports whether everything up to the mark is durable and a sealed
// segment's index is written.
func (s *Segment) Clean(m Mark) bool {
	return s.synced.Load() >= m.summary.EndPosition && (!m.summary.Sealed || s.finished.Load())
}

// Sync makes the bytes up to the mark durable. One call at a time; appends go
// on meanwhile.
func (s *Segment) Sync() error {
	m := s.mem.Load()
	if m != nil && m.acquire() {
		defer m.release()
		return m.file.Sync()
	}
	if s.gone.Load() {
		return nil
	}
	f, err := s.o.FS.Open(s.name, os.O_RDWR)
	if err != nil {
		if s.gone.Load() && notExist(err) {
			return nil
		}
		return fmt.Errorf("sync segment: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

// Synced notes that a Sync that began behind the mark has succeeded, and writes
// a checkpoint or the seal to the index file when one is due. Losing that file
// costs a scan, so it is not synced itself. One call at a time.
func (s *Segment) Synced(m Mark) error {
	raise(&s.synced, m.summary.EndPosition)
	if s.gone.Load() || s.finished.Load() {
		return nil
	}
	if !m.summary.Sealed && m.summary.EndPosition-max(s.checkpointed, HeaderBytes) < checkpointBytes {
		return nil
	}
	if err := s.writeIndex(m); err != nil || s.size > 0 {
		return err
	}
	// Found on disk: nothing will be appended. A torn tail must stay cut even when
	// the index is lost, because a later scan, bounded by the next segment, would
	// look behind it and find more.
	if err := s.Trim(); err != nil {
		return err
	}
	return s.Sync()
}

// Finish writes the seal of a transient segment, whose bytes are never synced,
// so that its index can leave memory.
func (s *Segment) Finish(m Mark) error {
	if s.gone.Load() || s.finished.Load() || !m.summary.Sealed {
		return nil
	}
	return s.writeIndex(m)
}

// writeIndex appends the entries since the last block to the index file, and
// the seal as a block of its own: it has a fixed size, so it is found from the
// end of the file.
func (s *Segment) writeIndex(m Mark) error {
	x := s.index.Load()
	if x == nil {
		return nil
	}
	buf := getBuf(0)
	defer buf.free()
	b := buf.b[:0]
	flag := os.O_RDWR | os.O_CREATE
	if s.indexBytes == 0 {
		flag |= os.O_TRUNC
		b = index.AppendHeader(b, index.Header{Generation: s.generation, BaseOffset: s.base})
	}
	open := m.summary
	open.Sealed = false
	b = index.AppendBlock(b, s.generation, open, x.Entries()[s.indexed:m.entries])
	if m.summary.Sealed {
		b = index.AppendBlock(b, s.generation, m.summary, nil)
	}
	buf.b = b
	if err := appendFile(s.o.FS, IndexName(s.name), flag, b, s.indexBytes); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	s.indexBytes += int64(len(b))
	s.indexed, s.checkpointed = m.entries, m.summary.EndPosition
	if m.summary.Sealed {
		s.finished.Store(true)
	}
	return nil
}

func appendFile(f fs.FS, name string, flag int, b []byte, at int64) error {
	file, err := f.Open(name, flag)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt(b, at); err == nil {
		err = file.Truncate(at + int64(len(b))) // a torn block of an earlier life must not follow
	}
	return errors.Join(err, file.Close())
}

// Trim gives the unused end of a sealed segment's file back to the disk. It is
// for segments that nobody will append to in this process: the last one of a
// log that is closed, and those that recovery found.
func (s *Segment) Trim() error {
	end := s.position.Load()
	f, err := s.o.FS.Open(s.name, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("trim segment: %w", err)
	}
	size, err := f.Size()
	if err == nil && size > end {
		err = f.Truncate(end)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("trim segment %s: %w", s.name, err)
	}
	return nil
}

// readIndexFile reads a whole index file. Its size is bounded by that of the
// segment: no more than an entry a batch, with room for the blocks' ends.
func readIndexFile(f fs.FS, name string, segmentBytes int64) (index.Decoded, error) {
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		return index.Decoded{}, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return index.Decoded{}, err
	}
	if size > segmentBytes+64<<10 {
		return index.Decoded{}, fmt.Errorf("%w: %d bytes for a segment of %d", index.ErrCorrupt, size, segmentBytes)
	}
	b := make([]byte, size)
	if err := readFull(file, b, 0); err != nil {
		return index.Decoded{}, err
	}
	return index.Decode(b)
}

// readSeal reads the header and the seal of an index file.
func readSeal(f fs.FS, name string) (index.Header, index.Summary, error) {
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		return index.Header{}, index.Summary{}, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return index.Header{}, index.Summary{}, err
	}
	if size < index.HeaderBytes+index.SealBytes {
		return index.Header{}, index.Summary{}, index.ErrNotIndex
	}
	var head [index.HeaderBytes]byte
	var seal [index.SealBytes]byte
	if err := errors.Join(readFull(file, head[:], 0), readFull(file, seal[:], size-index.SealBytes)); err != nil {
		return index.Header{}, index.Summary{}, err
	}
	h, err := index.DecodeHeader(head[:])
	if err != nil {
		return index.Header{}, index.Summary{}, err
	}
	s, err := index.DecodeSeal(seal[:], h)
	return h, s, err
}

func notExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
