package log

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// makeBatch returns one batch of n records whose body is size bytes in all,
// filled from seed, with times from ms on.
func makeBatch(n, size int, seed byte, ms int64) []byte {
	b := make(batch.Batch, batch.HeaderBytes+size)
	for i := range b.Records() {
		b.Records()[i] = seed + byte(i)
	}
	b.Seal(batch.Header{LastOffsetDelta: int32(n - 1), Count: int32(n), BaseTimestamp: ms, MaxTimestamp: ms,
		ProducerID: batch.NoProducer, ProducerEpoch: batch.NoProducerEpoch, BaseSequence: batch.NoSequence})
	return b
}

func newPool(t testing.TB, f fs.FS, dir string, free int64) *segment.Pool {
	t.Helper()
	p, err := segment.NewPool(segment.PoolOptions{FS: f, Dir: filepath.Join(dir, "pool"), FreeBytes: free})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func appendBatch(t testing.TB, l *Log, b []byte) int64 {
	t.Helper()
	base, err := l.Append(b)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// readAll walks the log from an offset and returns the batches.
func readAll(t testing.TB, l *Log, from int64, chunk int) []batch.Batch {
	t.Helper()
	var all []batch.Batch
	for {
		v, err := l.Read(from, chunk)
		if err != nil {
			t.Fatalf("read %d: %v", from, err)
		}
		if len(v.Bytes()) == 0 {
			return all
		}
		for rest := bytes.Clone(v.Bytes()); len(rest) > 0; {
			var b batch.Batch
			if b, rest, err = batch.Next(rest); err != nil {
				t.Fatalf("read %d: %v", from, err)
			}
			if err := b.Check(); err != nil {
				t.Fatalf("read %d: batch %d: %v", from, b.BaseOffset(), err)
			}
			all = append(all, b)
			from = b.LastOffset() + 1
		}
		v.Release()
	}
}

func TestAppendsAreReadBackInOrderAcrossSegmentsAndReopening(t *testing.T) {
	for _, chunk := range []int{1, 500, 10_000, 1 << 20} {
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			dir := t.TempDir()
			p := newPool(t, fs.Real(), dir, 64<<20)
			o := Options{FS: fs.Real(), Dir: filepath.Join(dir, "q"), Pool: p}
			l := open(t, o)
			var next int64
			write := func(l *Log, count int) {
				for i := range count {
					b := makeBatch(1+i%5, 40+i*37%3000, byte(next), int64(i))
					if base := appendBatch(t, l, b); base != next {
						t.Fatalf("base %d, want %d", base, next)
					}
					next += int64(1 + i%5)
				}
			}
			check := func(l *Log) {
				var want int64
				for _, b := range readAll(t, l, 0, chunk) {
					if b.BaseOffset() != want {
						t.Fatalf("base offset %d, want %d", b.BaseOffset(), want)
					}
					if b.Records()[0] != byte(want) {
						t.Fatalf("content of %d is foreign", want)
					}
					want = b.LastOffset() + 1
				}
				if want != next {
					t.Fatalf("read up to %d, appended up to %d", want, next)
				}
			}
			write(l, 400)
			check(l)
			if _, n := l.Size(); n < 3 {
				t.Fatalf("%d segments: the test wants several", n)
			}
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			if l.Dirty() {
				t.Fatal("dirty after sync")
			}
			write(l, 100)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, o)
			check(l)
			write(l, 100)
			check(l)
		})
	}
}

func TestReadRefusesOffsetsOutsideTheLog(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{FS: fs.Real(), Dir: dir})
	appendBatch(t, l, makeBatch(10, 100, 0, 0))
	if err := l.Truncate(4); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{-1, 0, 3, 11} {
		if _, err := l.Read(from, 100); !errors.Is(err, ErrOutOfRange) {
			t.Errorf("read %d: %v", from, err)
		}
	}
	v, err := l.Read(10, 100)
	if err != nil || len(v.Bytes()) != 0 {
		t.Errorf("read at the end: %d bytes, %v", len(v.Bytes()), err)
	}
}
