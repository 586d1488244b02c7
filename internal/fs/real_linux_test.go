package fs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// evict writes a file out and has the kernel drop its pages.
func evict(t *testing.T, f *os.File) {
	t.Helper()
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnceTakesNoPageAwayThatWasThere(t *testing.T) {
	const size = 4 << 20
	file := create(t, Real(), filepath.Join(t.TempDir(), "f"), make([]byte, size))
	m, err := file.Map(size)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	// On a file system without a disk behind it nothing is ever dropped, and a kernel
	// that cannot read without caching caches: then this holds all the more.
	evict(t, file.(realFile).File)
	b := make([]byte, 1<<20)
	if _, err := file.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < size; at += int64(len(b)) {
		if _, err := file.ReadOnce(b, at); err != nil {
			t.Fatal(err)
		}
	}
	if !m.Resident(0, int64(len(b))) {
		t.Error("pages that had been read for keeps are gone")
	}
}
