package local

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

func TestAScratchFileHasNoNameAndHoldsWhatIsWritten(t *testing.T) {
	for name, open := range map[string]func() (fs.FS, string){
		"real":   func() (fs.FS, string) { return fs.Real(), t.TempDir() },
		"memory": func() (fs.FS, string) { return fs.NewMem(1), "data" },
	} {
		t.Run(name, func(t *testing.T) {
			fsys, dir := open()
			s, err := Open(Options{Dir: dir, FS: fsys})
			if err != nil {
				t.Fatal(err)
			}
			a, err := s.Scratch()
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.Scratch()
			if err != nil {
				t.Fatal(err)
			}
			left, err := fsys.ReadDir(dir + "/" + transientName)
			if err != nil || len(left) != 0 {
				t.Errorf("%v, %v", left, err)
			}
			if _, err := a.WriteAt([]byte("of a"), 1<<20); err != nil {
				t.Fatal(err)
			}
			if _, err := b.WriteAt([]byte("of b"), 1<<20); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4)
			if _, err := a.ReadAt(got, 1<<20); err != nil || string(got) != "of a" {
				t.Errorf("%q, %v", got, err)
			}
			a.Close()
			b.Close()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAScratchFileThatACrashLeftIsWiped(t *testing.T) {
	mem := fs.NewMem(1)
	dir := "data/" + transientName
	if err := mem.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	f, err := mem.Open(dir+"/"+scratchPrefix+"1", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	s, err := Open(Options{Dir: "data", FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if f, err = s.Scratch(); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// Space that comes back inside the store, as files kept for reuse, counts: an append would take it, too.
func TestAProbeFindsRoomInFilesKeptForReuse(t *testing.T) {
	mem := fs.NewMem(1)
	mem.SetCapacity(40 << 20)
	s, err := Open(Options{Dir: "data", FS: mem, SegmentBytes: 8 << 20, Mode: store.ModeOS})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := s.OpenLog(newID(t, s), store.LogOptions{Name: "q", Retention: store.Retention{Consumed: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Probe(); err != nil {
		t.Fatalf("an empty disk: %v", err)
	}
	for err == nil {
		_, err = l.Append(batchOf(1, 100_000))
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	if err := s.Probe(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	_, end, err := l.Bounds()
	if err != nil {
		t.Fatal(err)
	}
	l.Release(end)
	for begun := time.Now(); s.Probe() != nil; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("nothing is left to read, and still: %v", s.Probe())
		}
	}
}
