package segment

import (
	"os"
	"testing"
)

func TestAReadAtADamagedFirstBatchBeginsWithTheNextGoodOne(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 70, 64<<10)
	fill(t, s, 100)
	s.Seal()
	s.Close()
	b.pool.Wait()
	f, err := b.fs.Open(s.Name(), os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 300), HeaderBytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o, found, err := Open(b.o, s.Name(), 70, 270)
	if err != nil || len(found.Damage) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	defer o.Close()
	if got := offsets(t, o, 70, 4096); len(got) != 98 || got[0] != 74 {
		t.Errorf("%d batches, want 98 from 74 on: %v", len(got), got[:min(len(got), 1)])
	}
}
