package segment

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// wants returns a keep function for some offsets.
func wants(offsets ...int64) func(first, last int64) bool {
	return func(first, last int64) bool {
		return slices.ContainsFunc(offsets, func(o int64) bool { return o >= first && o <= last })
	}
}

// replace does what a log does with a thinned segment.
func replace(t testing.TB, b *bed, th *Thinned) *Segment {
	t.Helper()
	th.Claim()
	indexErr, err := th.Install()
	if indexErr != nil || err != nil {
		t.Fatal(indexErr, err)
	}
	th.Retire(th.Settle() == nil)
	b.pool.Wait()
	return th.Segment()
}

func thin(t testing.TB, s *Segment, keep func(first, last int64) bool) *Thinned {
	t.Helper()
	th, err := Thin([]*Segment{s}, keep)
	if err != nil || th == nil {
		t.Fatalf("thinned %v, %v", th, err)
	}
	return th
}

func fileOf(t testing.TB, f fs.FS, name string) []byte {
	t.Helper()
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, _ := file.Size()
	b := make([]byte, size)
	if err := readFull(file, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func isGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	dump := []byte(hex.Dump(got))
	name := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(name, dump, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dump, golden) {
		t.Errorf("got\n%s\nwant\n%s", dump, golden)
	}
}

func TestAThinnedSegmentIsTheGoldenOne(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 70, 64<<10)
	fill(t, s, 100) // two records each: 70 to 269
	finish(t, s)
	before := s.Records()
	n := replace(t, b, thin(t, s, wants(70, 111, 112, 268)))
	got := fileOf(t, b.fs, n.Name())
	clear(got[16:24])   // the generation is random
	clear(got[120:128]) // and so is the checksum over it
	isGolden(t, "v1.thinned.hex", got)
	if before != 200 || n.Records() != 8 || n.Dense() || n.Next() != 270 || n.MaxTime() != 9900 || n.CreatedMs() != created {
		t.Errorf("%d then %d records, dense %v, next %d, max time %d, created %d",
			before, n.Records(), n.Dense(), n.Next(), n.MaxTime(), n.CreatedMs())
	}
}

func TestAThinnedSegmentReadsAndRecoversLikeAnyOther(t *testing.T) {
	want := []int64{70, 72, 110, 112, 114, 268}
	for _, c := range []struct {
		name    string
		noIndex bool
		bound   int64
	}{{"as it is", false, 270}, {"without its index", true, 270}, {"as the last one, without its index", true, -1}} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, 0)
			s := b.create(t, 70, 64<<10)
			fill(t, s, 100)
			finish(t, s)
			v, err := s.Read(90, 3000)
			if err != nil {
				t.Fatal(err)
			}
			old := bytes.Clone(v.Bytes())
			n := replace(t, b, thin(t, s, wants(70, 111, 112, 268)))
			if got := offsets(t, n, 70, 300); !slices.Equal(got, want) {
				t.Errorf("batches %v, want %v", got, want)
			}
			if _, err := s.Read(70, 100); err == nil {
				t.Error("the old segment still reads")
			}
			if !bytes.Equal(v.Bytes(), old) {
				t.Error("a view of the old segment changed")
			}
			v.Release()
			n.Close()
			b.pool.Wait()
			if c.noIndex {
				if err := b.fs.Remove(IndexName(n.Name())); err != nil {
					t.Fatal(err)
				}
			}
			o, found, err := Open(b.o, n.Name(), 70, c.bound)
			if err != nil || found.IndexErr != nil || found.CutBytes > 0 || len(found.Damage) > 0 || found.Empty {
				t.Fatalf("%+v, %v", found, err)
			}
			if (found.ScannedBytes > 0) != c.noIndex {
				t.Errorf("%d bytes were scanned", found.ScannedBytes)
			}
			if o.Records() != 8 || o.Next() != 270 || o.MaxTime() != 9900 || o.CreatedMs() != created {
				t.Errorf("%d records, next %d, max time %d, created %d", o.Records(), o.Next(), o.MaxTime(), o.CreatedMs())
			}
			for _, from := range []int64{70, 71, 72, 100, 112, 113, 200, 269} {
				i, _ := slices.BinarySearch(want, from+1)
				if got := offsets(t, o, from, 1); !slices.Equal(got, want[i-1:]) {
					t.Errorf("from %d: batches %v, want %v", from, got, want[i-1:])
				}
			}
			o.Close()
		})
	}
}

