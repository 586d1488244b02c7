package segment

import (
	"os"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// FuzzRecovery opens arbitrary bytes as segment and index file. Whatever they
// are, opening and reading must end without a panic, and what is read must be
// whole batches with good checksums in rising order.
func FuzzRecovery(f *testing.F) {
	data, idx := seedFiles(f)
	f.Add(data, idx, true)
	f.Add(data, []byte{}, false)
	f.Add(data[:len(data)-700], idx, true)
	broken := append([]byte(nil), data...)
	broken[HeaderBytes+261*3+70] ^= 1
	f.Add(broken, []byte{}, false)
	f.Add(broken, idx, true)
	merged := append([]byte(nil), data...)
	Header{Generation: 5, BaseOffset: 10, Covers: 90}.Put(merged)
	f.Add(merged, []byte{}, false)
	f.Fuzz(func(t *testing.T, data, idx []byte, last bool) {
		if len(data) > 1<<20 || len(idx) > 1<<20 {
			return
		}
		b := newBed(t, 0)
		write(t, b.fs, "/q/"+FileName(10), data)
		if len(idx) > 0 {
			write(t, b.fs, IndexName("/q/"+FileName(10)), idx)
		}
		bound := int64(-1)
		if !last {
			bound = 60
		}
		s, found, err := Open(b.o, "/q/"+FileName(10), 10, bound)
		if err != nil {
			return
		}
		if s.Next() < s.Base() || s.Position() > int64(len(data)) && len(data) > HeaderBytes {
			t.Fatalf("next %d, position %d of %d bytes, %+v", s.Next(), s.Position(), len(data), found)
		}
		check(t, s)
		_ = s.OffsetBefore(5)
		s.Close()
	})
}

func check(t *testing.T, s *Segment) {
	for from := s.Base(); ; {
		v, err := s.Read(from, 600)
		if err != nil || len(v.Bytes()) == 0 {
			return
		}
		for rest := v.Bytes(); len(rest) > 0; {
			var b batch.Batch
			if b, rest, err = batch.Next(rest); err == nil {
				err = b.Check()
			}
			if err != nil || b.LastOffset() < from {
				t.Fatalf("read %d: batch %d: %v", from, b.BaseOffset(), err)
			}
			from = b.LastOffset() + 1
		}
		v.Release()
	}
}

func seedFiles(t testing.TB) (data, idx []byte) {
	b := newBed(t, 0)
	s := b.create(t, 10, 8<<10)
	fill(t, s, 25)
	finish(t, s)
	return read(t, b.fs, s.Name()), read(t, b.fs, IndexName(s.Name()))
}

func write(t testing.TB, f fs.FS, name string, b []byte) {
	t.Helper()
	file, err := f.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
}

func read(t testing.TB, f fs.FS, name string) []byte {
	t.Helper()
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, _ := file.Size()
	b := make([]byte, size)
	if _, err := file.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}
