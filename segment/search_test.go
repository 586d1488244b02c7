package segment

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// numbered returns a batch of one record that stands at an offset.
func numbered(offset int64, body []byte) []byte {
	b := make(batch.Batch, batch.HeaderBytes+len(body))
	copy(b.Records(), body)
	b.Seal(batch.Header{Count: 1, ProducerID: batch.NoProducer, ProducerEpoch: batch.NoProducerEpoch, BaseSequence: batch.NoSequence})
	b.SetBaseOffset(offset)
	return b
}

// lastSegment writes a file that begins at offset 10, as a killed process leaves it.
func lastSegment(t *testing.T, f fs.FS, batches ...[]byte) {
	t.Helper()
	b := make([]byte, HeaderBytes)
	Header{Generation: 1, BaseOffset: 10, AllocatedBytes: 8 << 20}.Put(b)
	for _, one := range batches {
		b = append(b, one...)
	}
	write(t, f, "/q/"+FileName(10), append(b, make([]byte, 8<<20-len(b))...))
}

func TestWhatABodyHoldsIsNoBatchOfTheLog(t *testing.T) {
	wiped := func(offset int64, body []byte) []byte { // nothing of its header is left
		b := numbered(offset, body)
		clear(b[:batch.HeaderBytes])
		return b
	}
	inside := func(offsets ...int64) (body []byte) {
		for _, o := range offsets {
			body = append(body, numbered(o, make([]byte, 500))...)
		}
		return append(body, "the rest"...)
	}
	small := func(o int64) []byte { return numbered(o, []byte("small")) }
	for _, tt := range []struct {
		name    string
		batches [][]byte
		want    []int64 // base offsets
	}{
		{"far above, and what follows is lower", [][]byte{small(10), wiped(11, inside(5000, 5001)), small(12), small(13)}, []int64{10, 12, 13}},
		{"close above, and what follows is lower", [][]byte{small(10), wiped(11, inside(14, 15, 16)), small(12), small(13)}, []int64{10, 12, 13}},
		{"too far above to follow", [][]byte{small(10), wiped(11, inside(1_000_000))}, []int64{10}},
		{"below", [][]byte{small(10), small(11), wiped(12, inside(3, 4)), small(13)}, []int64{10, 11, 13}},
		{"in two that are lost", [][]byte{small(10), wiped(11, inside(300, 301)), small(12), wiped(13, inside(250)), small(14)}, []int64{10, 12, 14}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, 0)
			lastSegment(t, b.fs, tt.batches...)
			s, _, err := Open(b.o, "/q/"+FileName(10), 10, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got := offsets(t, s, 10, 1<<20)
			if len(got) != len(tt.want) {
				t.Fatalf("batches at %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Fatalf("batches at %v, want %v", got, tt.want)
				}
			}
		})
	}
}

func TestHowFarBatchesAreLookedForBehindDamage(t *testing.T) {
	far := numbered(11, make([]byte, quietBytes+1000))
	flipped := func(at int) []byte {
		b := append([]byte(nil), far...)
		b[at] ^= 0x80
		return b
	}
	wiped := append([]byte(nil), far...)
	clear(wiped[:batch.HeaderBytes])
	for _, tt := range []struct {
		name string
		bad  []byte
		next int64
	}{
		{"its length leads there", flipped(100), 14},
		{"a batch was there, its length is gone", flipped(8), 14},
		{"a batch was there, its number is gone", flipped(0), 14},
		{"nothing says that a batch was there", wiped, 11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, 0)
			lastSegment(t, b.fs, numbered(10, nil), tt.bad, numbered(12, nil), numbered(13, nil))
			s, found, err := Open(b.o, "/q/"+FileName(10), 10, -1)
			if err != nil || s.Next() != tt.next {
				t.Fatalf("next %d, want %d; %+v, %v", s.Next(), tt.next, found, err)
			}
			s.Close()
		})
	}
}

func TestATornBatchIsCutAndItsRecordsAreCounted(t *testing.T) {
	b := newBed(t, 0)
	torn := makeBatch(7, 3000, 1, 1)
	batch.Batch(torn).SetBaseOffset(11)
	clear(torn[2000:])
	lastSegment(t, b.fs, numbered(10, nil), torn)
	s, found, err := Open(b.o, "/q/"+FileName(10), 10, -1)
	if err != nil || s.Next() != 11 || found.CutRecords != 7 || found.CutBytes == 0 || len(found.Damage) > 0 {
		t.Fatalf("next %d, %+v, %v", s.Next(), found, err)
	}
	s.Close()
}

func TestADeviceThatCannotBeReadIsNotATornTail(t *testing.T) {
	mem := fs.NewMem(1)
	if err := mem.MkdirAll("/q"); err != nil {
		t.Fatal(err)
	}
	lastSegment(t, mem, numbered(10, nil), numbered(11, nil))
	b := bedOn(t, &readsFS{FS: mem, before: func(r diskRead) error {
		if r.to > HeaderBytes {
			return syscall.EIO
		}
		return nil
	}}, mem, 0)
	if _, _, err := Open(b.o, "/q/"+FileName(10), 10, -1); !errors.Is(err, syscall.EIO) {
		t.Errorf("opened with %v", err)
	}
	if f, err := mem.Open("/q/"+FileName(10), os.O_RDONLY); err != nil {
		t.Error(err)
	} else if size, _ := f.Size(); size != 8<<20 {
		t.Errorf("the file was cut to %d bytes", size)
	}
}

// BenchmarkSearchOfFreeSpace is what a start after a kill costs for each log whose last
// segment lies in a file with a former life.
func BenchmarkSearchOfFreeSpace(b *testing.B) {
	bed := newBed(b, 0)
	old := make([]byte, HeaderBytes)
	for at := int64(0); len(old) < 8<<20; at++ {
		old = append(old, numbered(at, make([]byte, 100+at%400))...)
	}
	Header{Generation: 1, BaseOffset: 1 << 30, AllocatedBytes: 8 << 20}.Put(old)
	write(b, bed.fs, "/q/"+FileName(1<<30), old)
	f, err := bed.fs.Open("/q/"+FileName(1<<30), os.O_RDONLY)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(quietBytes)
	for b.Loop() {
		c := newScan(&Segment{o: bed.o, base: 1 << 30}, f, new(index.Index), int64(len(old)), -1)
		if err := c.all(); err != nil || c.at != HeaderBytes {
			b.Fatal(c.at, err)
		}
	}
}
