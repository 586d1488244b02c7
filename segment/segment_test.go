package segment

import (
	"bytes"
	"encoding/hex"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

var update = flag.Bool("update", false, "write the golden files")

const created = 1_700_000_000_000

// makeBatch returns one sealed batch of n records with size bytes of body.
func makeBatch(n, size int, seed byte, ms int64) []byte {
	b := make(batch.Batch, batch.HeaderBytes+size)
	for i := range b.Records() {
		b.Records()[i] = seed + byte(i)
	}
	b.Seal(batch.Header{LastOffsetDelta: int32(n - 1), Count: int32(n), BaseTimestamp: ms, MaxTimestamp: ms,
		ProducerID: batch.NoProducer, ProducerEpoch: batch.NoProducerEpoch, BaseSequence: batch.NoSequence})
	return b
}

// bed is a file system with a pool and the options of one log in /q.
type bed struct {
	fs     fs.FS
	mem    *fs.Mem
	pool   *Pool
	o      *Options
	damage []Span
}

func newBed(t testing.TB, free int64) *bed {
	t.Helper()
	m := fs.NewMem(1)
	return bedOn(t, m, m, free)
}

func bedOn(t testing.TB, f fs.FS, m *fs.Mem, free int64) *bed {
	t.Helper()
	b := &bed{fs: f, mem: m}
	var err error
	b.pool, err = NewPool(PoolOptions{
		FS: f, Dir: "/pool", FreeBytes: free, MinBytes: 4096, Sweep: time.Hour,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.pool.Close() })
	if err := f.MkdirAll("/q"); err != nil {
		t.Fatal(err)
	}
	b.o = &Options{FS: f, Pool: b.pool, IndexIntervalBytes: 512, Owner: new(sync.Mutex),
		Damage: func(_ *Segment, d Span) { b.damage = append(b.damage, d) }}
	return b
}

func (b *bed) create(t testing.TB, base, size int64) *Segment {
	t.Helper()
	s, err := Create(b.o, filepath.Join("/q", FileName(base)), base, size, created)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fill(t testing.TB, s *Segment, count int) {
	t.Helper()
	for i := range count {
		if err := s.Append(makeBatch(2, 200, byte(i), int64(100*i))); err != nil {
			t.Fatal(err)
		}
	}
}

// finish seals a segment and writes its index, as a log's Sync does.
func finish(t testing.TB, s *Segment) {
	t.Helper()
	s.Seal()
	m := s.Mark()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := s.Synced(m); err != nil {
		t.Fatal(err)
	}
}

// offsets reads a segment from an offset to its end and returns the base
// offsets of the batches.
func offsets(t testing.TB, s *Segment, from int64, chunk int) (bases []int64) {
	t.Helper()
	for {
		v, err := s.Read(from, chunk)
		if err != nil {
			t.Fatalf("read %d: %v", from, err)
		}
		if len(v.Bytes()) == 0 {
			return bases
		}
		for rest := v.Bytes(); len(rest) > 0; {
			var b batch.Batch
			if b, rest, err = batch.Next(rest); err == nil {
				err = b.Check()
			}
			if err != nil {
				t.Fatalf("read %d: %v", from, err)
			}
			bases = append(bases, b.BaseOffset())
			from = b.LastOffset() + 1
		}
		v.Release()
	}
}

func TestHeaderFormatIsTheGoldenOne(t *testing.T) {
	b := make([]byte, HeaderBytes)
	want := Header{Generation: 0x1122334455667788, BaseOffset: 70, CreatedMs: created, AllocatedBytes: 64 << 10}
	want.Put(b)
	got := append([]byte(hex.Dump(b)), hex.Dump(makeBatch(2, 30, 'a', created))...)
	name := filepath.Join("testdata", "v1.log.hex")
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, golden) {
		t.Errorf("got\n%s\nwant\n%s", got, golden)
	}
	if h, err := DecodeHeader(b); err != nil || h != want {
		t.Errorf("decoded %+v, %v", h, err)
	}
}

func TestNamesAreThoseOfTheFirstRecord(t *testing.T) {
	if got := FileName(1234); got != "00000000000000001234.log" {
		t.Errorf("name %s", got)
	}
	for name, want := range map[string]int64{
		"/q/00000000000000001234.log": 1234, "0.log": -1, "00000000000000001234.idx": -1, "0000000000000000123x.log": -1,
		"-0000000000000000001.log": -1, "99999999999999999999.log": -1, "00000000000000001234.log.damaged": -1,
	} {
		got, ok := ParseName(name)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func TestReadsBeginWithTheBatchThatHoldsTheOffset(t *testing.T) {
	for _, where := range []string{"mapped", "swept", "swept, in memory", "reopened"} {
		t.Run(where, func(t *testing.T) {
			b := newBed(t, 0)
			s := b.create(t, 10, 64<<10)
			fill(t, s, 50)
			finish(t, s)
			b.mem.Evict(where != "swept, in memory")
			switch where {
			case "swept", "swept, in memory":
				b.pool.Sweep()
				b.pool.Sweep()
				if n := b.pool.Stats().Open; n != 0 {
					t.Fatalf("%d segments open after two sweeps", n)
				}
			case "reopened":
				s.Close()
				var err error
				if s, _, err = Open(b.o, s.Name(), 10, -1); err != nil {
					t.Fatal(err)
				}
			}
			const size = 261
			for _, tt := range []struct {
				from  int64
				max   int
				first int64
				count int
			}{
				{10, 1, 10, 1}, {11, 1, 10, 1}, {12, 1, 12, 1}, {0, 1, 10, 1},
				{10, size, 10, 1}, {10, 2*size - 1, 10, 1}, {10, 2 * size, 10, 2}, {11, 7 * size, 10, 7},
				{109, 1 << 20, 108, 1}, {10, 1 << 20, 10, 50}, {60, 1 << 20, 60, 25}, {110, 1, -1, 0},
			} {
				v, err := s.Read(tt.from, tt.max)
				if err != nil {
					t.Fatal(err)
				}
				got := batch.Batch(v.Bytes())
				if len(got) != tt.count*size {
					t.Errorf("read %d, %d bytes: %d bytes, want %d batches", tt.from, tt.max, len(got), tt.count)
				} else if tt.count > 0 && got.BaseOffset() != tt.first {
					t.Errorf("read %d: begins with %d, want %d", tt.from, got.BaseOffset(), tt.first)
				}
				if v.Mapped() != ((where == "mapped" || where == "swept, in memory") && tt.count > 0) {
					t.Errorf("read %d: mapped %v", tt.from, v.Mapped())
				}
				v.Release()
			}
		})
	}
}

func TestASegmentFoundOnDiskIsMappedOnceAllOfItWasChecked(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 10, 64<<10)
	fill(t, s, 50)
	finish(t, s)
	s.Close()
	o, _, err := Open(b.o, s.Name(), 10, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, tt := range []struct {
		what   string
		from   int64
		mapped bool
	}{{"the first half", 10, false}, {"the rest", 60, false}, {"again", 10, true}} {
		v, err := o.Read(tt.from, 50*261/2)
		if err != nil || v.Mapped() != tt.mapped || batch.Batch(v.Bytes()).BaseOffset() != tt.from {
			t.Errorf("%s: mapped %v, %v", tt.what, v.Mapped(), err)
		}
		v.Release()
	}
	p := b.pool.Stats().Open
	b.pool.Sweep()
	b.pool.Sweep()
	if p != 1 || b.pool.Stats().Open != 0 {
		t.Errorf("%d segments open, after two sweeps %d", p, b.pool.Stats().Open)
	}
}

func TestBatchesLargerThanTheReadAreReturnedWhole(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 0, 1<<20)
	if err := s.Append(makeBatch(1, 300_000, 1, 1)); err != nil {
		t.Fatal(err)
	}
	finish(t, s)
	s.Close()
	s, _, err := Open(b.o, s.Name(), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got := offsets(t, s, 0, 100); len(got) != 1 {
		t.Errorf("batches %v", got)
	}
}

func TestRunsThatAreNoBatchesAreRefused(t *testing.T) {
	good := makeBatch(1, 50, 1, 1)
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for name, run := range map[string][]byte{
		"cut":            good[:len(good)-1],
		"trailing byte":  append(bytes.Clone(good), 0),
		"header cut":     good[:30],
		"old magic":      change(16, 1),
		"negative size":  change(8, 0x80),
		"tiny size":      append(append(bytes.Clone(good[:8]), 0, 0, 0, 5), good[12:]...),
		"negative delta": change(23, 0x80),
		"count too high": change(57, 1),
	} {
		if _, err := Measure(run); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if n, err := Measure(append(bytes.Clone(good), good...)); err != nil || n != 2 {
		t.Errorf("a good run: %d, %v", n, err)
	}
}

// Mapped reports that the bytes are the file's own pages and not a copy.
func (v View) Mapped() bool { return v.mem != nil }

// Append writes a run and publishes it.
func (s *Segment) Append(run []byte) error {
	if err := s.Write(run); err != nil {
		return err
	}
	s.Publish()
	return nil
}
