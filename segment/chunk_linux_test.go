package segment

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leveret-mq/leveret/internal/fs"
)

// BenchmarkReadCold reads a segment of 64 MiB that is not in memory from its start to its
// end, as a consumer that catches up does. "cached-MB" is what it leaves in the page cache.
func BenchmarkReadCold(b *testing.B) {
	dir := b.TempDir()
	p, err := NewPool(PoolOptions{FS: fs.Real(), Dir: filepath.Join(dir, "pool"), Sweep: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	o := &Options{FS: fs.Real(), Pool: p, IndexIntervalBytes: 4096}
	const size = 64 << 20
	s, err := Create(o, filepath.Join(dir, FileName(0)), 0, size, created)
	if err != nil {
		b.Fatal(err)
	}
	one := makeBatch(64, 64<<10, 1, created)
	for s.Position()+int64(len(one)) <= size {
		if err := s.Append(one); err != nil {
			b.Fatal(err)
		}
	}
	finish(b, s)
	f, err := os.Open(s.Name())
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.SetBytes(s.Position())
	left := 0.0
	for b.Loop() {
		b.StopTimer()
		for range 2 {
			p.Sweep()
		}
		if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for from := int64(0); from < s.Next(); {
			v, err := s.Read(from, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			from = behind(b, v)
			v.Release()
		}
		b.StopTimer()
		left += residentMB(b, f, s.Position())
		b.StartTimer()
	}
	b.ReportMetric(left/float64(b.N), "cached-MB")
	s.Drop()
}

// residentMB is how much of a file is in memory.
func residentMB(b *testing.B, f *os.File, size int64) float64 {
	r, err := fs.Real().Open(f.Name(), os.O_RDWR)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	m, err := r.Map(size)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	pages := 0
	for at := int64(0); at < size; at += fs.PageBytes {
		if m.Resident(at, at+1) {
			pages++
		}
	}
	return float64(pages) * fs.PageBytes / 1e6
}
