package log

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// benchBatch is one batch of n records of size bytes each, sealed once: the
// benchmarks measure the log and not the encoder.
func benchBatch(n, size int) []byte { return makeBatch(n, n*size, 1, 1) }

// BenchmarkAppend appends through the log. "recycled" drops what is behind as a
// queue whose consumers keep up does; "fresh" retains up to 1 GiB, so that each
// page is new.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []string{"recycled", "fresh"} {
		for _, size := range []int{100, 1024} {
			for _, n := range []int{1, 16, 256, 1024} {
				b.Run(fmt.Sprintf("%s/%dB/x%d", mode, size, n), func(b *testing.B) { benchAppend(b, mode, size, n) })
			}
		}
	}
}

func benchAppend(b *testing.B, mode string, size, n int) {
	dir := b.TempDir()
	free := int64(512 << 20)
	if mode == "fresh" {
		free = 0
	}
	p := newPool(b, fs.Real(), dir, free)
	l := open(b, Options{FS: fs.Real(), Dir: filepath.Join(dir, "q"), Pool: p, FirstSegmentBytes: 64 << 20})
	run := benchBatch(n, size)
	keep := int64(len(run)/n) * 1 << 30 / int64(len(run)) // records in 1 GiB
	if mode == "recycled" {
		warmUp(b, l, p, run)
	}
	b.SetBytes(int64(len(run)))
	b.ReportAllocs()
	b.ResetTimer()
	every := max(1, 16<<20/len(run))
	for i := 1; b.Loop(); i++ {
		base, err := l.Append(run)
		if err != nil {
			b.Fatal(err)
		}
		if i%every == 0 {
			trim := base
			if mode == "fresh" {
				trim = base - keep
			}
			if err := l.Truncate(trim); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
	st := p.Stats()
	b.ReportMetric(float64(st.Fresh), "fresh-segments")
}

// BenchmarkCopy is the floor of BenchmarkAppend/recycled: the same bytes copied
// into the same kind of mappings and nothing else.
func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("1024B/x%d", n), func(b *testing.B) {
			f, err := fs.Real().Open(filepath.Join(b.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			const size = 256 << 20
			if err := f.Allocate(size); err != nil {
				b.Fatal(err)
			}
			m, err := f.Map(size)
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			for i := 0; i < size; i += fs.PageBytes {
				m.Bytes()[i] = 1
			}
			run := benchBatch(n, 1024)
			b.SetBytes(int64(len(run)))
			at := 0
			b.ResetTimer()
			for b.Loop() {
				if at+len(run) > size {
					at = 0
				}
				at += copy(m.Bytes()[at:], run)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
	}
}

// warmUp fills the pool with touched segments.
func warmUp(b *testing.B, l *Log, p *segment.Pool, run []byte) {
	for total := 0; total < 6*64<<20; total += len(run) {
		base, err := l.Append(run)
		if err != nil {
			b.Fatal(err)
		}
		if total > 5*64<<20 {
			if err := l.Truncate(base); err != nil {
				b.Fatal(err)
			}
		}
	}
	p.Wait()
}

func BenchmarkRead(b *testing.B) {
	for _, where := range []string{"mapped", "cold"} {
		for _, chunk := range []int{4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%d", where, chunk), func(b *testing.B) {
				dir := b.TempDir()
				p := newPool(b, fs.Real(), dir, 0)
				o := Options{FS: fs.Real(), Dir: filepath.Join(dir, "q"), Pool: p, FirstSegmentBytes: 64 << 20}
				l := open(b, o)
				run := benchBatch(16, 100)
				for range 32 << 20 / len(run) {
					if _, err := l.Append(run); err != nil {
						b.Fatal(err)
					}
				}
				if where == "cold" {
					if err := l.Close(); err != nil {
						b.Fatal(err)
					}
					l = open(b, o)
				}
				_, end := l.Bounds()
				var from, bytes int64
				b.ReportAllocs()
				b.ResetTimer()
				for b.Loop() {
					v, err := l.Read(from, chunk)
					if err != nil {
						b.Fatal(err)
					}
					n := len(v.Bytes())
					bytes += int64(n)
					v.Release()
					if from += int64(n / len(run) * 16); from >= end {
						from = 0
					}
				}
				b.SetBytes(bytes / int64(b.N))
			})
		}
	}
}

// BenchmarkRecover opens a log: "crashed" reads what no checkpoint covers, "closed" takes
// eight sealed segments as they are.
func BenchmarkRecover(b *testing.B) {
	run := benchBatch(64, 1024)
	fill := func(b *testing.B, segmentBytes int64, bytes int) (Options, *Log) {
		dir := b.TempDir()
		o := Options{FS: fs.Real(), Dir: filepath.Join(dir, "q"), Pool: newPool(b, fs.Real(), dir, 0),
			FirstSegmentBytes: segmentBytes, SegmentBytes: segmentBytes}
		l := open(b, o)
		for n := 0; n < bytes; n += len(run) {
			if _, err := l.Append(run); err != nil {
				b.Fatal(err)
			}
		}
		return o, l
	}
	recover := func(b *testing.B, o Options, end int64) {
		b.ReportAllocs()
		for b.Loop() {
			l, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			if _, got := l.Bounds(); got != end {
				b.Fatalf("the log ends at %d, it should end at %d", got, end)
			}
			b.StopTimer()
			for _, s := range l.segments() {
				s.Close() // without the checkpoint that Close would write
			}
			b.StartTimer()
		}
	}
	b.Run("crashed/32MiB", func(b *testing.B) {
		o, l := fill(b, 64<<20, 32<<20)
		_, end := l.Bounds()
		b.SetBytes(32 << 20)
		recover(b, o, end)
	})
	b.Run("closed/8x4MiB", func(b *testing.B) {
		o, l := fill(b, 4<<20, 8*4<<20)
		_, end := l.Bounds()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		recover(b, o, end)
	})
}
