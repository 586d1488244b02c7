package segment

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
)

func TestAReadAtADamagedFirstBatchBeginsWithTheNextGoodOne(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 70, 64<<10)
	fill(t, s, 100)
	s.Seal()
	s.Close()
	b.pool.Wait()
	f, err := b.fs.Open(s.Name(), os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 300), HeaderBytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o, found, err := Open(b.o, s.Name(), 70, 270)
	if err != nil || len(found.Damage) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	defer o.Close()
	if got := offsets(t, o, 70, 4096); len(got) != 98 || got[0] != 74 {
		t.Errorf("%d batches, want 98 from 74 on: %v", len(got), got[:min(len(got), 1)])
	}
}

// countingFS counts the bytes that are read from its files.
type countingFS struct {
	fs.FS
	bytes int64
}

type countingFile struct {
	fs.File
	to *countingFS
}

func (c *countingFS) Open(name string, flag int) (fs.File, error) {
	f, err := c.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return countingFile{f, c}, nil
}

func (f countingFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	f.to.bytes += int64(n)
	return n, err
}

// coldSegment is a finished one of count batches that is not in memory.
func coldSegment(t *testing.T, count int) (*bed, *countingFS, *Segment) {
	t.Helper()
	m := fs.NewMem(1)
	c := &countingFS{FS: m}
	b := bedOn(t, c, m, 0)
	s := b.create(t, 0, 1<<20)
	fill(t, s, count)
	finish(t, s)
	m.Evict(true)
	for range 2 { // used once, then not
		b.pool.Sweep()
	}
	if s.mem.Load() != nil {
		t.Fatal("the segment is still mapped")
	}
	return b, c, s
}

func TestAColdLogReadALittleAtATimeIsReadFromDiskOnce(t *testing.T) {
	b, c, s := coldSegment(t, 2000)
	if got := offsets(t, s, 0, 300); len(got) != 2000 {
		t.Fatalf("%d batches came", len(got))
	}
	if size := s.Position(); c.bytes > 2*size {
		t.Errorf("%d bytes were read for a segment of %d", c.bytes, size)
	}
	if b.pool.recent.Load() == 0 {
		t.Error("the last chunk was not kept")
	}
	for range 2 {
		b.pool.Sweep()
	}
	if n := b.pool.recent.Load(); n != 0 || s.recent != nil {
		t.Errorf("%d bytes are kept for a segment that nobody reads", n)
	}
	offsets(t, s, 3990, 300)
	s.Drop()
	if n := b.pool.recent.Load(); n != 0 {
		t.Errorf("%d bytes are kept for a segment that is gone", n)
	}
}

func TestAViewOutlivesTheChunkItCameFrom(t *testing.T) {
	_, _, s := coldSegment(t, 2000)
	first, err := s.Read(0, 300)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(first.Bytes())
	if again, err := s.Read(0, 300); err != nil || !bytes.Equal(again.Bytes(), want) {
		t.Fatalf("read again: %v", err)
	} else {
		again.Release()
	}
	offsets(t, s, 0, 300) // goes through all chunks, and uses free buffers again
	if !bytes.Equal(first.Bytes(), want) {
		t.Error("a borrowed view was overwritten")
	}
	first.Release()
}

func TestChunksThatAreKeptAreBounded(t *testing.T) {
	b, _, s := coldSegment(t, 100)
	b.pool.recent.Store(maxRecentSum)
	if got := offsets(t, s, 0, 300); len(got) != 100 {
		t.Fatalf("%d batches came", len(got))
	}
	if s.recent != nil || b.pool.recent.Load() != maxRecentSum {
		t.Error("a chunk was kept above the bound")
	}
}
