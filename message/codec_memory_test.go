package message

import (
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestALargeBatchDoesNotStayInMemoryOnceUnpacked(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := w.EncodeAll(make([]byte, 64<<20), nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // what a sync.Pool holds goes with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	out, err := Unpack(nil, CodecZstd, packed, MaxUnpackedBytes)
	if err != nil || len(out) != 64<<20 {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("%d bytes of heap before, %d after", before, after)
	}
}
