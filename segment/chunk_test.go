package segment

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
)

// readOn reads about a chunk's batches and returns the offset behind them.
func readOn(t *testing.T, s *Segment, from int64) int64 {
	t.Helper()
	for n := 0; n < alignBytes; {
		v, err := s.Read(from, 1<<20)
		if err != nil || len(v.Bytes()) == 0 {
			t.Fatalf("read %d: %d bytes, %v", from, len(v.Bytes()), err)
		}
		n += len(v.Bytes())
		from = behind(t, v)
		v.Release()
	}
	return from
}

func TestALoneReaderOfAColdSegmentReadsEachByteOnceAndLeavesNoneCached(t *testing.T) {
	for _, maxBytes := range []int{300, 1000, 50_001, 300 << 10, 1 << 20} {
		b, c, s := coldSegment(t, 20_001)
		for from := int64(0); from < 2*20_001; {
			v, err := s.Read(from, maxBytes)
			if err != nil || len(v.Bytes()) == 0 {
				t.Fatalf("read %d: %v", from, err)
			}
			from = behind(t, v)
			v.Release()
		}
		at := int64(HeaderBytes)
		for _, r := range c.take() {
			switch {
			case r.to <= HeaderBytes: // when it was opened
				continue
			case r.from != at:
				t.Errorf("by %d: read from %d, where %d was due", maxBytes, r.from, at)
			case !r.once && maxBytes >= largeBytes:
				t.Errorf("by %d: what was read at %d stays in the page cache", maxBytes, r.from)
			}
			at = r.to
		}
		if at != s.Position() {
			t.Errorf("by %d: read to %d of %d", maxBytes, at, s.Position())
		}
		if n := b.pool.chunks.Load(); n != 0 {
			t.Errorf("by %d: %d bytes are kept behind the reader", maxBytes, n)
		}
	}
}

func TestWhatIsMappedIsNotReadFromDisk(t *testing.T) {
	b, c, s := coldSegment(t, 2000)
	b.mem.Evict(false)
	offsets(t, s, 0, 100<<10)
	if s.mem.Load() == nil {
		t.Fatal("the segment was not mapped again")
	}
	for _, r := range c.take() {
		if r.to > HeaderBytes {
			t.Errorf("read [%d, %d) from disk", r.from, r.to)
		}
	}
}

func TestPagesStayCachedForAReaderCloseBehind(t *testing.T) {
	_, c, s := coldSegment(t, 60_000)
	step := func(from int64) int64 { return readOn(t, s, from) }
	var ahead, behind int64
	for range 3 {
		ahead = step(ahead)
	}
	behind = step(0) // what was read before it came is read again
	c.take()
	for range 2 {
		ahead, behind = step(ahead), step(behind)
		for _, r := range c.take() {
			if first := r.from >= 6<<20; r.once == first {
				t.Errorf("[%d, %d): by the first reader %t, read once %t", r.from, r.to, first, r.once)
			}
		}
	}
}

func TestNothingButDamagedBatchesIsSkippedBetweenChunks(t *testing.T) {
	const count = 20_000
	b, c, s := coldSegment(t, count)
	s.Close()
	b.pool.Wait()
	f, err := c.FS.Open(s.Name(), os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(makeBatch(2, 200, 0, 0)))
	bad := []int64{1 << 20 / size, 3<<20/size + 7, 4 << 20 / size}       // numbers of batches
	deltas := [][]byte{{0, 0, 0, 0}, {0xff, 0xff, 0, 0}, {0, 0, 100, 0}} // of the last offset, where 1 is right
	for i, n := range bad {
		if _, err := f.WriteAt(deltas[i], HeaderBytes+n*size+23); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, maxBytes := range []int{300, 90_000, 1 << 20} {
		o, _, err := Open(b.o, s.Name(), 0, 2*count)
		if err != nil {
			t.Fatal(err)
		}
		got := offsets(t, o, 0, maxBytes)
		if len(got) != count-len(bad) {
			t.Errorf("by %d: %d batches came of %d good ones", maxBytes, len(got), count-len(bad))
		}
		o.Close()
	}
}

func TestWhoIsCloseBehindWhom(t *testing.T) {
	const size = 64 << 20 // of each segment
	at := func(base, next int64) *Segment {
		s := &Segment{base: base, name: filepath.Join("/q", FileName(base))}
		s.position.Store(size)
		s.next.Store(next)
		s.index.Store(new(index.Index))
		return s
	}
	first, second, third := at(0, 100), at(100, 200), at(200, -1)
	type move struct {
		s        *Segment
		from, to int64
		followed bool
	}
	for name, moves := range map[string][]move{
		"alone":                  {{first, 4096, 8192, false}, {first, 8192, 12288, false}},
		"into the next segment":  {{first, size - 4096, size, false}, {second, HeaderBytes, 8192, false}, {second, 8192, 12288, false}},
		"one ahead":              {{first, 8 << 20, 9 << 20, false}, {first, 4096, 8192, false}, {first, 9 << 20, 10 << 20, true}},
		"beyond a segment's end": {{first, size - 8192, size - 4096, false}, {second, 8192, 12288, true}},
		"too far":                {{first, 4096, 8192, false}, {second, 8 << 20, 9 << 20, false}},
		"two segments on":        {{first, size - 8192, size - 4096, false}, {third, 8192, 12288, false}},
	} {
		var tr trail
		for i, m := range moves {
			if got := tr.step(m.s, m.from, m.to); got != m.followed {
				t.Errorf("%s, move %d: followed %t", name, i, got)
			}
		}
		for range 3 * maxReaders {
			tr.step(first, 1<<20, 2<<20)
		}
		if len(tr.readers) > maxReaders {
			t.Errorf("%s: %d readers are remembered", name, len(tr.readers))
		}
	}
}

// behind is the offset behind the last record of a View.
func behind(t testing.TB, v View) (next int64) {
	t.Helper()
	for rest := v.Bytes(); len(rest) > 0; {
		b, more, err := batch.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		next, rest = b.LastOffset()+1, more
	}
	return next
}
