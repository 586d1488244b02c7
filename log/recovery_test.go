package log

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// The log of the recovery table: 40 batches of one record and 256 bytes each,
// 15 to a segment, an index entry for every second batch.
const (
	tableBatch = 256
	tableRoom  = 15
	tableCount = 40
)

var (
	file0 = filepath.Join("/q", segment.FileName(0))
	file1 = filepath.Join("/q", segment.FileName(tableRoom))
	file2 = filepath.Join("/q", segment.FileName(2*tableRoom))
)

// position is where a batch stands in its segment's file.
func position(batch int) int64 {
	return segment.HeaderBytes + int64(batch%tableRoom)*tableBatch
}

func tableOptions(f fs.FS, p *segment.Pool) Options {
	return Options{FS: f, Dir: "/q", Pool: p, FirstSegmentBytes: 4096, SegmentBytes: 4096, IndexIntervalBytes: 512}
}

func memPool(t testing.TB, f fs.FS) *segment.Pool {
	t.Helper()
	p, err := segment.NewPool(segment.PoolOptions{FS: f, Dir: "/pool"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// tableDisk returns a disk with the table's log on it: closed, or as a killed
// process leaves it, which had synced or not.
func tableDisk(t *testing.T, end string) *fs.Mem {
	t.Helper()
	m := fs.NewMem(1)
	l := open(t, tableOptions(m, memPool(t, m)))
	for i := range tableCount {
		appendBatch(t, l, makeBatch(1, tableBatch-batch.HeaderBytes, byte(i), int64(i)))
	}
	var err error
	switch end {
	case "closed":
		err = l.Close()
	case "synced":
		err = l.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	return m.Crash(rand.New(rand.NewPCG(1, 1)))
}

// change rewrites a file of the disk.
func change(t *testing.T, f fs.FS, name string, fn func([]byte) []byte) {
	t.Helper()
	file, err := f.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, _ := file.Size()
	b := make([]byte, size)
	if size > 0 {
		if _, err := file.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	b = fn(b)
	if err := file.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

func flip(at int64) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0xff; return b }
}

func zero(from, to int64) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[from:min(to, int64(len(b)))]); return b }
}

func cutAt(size int64) func([]byte) []byte {
	return func(b []byte) []byte { return b[:size] }
}

// ranges prints the offsets that can be read, as "0-14 20-39".
func ranges(batches []batch.Batch) string {
	var parts []string
	first, next := int64(-1), int64(-1)
	for _, b := range batches {
		if b.BaseOffset() != next {
			if first >= 0 {
				parts = append(parts, fmt.Sprintf("%d-%d", first, next-1))
			}
			first = b.BaseOffset()
		}
		next = b.LastOffset() + 1
	}
	if first >= 0 {
		parts = append(parts, fmt.Sprintf("%d-%d", first, next-1))
	}
	return strings.Join(parts, " ")
}

// TestDamagedFilesHaveTheseOutcomes is the table of what recovery does with
// each kind of damage. The log always opens, and takes appends at end.
func TestDamagedFilesHaveTheseOutcomes(t *testing.T) {
	idx := segment.IndexName
	type file struct {
		name   string
		damage func([]byte) []byte // nil removes the file
	}
	tests := []struct {
		name   string
		end    string // how the process ended
		files  []file
		events []EventKind // in order, without Scanned
		read   string
		bound  int64
	}{
		{"nothing, closed", "closed", nil, nil, "0-39", 40},
		{"nothing, synced and killed", "synced", nil, nil, "0-39", 40},
		{"nothing, killed", "killed", nil, nil, "0-39", 40},

		{"tail: last batch flipped", "synced", []file{{file2, flip(position(39) + 100)}}, []EventKind{TornTail}, "0-38", 39},
		{"tail: last batch half zero", "synced", []file{{file2, zero(position(39)+100, 4096)}}, []EventKind{TornTail}, "0-38", 39},
		{"tail: last batch all zero", "synced", []file{{file2, zero(position(39), 4096)}}, nil, "0-38", 39},
		{"tail: batch in the middle flipped", "synced", []file{{file2, flip(position(34) + 100)}}, []EventKind{Damaged}, "0-33 35-39", 40},
		{"tail: length of a batch negative", "synced", []file{{file2, flip(position(34) + 8)}}, []EventKind{Damaged}, "0-33 35-39", 40},
		{"tail: offset of a batch wrong", "synced", []file{{file2, flip(position(34) + 7)}}, []EventKind{Damaged}, "0-33 35-39", 40},
		{"tail: first batch zero", "synced", []file{{file2, zero(position(30), position(31))}}, []EventKind{Damaged}, "0-29 31-39", 40},
		{"tail: first page zero", "synced", []file{{file2, zero(0, position(33))}}, []EventKind{Damaged, BadHeader}, "0-29 33-39", 40},
		{"tail: two flipped, and the last", "synced", []file{{file2, flip(position(32) + 8)}, {file2, flip(position(35) + 100)}, {file2, flip(position(39) + 100)}},
			[]EventKind{Damaged, Damaged, TornTail}, "0-31 33-34 36-38", 39},
		{"tail: file cut inside a batch", "synced", []file{{file2, cutAt(position(34) + 100)}}, []EventKind{TornTail}, "0-33", 34},
		{"tail: file cut in its header", "synced", []file{{file2, cutAt(50)}}, []EventKind{Emptied}, "0-29", 30},
		{"tail: file empty", "synced", []file{{file2, cutAt(0)}}, []EventKind{Emptied}, "0-29", 30},
		{"tail: header zero, batches good", "synced", []file{{file2, zero(0, segment.HeaderBytes)}}, []EventKind{BadHeader}, "0-39", 40},
		{"tail: all zero", "synced", []file{{file2, zero(0, 4096)}}, []EventKind{Emptied}, "0-29", 30},
		{"tail: file gone", "synced", []file{{file2, nil}}, nil, "0-29", 30},
		{"tail: closed, flipped since", "closed", []file{{file2, flip(position(34) + 100)}}, []EventKind{Damaged}, "0-33 35-39", 40},
		{"tail: closed, cut since", "closed", []file{{file2, cutAt(position(34) + 100)}}, []EventKind{Damaged, Damaged}, "0-33", 40},

		{"middle: body flipped", "synced", []file{{file1, flip(position(20) + 100)}}, []EventKind{Damaged}, "0-19 21-39", 40},
		{"middle: length flipped", "synced", []file{{file1, flip(position(20) + 8)}}, []EventKind{Damaged}, "0-19 21-39", 40},
		{"middle: base offset flipped", "synced", []file{{file1, flip(position(20) + 7)}}, []EventKind{Damaged}, "0-19 21-39", 40},
		{"middle: length flipped where no entry is near", "synced", []file{{file1, flip(position(19) + 8)}}, []EventKind{Damaged}, "0-18 20-39", 40},
		{"middle: length and the next entry's batch flipped", "synced", []file{{file1, flip(position(19) + 8)}, {file1, flip(position(20) + 8)}, {file1, flip(position(21) + 8)}},
			[]EventKind{Damaged}, "0-18 22-39", 40},
		{"middle: page zero", "synced", []file{{file1, zero(position(20), position(24))}}, []EventKind{Damaged}, "0-19 24-39", 40},
		{"middle: end zero", "synced", []file{{file1, zero(position(20), 4096)}}, []EventKind{Damaged}, "0-19 30-39", 40},
		{"middle: file cut", "synced", []file{{file1, cutAt(position(20))}}, []EventKind{Damaged}, "0-19 30-39", 40},
		{"middle: header zero", "synced", []file{{file1, zero(0, segment.HeaderBytes)}}, []EventKind{BadHeader}, "0-39", 40},
		{"middle: header of another segment", "synced", []file{{file1, func(b []byte) []byte {
			segment.Header{Generation: 5, BaseOffset: 3, AllocatedBytes: 4096}.Put(b)
			return b
		}}}, []EventKind{BadHeader}, "0-39", 40},
		{"middle: all zero", "synced", []file{{file1, zero(0, 4096)}}, []EventKind{BadHeader, Damaged}, "0-14 30-39", 40},
		{"middle: file gone", "synced", []file{{file1, nil}}, []EventKind{Missing}, "0-14 30-39", 40},
		{"first: file gone", "synced", []file{{file0, nil}}, nil, "15-39", 40},
		{"two: damage in both", "synced", []file{{file0, flip(position(3) + 80)}, {file1, flip(position(20) + 80)}}, []EventKind{Damaged, Damaged}, "0-2 4-19 21-39", 40},

		{"index gone", "synced", []file{{idx(file1), nil}}, nil, "0-39", 40},
		{"index empty", "synced", []file{{idx(file1), cutAt(0)}}, []EventKind{BadIndex}, "0-39", 40},
		{"index header flipped", "synced", []file{{idx(file1), flip(20)}}, []EventKind{BadIndex}, "0-39", 40},
		{"index entry flipped", "synced", []file{{idx(file1), flip(110)}}, nil, "0-39", 40},
		{"index seal torn", "synced", []file{{idx(file1), func(b []byte) []byte { return b[:len(b)-3] }}}, nil, "0-39", 40},
		{"index of another segment", "synced", []file{{idx(file1), func(b []byte) []byte { return append(b[:16], make([]byte, 100)...) }}}, []EventKind{BadIndex}, "0-39", 40},
		{"index without a segment", "synced", []file{{file0, nil}, {idx(file0), func(b []byte) []byte { return b }}}, nil, "15-39", 40},
		{"all indexes gone", "synced", []file{{idx(file0), nil}, {idx(file1), nil}}, nil, "0-39", 40},
		{"index gone and body flipped", "synced", []file{{idx(file1), nil}, {file1, flip(position(20) + 100)}}, []EventKind{Damaged}, "0-19 21-39", 40},
		{"index gone and length flipped", "synced", []file{{idx(file1), nil}, {file1, flip(position(20) + 8)}}, []EventKind{Damaged}, "0-19 21-39", 40},

		{"a segment inside another", "synced", []file{{filepath.Join("/q", segment.FileName(7)), func([]byte) []byte { return make([]byte, 4096) }}},
			[]EventKind{SetAside}, "0-39", 40},
		{"other files are left alone", "synced", []file{{"/q/meta", func([]byte) []byte { return []byte("x") }}, {"/q/1.log", func([]byte) []byte { return []byte("x") }}},
			nil, "0-39", 40},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := tableDisk(t, tt.end)
			for _, f := range tt.files {
				if f.damage == nil {
					if err := m.Remove(f.name); err != nil {
						t.Fatal(err)
					}
					continue
				}
				change(t, m, f.name, f.damage)
			}
			var events []EventKind
			o := tableOptions(m, memPool(t, m))
			o.Report = func(e Event) {
				t.Log(e)
				if e.Kind != Scanned {
					events = append(events, e.Kind)
				}
			}
			l := open(t, o)
			start, end := l.Bounds()
			if end != tt.bound {
				t.Errorf("end %d, want %d", end, tt.bound)
			}
			if got := ranges(readAll(t, l, start, 700)); got != tt.read {
				t.Errorf("read %s, want %s", got, tt.read)
			}
			if got := ranges(readAll(t, l, start, 1<<20)); got != tt.read {
				t.Errorf("read again %s, want %s", got, tt.read)
			}
			if !slices.Equal(events, tt.events) {
				t.Errorf("events %v, want %v", events, tt.events)
			}
			if base := appendBatch(t, l, makeBatch(1, 100, 1, 1)); base != tt.bound {
				t.Errorf("appended at %d, want %d", base, tt.bound)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			o.Report = nil
			l = open(t, o)
			want := tt.read + fmt.Sprintf(" %d-%d", tt.bound, tt.bound)
			if before, ok := strings.CutSuffix(tt.read, fmt.Sprintf("-%d", tt.bound-1)); ok {
				want = fmt.Sprintf("%s-%d", before, tt.bound)
			}
			start, _ = l.Bounds()
			if got := ranges(readAll(t, l, start, 700)); got != want {
				t.Errorf("after another start read %s, want %s", got, want)
			}
		})
	}
}

func TestANewerFormatIsNotTouched(t *testing.T) {
	m := tableDisk(t, "closed")
	change(t, m, file1, func(b []byte) []byte { b[9], b[15] = 3, 200; return b })
	_, err := Open(tableOptions(m, memPool(t, m)))
	if err == nil || !strings.Contains(err.Error(), "unknown version") {
		t.Errorf("opened: %v", err)
	}
}
