package local

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// fewFiles is a file system on which so many files can be open at a time.
type fewFiles struct {
	fs.FS
	left atomic.Int64
}

type oneOfFew struct {
	fs.File
	of *fewFiles
}

func (f *fewFiles) Open(name string, flag int) (fs.File, error) {
	if f.left.Add(-1) < 0 {
		f.left.Add(1)
		return nil, syscall.EMFILE
	}
	file, err := f.FS.Open(name, flag)
	if err != nil {
		f.left.Add(1)
		return nil, err
	}
	return oneOfFew{file, f}, nil
}

func (f oneOfFew) Close() error {
	f.of.left.Add(1)
	return f.File.Close()
}

func TestACursorIsWrittenWithoutADescriptorLeft(t *testing.T) {
	few := &fewFiles{FS: fs.NewMem(1)}
	few.left.Store(1000)
	s := openStore(t, Options{Dir: "/d", FS: few, BootID: "one", FlushInterval: time.Hour})
	var logs []*Log
	for range 20 {
		l := newTestLog(t, s, store.LogOptions{Name: "q"})
		mustAppend(t, l, batchOf(5, 100))
		logs = append(logs, l)
	}
	took := few.left.Swap(0) // others have them now: connections
	for _, l := range logs {
		if err := l.Progress(1, 3); err != nil {
			t.Fatalf("with a reserve of %d: %v", reserved, err)
		}
		few.left.Store(0) // what was lent is gone too, as soon as it is closed
		s.reserve.mu.Lock()
		for len(s.reserve.held) < reserved { // as the sweep does once there are some
			few.left.Store(1)
			f, err := few.Open(s.reserve.name, 0)
			if err != nil {
				t.Fatal(err)
			}
			s.reserve.held = append(s.reserve.held, f)
		}
		s.reserve.mu.Unlock()
	}
	few.left.Store(took)
}

func TestProgressThatCannotBeNotedIsBusyAndComesLater(t *testing.T) {
	var none atomic.Bool
	mem := fs.NewMem(1)
	f := fs.Failing(mem, func(op fs.Op, name string) error {
		if none.Load() && op == fs.OpOpen && strings.HasSuffix(name, "/cursor") {
			return syscall.EMFILE
		}
		return nil
	})
	s := openStore(t, Options{Dir: "/d", FS: f, BootID: "one", FlushInterval: time.Hour})
	l := newTestLog(t, s, store.LogOptions{Name: "q", Mode: store.ModeOS})
	mustAppend(t, l, batchOf(5, 100))
	none.Store(true)
	for range 3 {
		if err := l.Progress(0, 3); !errors.Is(err, store.ErrBusy) {
			t.Fatalf("progress: %v", err)
		}
	}
	if err := l.Err(); err != nil {
		t.Fatalf("it is read-only: %v", err)
	}
	none.Store(false)
	if err := l.Progress(0, 3); err != nil {
		t.Fatal(err)
	}
	if err := mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	killed := openStore(t, Options{Dir: "/d", FS: mem.Crash(rand.New(rand.NewPCG(1, 1))), BootID: "one"})
	if c, err := openTestLog(t, killed, l.ID(), store.LogOptions{}).LoadCursor(ctx); err != nil || c.Handed != 3 {
		t.Errorf("cursor %+v, %v", c, err)
	}
}
