package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/internal/budget"
)

// disk makes scratch files, and knows how much they take.
type disk struct {
	t     *testing.T
	open  int
	bytes int64
	full  error
}

type scratch struct {
	*os.File
	d    *disk
	size int64
}

func (d *disk) make() (Scratch, error) {
	if d.full != nil {
		return nil, d.full
	}
	f, err := os.Create(filepath.Join(d.t.TempDir(), "scratch"))
	d.open++
	return &scratch{File: f, d: d}, err
}

func (s *scratch) grow(size int64) {
	s.d.bytes += size - s.size
	s.size = size
}

func (s *scratch) WriteAt(b []byte, at int64) (int, error) {
	if s.d.full != nil {
		return 0, s.d.full
	}
	s.grow(max(s.size, at+int64(len(b))))
	return s.File.WriteAt(b, at)
}

func (s *scratch) Truncate(size int64) error {
	s.grow(size)
	return s.File.Truncate(size)
}

func (s *scratch) Close() error {
	s.grow(0)
	s.d.open--
	return s.File.Close()
}

func piece(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestBodiesInAFileAreTheirOwn(t *testing.T) {
	d := &disk{t: t}
	rng := rand.New(rand.NewPCG(1, 2))
	var s file
	type unfinished struct {
		spilled
		want []byte
	}
	var held []*unfinished
	most := int64(0)
	for range 4_000 {
		if len(held) == 0 || len(held) < 20 && rng.IntN(50) == 0 {
			held = append(held, new(unfinished))
		}
		i := rng.IntN(len(held))
		u := held[i]
		if rng.IntN(50) > 0 {
			piece := piece(rng, rng.IntN(20_000))
			if err := s.append(d.make, &u.spilled, piece); err != nil {
				t.Fatal(err)
			}
			u.want = append(u.want, piece...)
			most = max(most, int64(s.held))
			continue
		}
		got := make([]byte, len(u.want))
		if err := s.read(&u.spilled, got); err != nil || !bytes.Equal(got, u.want) {
			t.Fatalf("a body of %d bytes came back different: %v", len(u.want), err)
		}
		s.give(&u.spilled)
		held = slices.Delete(held, i, i+1)
		if took := d.bytes; took > (most+1)*blockBytes {
			t.Fatalf("the file is %d bytes long, and %d blocks were in use at most", took, most)
		}
	}
	for _, u := range held {
		s.give(&u.spilled)
	}
	var small, large spilled // one that stays for long is no reason to keep the space of another
	if err := errors.Join(s.append(d.make, &small, []byte("x")), s.append(d.make, &large, make([]byte, 200*blockBytes))); err != nil {
		t.Fatal(err)
	}
	s.give(&large)
	if took := d.bytes; took > 64*blockBytes {
		t.Errorf("the file is %d bytes long, and its first block in use", took)
	}
	s.give(&small)
	if d.open != 0 || s.disk != nil || s.held != 0 || d.bytes != 0 {
		t.Errorf("%d scratch files are open and take %d bytes, %d blocks are in use", d.open, d.bytes, s.held)
	}
}

// Bodies that come in turns are whole in the end, in memory as far as that goes, and nothing stays of them.
func TestBodiesAreWholeInBoundedMemory(t *testing.T) {
	const size, bodies = 1 << 20, 8
	for name, announced := range map[string]int{"announced": size, "of unknown length": -1} {
		d, all := &disk{t: t}, budget.New(budget.Options{Bytes: 2 << 20, Free: -1})
		s := Spool{Memory: all.Open(), Open: d.make}
		rng := rand.New(rand.NewPCG(3, 4))
		var list [bodies]Body
		want := make([][]byte, bodies)
		for range size / (64 << 10) {
			for i := range list {
				p := piece(rng, 64<<10)
				want[i] = append(want[i], p...)
				if err := s.Append(&list[i], p, announced); err != nil {
					t.Fatal(err)
				}
			}
		}
		if s := all.Stats(); s.Used > all.Standing() || d.open != 1 {
			t.Errorf("%s: %+v, %d files", name, s, d.open)
		}
		for i := range list {
			got, err := s.Whole(&list[i], nil)
			if err != nil || !bytes.Equal(got, want[i]) {
				t.Errorf("%s: body %d is %d bytes, %v", name, i, len(got), err)
			}
			s.Drop(&list[i])
		}
		if all.Stats().Used != 0 || all.Stats().Peak > 2<<20 || d.open != 0 || d.bytes != 0 {
			t.Errorf("%s: %+v, %d files of %d bytes", name, all.Stats(), d.open, d.bytes)
		}
	}
}

func TestABodyForWhichThereIsNoRoomIsRefused(t *testing.T) {
	d, all := &disk{t: t, full: errors.New("full")}, budget.New(budget.Options{Bytes: 1 << 20, Free: -1})
	s := Spool{Memory: all.Open(), Open: d.make}
	var b Body
	var err error
	for range 100 {
		if err = s.Append(&b, make([]byte, 64<<10), 100*64<<10); err != nil {
			break
		}
	}
	if !errors.Is(err, d.full) {
		t.Error(err)
	}
	s.Drop(&b)
	if all.Stats().Used != 0 || d.open != 0 {
		t.Errorf("%+v, %d files", all.Stats(), d.open)
	}
	d.full = nil
	if err := s.Append(&b, make([]byte, 1<<20), -1); err != nil { // the next one may have it
		t.Error(err)
	}
	gone := make(chan struct{})
	close(gone)
	hold := all.Open()
	_ = hold.Try(all.Stats().Bytes / 4)
	_ = all.Open().Try(all.Stats().Bytes / 4)
	_ = all.Open().Try(all.Stats().Bytes / 4)
	if _, err := s.Whole(&b, gone); !errors.Is(err, budget.ErrGone) {
		t.Error(err)
	}
	s.Drop(&b)
	if d.open != 0 {
		t.Errorf("%d files", d.open)
	}
}

func TestALargeBufferDoesNotStay(t *testing.T) {
	all := budget.New(budget.Options{})
	s := Spool{Memory: all.Open()}
	var b Body
	if err := s.Append(&b, make([]byte, keptBytes+1), keptBytes+1); err != nil || s.Memory.Held() < keptBytes {
		t.Fatal(err, s.Memory.Held())
	}
	s.Drop(&b)
	if b.memory != nil || s.Memory.Held() != 0 {
		t.Errorf("%d bytes are kept, %d counted", cap(b.memory), s.Memory.Held())
	}
}
