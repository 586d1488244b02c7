package segment

import (
	"bytes"
	"testing"
)

// TestReadNowReadsNoDisk takes what Read left in memory, and knows what it would take a read for.
func TestReadNowReadsNoDisk(t *testing.T) {
	_, c, s := coldSegment(t, 20_001)
	defer s.Close()
	if v, ok, err := s.ReadNow(0, 1000); ok || err != nil {
		t.Fatalf("a segment that is not open: %d bytes, %v", len(v.Bytes()), err)
	}
	served := 0
	for from := int64(0); from < 2*20_001; {
		v, ok, err := s.ReadNow(from, 1000)
		if n := len(c.take()); err != nil || n > 0 {
			t.Fatalf("at %d: %d reads, %v", from, n, err)
		}
		want, err := s.Read(from, 1000)
		if err != nil {
			t.Fatal(err)
		}
		c.take()
		if ok {
			served++
			if !bytes.Equal(v.Bytes(), want.Bytes()) {
				t.Fatalf("at %d: %d bytes, Read gives %d", from, len(v.Bytes()), len(want.Bytes()))
			}
			v.Release()
		}
		from = behind(t, want)
		want.Release()
		for _, kept := range s.chunks {
			if n := kept.refs.Load(); n != 1 {
				t.Fatalf("at %d: %d hold a chunk that is kept", from, n)
			}
		}
	}
	if served < 100 { // all but the first of each chunk
		t.Errorf("%d reads were answered out of memory", served)
	}
}

// TestReadNowDoesNotWaitForWhoOpensTheSegment: its mutex is held over that.
func TestReadNowDoesNotWaitForWhoOpensTheSegment(t *testing.T) {
	_, _, s := coldSegment(t, 2000)
	defer s.Close()
	v, err := s.Read(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	v.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok, err := s.ReadNow(0, 1000); ok || err != nil {
		t.Error("it knows what is kept", err)
	}
}

// TestReadNowOfWhatIsMapped is Read.
func TestReadNowOfWhatIsMapped(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 0, 64<<10)
	defer s.Close()
	fill(t, s, 10)
	v, ok, err := s.ReadNow(0, 1<<20)
	if !ok || err != nil || !v.Mapped() {
		t.Fatal(ok, err)
	}
	v.Release()
}
