package log

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

func TestWhatStandsFarBehindALostBeginningStaysLost(t *testing.T) {
	m := fs.NewMem(1)
	o := Options{FS: m, Dir: "/q", Pool: newPool(t, m, "/", 0), FirstSegmentBytes: 8 << 20}
	l := open(t, o)
	for i := range 40 {
		appendBatch(t, l, makeBatch(1, 100_000, byte(i), int64(i)))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// A power cut before the first flush: the first pages did not reach the disk, nor did the index.
	name := "/q/" + segment.FileName(0)
	f, err := m.Open(name, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 3<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(segment.IndexName(name)); err != nil {
		t.Fatal(err)
	}
	o.NextOffset = 40 // a cursor remembers that they were given out
	l = open(t, o)
	if start, end := l.Bounds(); start != 40 || end != 40 {
		t.Fatalf("bounds [%d, %d)", start, end)
	}
	appendBatch(t, l, makeBatch(1, 1000, 'x', 100))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	got := readAll(t, l, 40, 1<<20)
	if start, end := l.Bounds(); start != 40 || end != 41 || len(got) != 1 {
		t.Errorf("bounds [%d, %d), %d batches: the old ones came back", start, end, len(got))
	}
}

// Every folder that was made for a log lasts as long as what was synced in it.
func TestTheFoldersAboveANewLogSurviveAPowerCut(t *testing.T) {
	for seed := range uint64(20) {
		m := fs.NewMem(seed)
		o := Options{FS: m, Dir: "/queues/95/shard/0000000000000001", Pool: newPool(t, m, "/", 0)}
		l := open(t, o)
		appendBatch(t, l, makeBatch(1, 100, 'x', 1))
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		after := m.Crash(rand.New(rand.NewPCG(seed, 1)))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS, o.Pool = after, newPool(t, after, "/", 0)
		l = open(t, o)
		if start, end := l.Bounds(); start != 0 || end != 1 {
			t.Errorf("seed %d: bounds [%d, %d)", seed, start, end)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
