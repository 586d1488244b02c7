package local

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// listless is a disk that takes nothing in lists of changes while full is set.
type listless struct {
	fs.FS
	full atomic.Bool
}

type listlessFile struct {
	fs.File
	of *listless
}

func (f *listless) Open(name string, flag int) (fs.File, error) {
	file, err := f.FS.Open(name, flag)
	if err == nil && strings.HasSuffix(name, changedSuffix) {
		file = listlessFile{file, f}
	}
	return file, err
}

func (f listlessFile) WriteAt(b []byte, at int64) (int, error) {
	if f.of.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(b, at)
}

// TestWhatCouldNotBeNotedIsNotMissed drains a log on a full disk behind a checkpoint, which has
// it as it was: what left by an ack must not be missed after a kill.
func TestWhatCouldNotBeNotedIsNotMissed(t *testing.T) {
	mem := fs.NewMem(1)
	disk := &listless{FS: mem}
	o := Options{Dir: "/data", FS: disk, BootID: "one", SegmentBytes: 64 << 10}
	s := openStore(t, o)
	l := newTestLog(t, s, store.LogOptions{Name: "orders", Retention: store.Retention{Consumed: true}})
	for range 300 {
		mustAppend(t, l, batchOf(1, 1000))
	}
	s.syncer.flushListed()
	if err := s.checkpoints.write(false); err != nil {
		t.Fatal(err)
	}
	disk.full.Store(true)
	if err := l.Progress(250, 250); err != nil {
		t.Fatal(err)
	}
	l.Release(250)
	s.pool.Wait()
	if err := mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	o.FS = mem.Crash(rand.New(rand.NewPCG(1, 1)))
	again, err := Open(o)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	defer again.Close()
	l = openTestLog(t, again, l.ID(), store.LogOptions{Name: "orders", Retention: store.Retention{Consumed: true}})
	if f := l.Figures(); f.Certain {
		t.Errorf("figures from before pass for certain: %+v", f)
	}
}
