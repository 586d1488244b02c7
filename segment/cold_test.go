package segment

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
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

// readsFS notes what is read from its segments' files.
type readsFS struct {
	fs.FS
	mu     sync.Mutex // guards reads
	reads  []diskRead
	before func(diskRead) error // is asked before each read, if not nil
}

type diskRead struct {
	name     string
	from, to int64
	once     bool // by ReadOnce
}

type readsFile struct {
	fs.File
	name string
	to   *readsFS
}

func (c *readsFS) Open(name string, flag int) (fs.File, error) {
	f, err := c.FS.Open(name, flag)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return readsFile{f, name, c}, nil
}

func (f readsFile) ReadAt(b []byte, at int64) (int, error) {
	return f.read(b, at, false, f.File.ReadAt)
}

func (f readsFile) ReadOnce(b []byte, at int64) (int, error) {
	return f.read(b, at, true, f.File.ReadOnce)
}

func (f readsFile) read(b []byte, at int64, once bool, read func([]byte, int64) (int, error)) (int, error) {
	r := diskRead{f.name, at, at + int64(len(b)), once}
	if f.to.before != nil {
		if err := f.to.before(r); err != nil {
			return 0, err
		}
	}
	f.to.mu.Lock()
	f.to.reads = append(f.to.reads, r)
	f.to.mu.Unlock()
	return read(b, at)
}

// take returns what was read since the last call, in order of position.
func (c *readsFS) take() []diskRead {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reads
	c.reads = nil
	slices.SortFunc(r, func(a, b diskRead) int { return cmp.Compare(a.from, b.from) })
	return r
}

// bytes is how much was read since the last call.
func (c *readsFS) bytes() (n int64) {
	for _, r := range c.take() {
		n += r.to - r.from
	}
	return n
}

// coldSegment is a finished one of count batches that is not in memory.
func coldSegment(t *testing.T, count int) (*bed, *readsFS, *Segment) {
	t.Helper()
	m := fs.NewMem(1)
	c := &readsFS{FS: m}
	b := bedOn(t, c, m, 0)
	b.o.IndexIntervalBytes = 1300 // of which no chunk is a multiple
	s := b.create(t, 0, int64(1<<20+count*300))
	fill(t, s, count)
	finish(t, s)
	b.cool(t, s)
	c.take()
	return b, c, s
}

// cool puts segments out of memory.
func (b *bed) cool(t *testing.T, list ...*Segment) {
	t.Helper()
	b.mem.Evict(true)
	for range 2 { // used once, then not
		b.pool.Sweep()
	}
	for _, s := range list {
		if s.mem.Load() != nil {
			t.Fatal("the segment is still mapped")
		}
	}
}

func TestAColdLogReadALittleAtATimeIsReadFromDiskOnce(t *testing.T) {
	b, c, s := coldSegment(t, 2000)
	if got := offsets(t, s, 0, 300); len(got) != 2000 {
		t.Fatalf("%d batches came", len(got))
	}
	if n, size := c.bytes(), s.Position(); n > size+2*b.o.IndexIntervalBytes { // and what comes behind the end
		t.Errorf("%d bytes were read for a segment of %d", n, size)
	}
	if v, err := s.Read(0, 300); err != nil || b.pool.chunks.Load() == 0 {
		t.Errorf("the last chunk was not kept: %v", err)
	} else {
		v.Release()
	}
	for range 2 {
		b.pool.Sweep()
	}
	if n := b.pool.chunks.Load(); n != 0 || len(s.chunks) > 0 {
		t.Errorf("%d bytes are kept for a segment that nobody reads", n)
	}
	if v, err := s.Read(0, 300); err != nil {
		t.Error(err)
	} else {
		v.Release()
	}
	s.Drop()
	if n := b.pool.chunks.Load(); n != 0 {
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
	b.pool.chunks.Store(maxChunkSum)
	if got := offsets(t, s, 0, 300); len(got) != 100 {
		t.Fatalf("%d batches came", len(got))
	}
	if len(s.chunks) > 0 || b.pool.chunks.Load() != maxChunkSum {
		t.Error("a chunk was kept above the bound")
	}
}

// restedTail is a segment that is not full, was closed by the sweep and is in memory.
func restedTail(t *testing.T, count int) (*bed, *readsFS, *Segment) {
	t.Helper()
	m := fs.NewMem(1)
	c := &readsFS{FS: m}
	b := bedOn(t, c, m, 0)
	s := b.create(t, 0, 1<<20)
	fill(t, s, count)
	mark := s.Mark()
	if err := errors.Join(s.Sync(), s.Synced(mark)); err != nil {
		t.Fatal(err)
	}
	b.cool(t, s)
	m.Evict(false)
	c.take()
	return b, c, s
}

// noFiles fails unless all files were closed.
func (b *bed) noFiles(t *testing.T) {
	t.Helper()
	for range 2 { // a mapping goes first, and then what it was of
		b.pool.Wait()
	}
	if n := b.pool.files.Load(); n != 0 {
		t.Fatalf("%d files are open", n)
	}
}

func TestATailThatRestedAndIsInMemoryIsNotCopied(t *testing.T) {
	b, c, s := restedTail(t, 100)
	if got := offsets(t, s, 0, 4096); len(got) != 100 {
		t.Fatalf("%d batches came", len(got))
	}
	if n := c.bytes(); n > 0 || s.mem.Load() == nil {
		t.Errorf("%d bytes were read of what is in memory", n)
	}
	read := s.mem.Load()
	fill(t, s, 1000) // behind what was there when it was mapped
	if s.mem.Load() != read {
		t.Error("an append made a mapping of its own")
	}
	if got := offsets(t, s, 0, 4096); len(got) != 1100 {
		t.Errorf("%d batches came, 1100 were written", len(got))
	}
	s.Close()
	b.noFiles(t)
}

// TestAReaderAndAnAppendOpenATailThatRestedOnce lets both find it closed.
func TestAReaderAndAnAppendOpenATailThatRestedOnce(t *testing.T) {
	for range 50 {
		b, _, s := restedTail(t, 10)
		var both sync.WaitGroup
		both.Go(func() {
			for from := int64(0); from < 40; {
				v, err := s.Read(from, 300)
				if err != nil {
					t.Error(err)
					return
				}
				if len(v.Bytes()) > 0 {
					from = batch.Batch(v.Bytes()).LastOffset() + 1
				}
				v.Release()
			}
		})
		b.o.Owner.Lock()
		fill(t, s, 10)
		b.o.Owner.Unlock()
		both.Wait()
		s.Close()
		b.noFiles(t)
	}
}
