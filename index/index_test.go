package index

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/internal/fs"
)

var update = flag.Bool("update", false, "write the golden files")

func entries(n int) []Entry {
	var all []Entry
	for i := range n {
		all = append(all, Entry{Relative: uint32(10 * i), Position: uint32(128 + 4096*i), TimeBefore: int64(1000 * i)})
	}
	if n > 0 {
		all[0].TimeBefore = NoTime
	}
	return all
}

func TestLookUpsFindTheLastEntryBefore(t *testing.T) {
	var x Index
	if _, ok := x.ByOffset(0); ok {
		t.Fatal("an empty index has entries")
	}
	for _, e := range entries(100) {
		x.Add(e)
	}
	type result struct {
		position uint32
		ok       bool
	}
	tests := []struct {
		name string
		e    func() (Entry, bool)
		want result
	}{
		{"offset at an entry", func() (Entry, bool) { return x.ByOffset(20) }, result{128 + 2*4096, true}},
		{"offset between entries", func() (Entry, bool) { return x.ByOffset(29) }, result{128 + 2*4096, true}},
		{"offset behind all", func() (Entry, bool) { return x.ByOffset(1 << 30) }, result{128 + 99*4096, true}},
		{"position before all", func() (Entry, bool) { return x.ByPosition(127) }, result{0, false}},
		{"position at an entry", func() (Entry, bool) { return x.ByPosition(128) }, result{128, true}},
		{"after an entry", func() (Entry, bool) { return x.After(128) }, result{128 + 4096, true}},
		{"after the last", func() (Entry, bool) { return x.After(1 << 30) }, result{0, false}},
		{"time before all", func() (Entry, bool) { return x.ByTime(-5) }, result{128, true}},
		{"time at a border", func() (Entry, bool) { return x.ByTime(3000) }, result{128 + 2*4096, true}},
		{"time behind all", func() (Entry, bool) { return x.ByTime(1 << 40) }, result{128 + 99*4096, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, ok := tt.e()
			if got := (result{e.Position, ok}); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAddCostsNoAllocationOnceTheArrayIsThere(t *testing.T) {
	var x Index
	all := entries(1000)
	fill := func() {
		x.Reset()
		for _, e := range all {
			x.Add(e)
		}
	}
	fill()
	if n := testing.AllocsPerRun(20, fill); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// sample is a file of two checkpoints and a seal.
func sample() []byte {
	const gen = 0x1122334455667788
	all := entries(5)
	b := AppendHeader(nil, Header{Generation: gen, BaseOffset: 70})
	b = AppendBlock(b, gen, Summary{EndPosition: 9000, NextOffset: 90, Records: 20, MaxTime: 1700}, all[:2])
	b = AppendBlock(b, gen, Summary{EndPosition: 20000, NextOffset: 120, Records: 50, MaxTime: 1_700_000_000_000}, all[2:])
	return AppendBlock(b, gen, Summary{EndPosition: 20000, NextOffset: 120, Records: 50, MaxTime: 1_700_000_000_000, Sealed: true}, nil)
}

func TestFileFormatIsTheGoldenOne(t *testing.T) {
	got := []byte(hex.Dump(sample()))
	name := filepath.Join("testdata", "v1.idx.hex")
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDecodeReturnsWhatWasAppended(t *testing.T) {
	b := sample()
	d, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d.Blocks != 3 || d.Bytes != len(b) || !d.Last.Sealed || d.Last.NextOffset != 120 || d.Header.BaseOffset != 70 {
		t.Errorf("decoded %+v", d)
	}
	if !reflect.DeepEqual(d.Entries, entries(5)) {
		t.Errorf("entries %v", d.Entries)
	}
	s, err := DecodeSeal(b[len(b)-SealBytes:], d.Header)
	if err != nil || s != d.Last {
		t.Errorf("seal %+v, %v", s, err)
	}
}

func TestDamagedFilesEndAtTheLastWholeBlock(t *testing.T) {
	whole := sample()
	first := HeaderBytes + blockHeadBytes + 2*EntryBytes + blockSumBytes
	second := first + blockHeadBytes + 3*EntryBytes + blockSumBytes
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	const gen = 0x1122334455667788
	tests := []struct {
		name   string
		damage func([]byte) []byte
		blocks int
		err    error
	}{
		{"untouched", func(b []byte) []byte { return b }, 3, nil},
		{"empty file", func(b []byte) []byte { return nil }, 0, ErrNotIndex},
		{"header cut", func(b []byte) []byte { return b[:HeaderBytes-1] }, 0, ErrNotIndex},
		{"other magic", flip(0), 0, ErrNotIndex},
		{"header flipped", flip(17), 0, ErrCorrupt},
		{"newer version", func(b []byte) []byte {
			h := AppendHeader(nil, Header{})
			h[9] = 2
			return resum(h)
		}, 0, ErrVersion},
		{"header alone", func(b []byte) []byte { return b[:HeaderBytes] }, 0, nil},
		{"first block torn", func(b []byte) []byte { return b[:first-1] }, 0, nil},
		{"second block torn", func(b []byte) []byte { return b[:second-5] }, 1, nil},
		{"second block flipped", flip(first + 60), 1, nil},
		{"entry count huge", func(b []byte) []byte { b[first+4] = 0xff; return b }, 1, nil},
		{"seal flipped", flip(len(whole) - 1), 2, nil},
		{"zeros behind", func(b []byte) []byte { return append(b[:second], make([]byte, 4096)...) }, 2, nil},
		{"block of another life", func(b []byte) []byte {
			return AppendBlock(b[:first], gen+1, Summary{EndPosition: 20000, NextOffset: 120, Records: 50, MaxTime: 1800}, nil)
		}, 1, nil},
		{"totals shrink", func(b []byte) []byte {
			return AppendBlock(b[:second], gen, Summary{EndPosition: 9000, NextOffset: 90, Records: 20, MaxTime: 1700}, nil)
		}, 2, nil},
		{"entries out of order", func(b []byte) []byte {
			return AppendBlock(b[:first], gen, Summary{EndPosition: 20000, NextOffset: 120, Records: 50, MaxTime: 1800}, entries(1))
		}, 1, nil},
		{"entry behind the end", func(b []byte) []byte {
			return AppendBlock(b[:first], gen, Summary{EndPosition: 9001, NextOffset: 120, Records: 50, MaxTime: 1800}, entries(5)[4:])
		}, 1, nil},
		{"blocks behind the seal", func(b []byte) []byte {
			return AppendBlock(b, gen, Summary{EndPosition: 30000, NextOffset: 130, Records: 60, MaxTime: 1_700_000_000_001}, nil)
		}, 3, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Decode(tt.damage(slices.Clone(whole)))
			if !errors.Is(err, tt.err) || d.Blocks != tt.blocks {
				t.Errorf("%d blocks, %v; want %d, %v", d.Blocks, err, tt.blocks, tt.err)
			}
		})
	}
}

func TestDumpPrintsAFileAndItsDamage(t *testing.T) {
	f := fs.NewMem(1)
	file, err := f.Open("/x.idx", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	b := sample()
	b[len(b)-1] ^= 1
	if _, err := file.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Dump(&out, f, "/x.idx"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"base offset 70", "open at position 20000: next offset 120, 50 records", "2 blocks, 5 entries", "damaged: 56 bytes"} {
		if !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample())
	f.Add(sample()[:100])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Decode(b)
		if err != nil {
			return
		}
		if d.Bytes > len(b) || len(d.Entries)*EntryBytes > len(b) {
			t.Fatalf("decoded %d bytes and %d entries of %d bytes", d.Bytes, len(d.Entries), len(b))
		}
		var x Index
		x.Load(d.Entries)
		for _, e := range d.Entries {
			if got, ok := x.ByOffset(e.Relative); !ok || got != e {
				t.Fatalf("entry %v is found as %v", e, got)
			}
		}
	})
}

// resum makes a changed header's checksum good again.
func resum(h []byte) []byte {
	binary.BigEndian.PutUint64(h[40:], xxhash.Sum64(h[:40]))
	return h
}
