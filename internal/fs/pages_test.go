package fs

import (
	"runtime"
	"testing"
)

func TestPagesAreZeroAndNotOfTheHeap(t *testing.T) {
	const size = 64 << 20
	var before, with runtime.MemStats
	runtime.ReadMemStats(&before)
	b, free := Pages(size)
	runtime.ReadMemStats(&with)
	if len(b) != size {
		t.Fatalf("%d bytes", len(b))
	}
	for i := 0; i < size; i += 4096 {
		if b[i] != 0 {
			t.Fatalf("byte %d is %d", i, b[i])
		}
		b[i] = 1
	}
	if grown := int64(with.HeapAlloc) - int64(before.HeapAlloc); runtime.GOOS != "windows" && grown > size/2 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	free()
}