func TestASegmentIsThinnedOnlyWhenItIsWorthIt(t *testing.T) {
	third := func(first, last int64) bool { return first < 60 }
	none := func(first, last int64) bool { return false }
	for name, c := range map[string]struct {
		batches int
		finish  bool
		keep    func(first, last int64) bool
		want    bool
	}{
		"nothing stays":         {100, true, none, true},
		"a fifth stays":         {100, true, func(first, last int64) bool { return first < 40 }, true},
		"a third stays":         {100, true, third, false},
		"it is a page or less":  {10, true, none, false},
		"it is not finished":    {100, false, none, false},
		"everything stays":      {100, true, func(first, last int64) bool { return true }, false},
		"every other one stays": {100, true, func(first, last int64) bool { return last-first > 1 || first%4 == 0 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, 0)
			s := b.create(t, 0, 64<<10)
			fill(t, s, c.batches)
			s.Seal()
			if c.finish {
				finish(t, s)
			}
			th, err := Thin([]*Segment{s}, c.keep)
			if err != nil || (th != nil) != c.want {
				t.Fatalf("thinned %v, %v; want %v", th != nil, err, c.want)
			}
			if th != nil {
				th.Discard()
			}
			b.pool.Wait()
			if left, _ := b.fs.ReadDir("/pool"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if got := offsets(t, s, 0, 4096); len(got) != c.batches {
				t.Errorf("%d batches are left", len(got))
			}
		})
	}
}

func TestADropWhileTheNameChangesHandsTakesTheNewFile(t *testing.T) {
	b := newBed(t, 1<<20)
	s := b.create(t, 0, 64<<10)
	fill(t, s, 100)
	finish(t, s)
	th := thin(t, s, wants(3))
	th.Claim()
	b.pool.Later(func() { // queued before the removal by Drop, as a log does it
		if _, err := th.Install(); err != nil {
			t.Error(err)
		}
		th.Discard()
	})
	s.Drop() // it would recycle the file, but by a name that is another's then
	b.pool.Wait()
	b.pool.Wait()
	for _, dir := range []string{"/q", "/pool"} {
		if left, _ := b.fs.ReadDir(dir); len(left) > 0 {
			t.Errorf("left behind in %s: %v", dir, left)
		}
	}
	if got := b.pool.Stats(); got.FreeFiles != 0 {
		t.Errorf("%d files are kept for recycling", got.FreeFiles)
	}
}

func TestTheSweepLeavesASegmentOpenThatIsThinned(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 0, 64<<10)
	fill(t, s, 100)
	finish(t, s)
	th := thin(t, s, wants(3))
	th.Claim()
	if _, err := th.Install(); err != nil {
		t.Fatal(err)
	}
	b.pool.Sweep()
	b.pool.Sweep()
	if got := offsets(t, s, 0, 4096); len(got) != 100 { // its list still has the old one
		t.Errorf("%d batches, want the old 100", len(got))
	}
	th.Retire(true)
	if got := offsets(t, th.Segment(), 0, 4096); !slices.Equal(got, []int64{0, 2, 4}) {
		t.Errorf("batches %v", got)
	}
}

func TestAnEmptyBatchCoversAtMostTheOffsetsThatItsDeltaCan(t *testing.T) {
	b := newBed(t, 0)
	w := thinWriter{s: &Segment{o: b.o, base: 5, tail: tail{next: 5}}, x: new(index.Index), at: HeaderBytes, buf: make([]byte, 0, 4096)}
	p := thinning{runs: []thinRun{{first: 5, last: 5 + 1<<31, maxTime: 9}}}
	if err := p.writeRun(&w, p.runs[0]); err != nil {
		t.Fatal(err)
	}
	if int64(len(w.buf)) != p.emptyBytes() {
		t.Errorf("%d bytes, %d foreseen", len(w.buf), p.emptyBytes())
	}
	var deltas []int32
	for rest := w.buf; len(rest) > 0; {
		var e batch.Batch
		var err error
		if e, rest, err = batch.Next(rest); err != nil || e.Check() != nil {
			t.Fatal(err, e.Check())
		}
		deltas = append(deltas, e.LastOffsetDelta())
	}
	if !slices.Equal(deltas, []int32{math.MaxInt32, 0}) {
		t.Errorf("deltas %v", deltas)
	}
}
