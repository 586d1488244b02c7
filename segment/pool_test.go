package segment

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
)

func TestDroppedSegmentsAreRecycledOnlyForLaterOffsets(t *testing.T) {
	b := newBed(t, 1<<20)
	s := b.create(t, 100, 16<<10)
	fill(t, s, 10) // offsets 100 to 119
	s.Seal()
	s.Drop()
	b.pool.Wait()
	if st := b.pool.Stats(); st.FreeFiles != 1 || st.FreeBytes != 16<<10 {
		t.Fatalf("pool %+v", st)
	}
	b.create(t, 0, 16<<10)
	b.create(t, 119, 16<<10)
	b.create(t, 120, 8<<10)
	if st := b.pool.Stats(); st.Recycled != 0 || st.FreeFiles != 1 {
		t.Fatalf("recycled for offsets or a size it must not: %+v", st)
	}
	s = b.create(t, 120, 16<<10)
	if st := b.pool.Stats(); st.Recycled != 1 || st.FreeFiles != 0 {
		t.Fatalf("not recycled: %+v", st)
	}
	if got := offsets(t, s, 120, 1<<20); got != nil {
		t.Fatalf("old batches %v are readable", got)
	}
	fill(t, s, 3)
	if got := offsets(t, s, 120, 1<<20); len(got) != 3 || got[0] != 120 {
		t.Fatalf("batches %v", got)
	}
}

func TestARecycledFileShowsNothingOldAfterACrash(t *testing.T) {
	b := newBed(t, 1<<20)
	s := b.create(t, 0, 16<<10)
	fill(t, s, 50)
	finish(t, s)
	s.Drop()
	b.pool.Wait()
	next := b.create(t, 100, 16<<10)
	if b.pool.Stats().Recycled != 1 {
		t.Fatal("not recycled")
	}
	fill(t, next, 20)
	if err := b.mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	// The process dies here; what is in the file is 20 new batches and 30 old ones.
	got, found, err := Open(b.o, next.Name(), 100, -1)
	if err != nil {
		t.Fatal(err)
	}
	if n := offsets(t, got, 100, 1<<20); len(n) != 20 || got.Next() != 140 || found.CutBytes == 0 {
		t.Errorf("recovered %v, next %d, cut %d", n, got.Next(), found.CutBytes)
	}
}

func TestAViewKeepsItsBytesWhenTheSegmentIsDropped(t *testing.T) {
	b := newBed(t, 1<<20)
	s := b.create(t, 0, 16<<10)
	fill(t, s, 10)
	v, err := s.Read(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(v.Bytes())
	s.Seal()
	s.Drop()
	b.pool.Wait()
	if b.pool.Stats().FreeFiles != 0 {
		t.Fatal("a pinned file is free")
	}
	if _, err := s.Read(0, 100); !errors.Is(err, ErrDropped) {
		t.Errorf("read of a dropped segment: %v", err)
	}
	other := b.create(t, 20, 16<<10)
	fill(t, other, 10)
	if !bytes.Equal(v.Bytes(), before) {
		t.Error("the view changed")
	}
	v.Release()
	b.pool.Wait()
	if b.pool.Stats().FreeFiles != 1 {
		t.Error("not free after the last reader")
	}
}

func TestThePoolStaysWithinItsBytes(t *testing.T) {
	b := newBed(t, 40<<10)
	var all []*Segment
	for i := range 5 {
		s := b.create(t, int64(100*i), 16<<10)
		s.Seal()
		all = append(all, s)
	}
	small := b.create(t, 900, 2<<10)
	small.Seal()
	for _, s := range append(all, small) {
		s.Drop()
	}
	b.pool.Wait()
	if st := b.pool.Stats(); st.FreeFiles != 2 || st.FreeBytes != 32<<10 {
		t.Errorf("pool %+v", st)
	}
	if names, _ := b.fs.ReadDir("/q"); len(names) != 0 {
		t.Errorf("left in the log's folder: %v", names)
	}
	if names, _ := b.fs.ReadDir("/pool"); len(names) != 2 {
		t.Errorf("in the pool's folder: %v", names)
	}
	for range 13 {
		b.pool.Sweep()
	}
	if st := b.pool.Stats(); st.FreeFiles != 0 {
		t.Errorf("never given back: %+v", st)
	}
}

func TestThePoolStartsEmpty(t *testing.T) {
	m := fs.NewMem(1)
	if err := m.MkdirAll("/pool"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.free", "7.free", "x"} {
		if _, err := m.Open(filepath.Join("/pool", name), os.O_RDWR|os.O_CREATE); err != nil {
			t.Fatal(err)
		}
	}
	b := bedOn(t, m, m, 1<<20)
	s := b.create(t, 0, 4096)
	s.Seal()
	s.Drop()
	b.pool.Wait()
	if names, _ := m.ReadDir("/pool"); len(names) != 1 || names[0] != "9.free" {
		t.Errorf("files %v", names)
	}
}

func TestIdleSegmentsAreClosedAndOpenAgainOnDemand(t *testing.T) {
	b := newBed(t, 1<<20)
	s := b.create(t, 0, 16<<10)
	fill(t, s, 10)
	b.pool.Sweep()
	b.pool.Sweep()
	if b.pool.Stats().Open != 1 {
		t.Error("closed with bytes that are not synced")
	}
	m := s.Mark()
	if err := errors.Join(s.Sync(), s.Synced(m)); err != nil {
		t.Fatal(err)
	}
	v, err := s.Read(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	b.pool.Sweep() // forgets that it was used
	b.pool.Sweep() // closes it
	if n := b.pool.Stats().Open; n != 0 {
		t.Fatalf("%d open after two idle sweeps", n)
	}
	if got := offsets(t, s, 0, 100); len(got) != 10 {
		t.Errorf("read while closed: %v", got)
	}
	fill(t, s, 10)
	if got := offsets(t, s, 0, 1000); len(got) != 20 {
		t.Errorf("read after more appends: %v", got)
	}
	if v2, err := s.Read(0, 100); err != nil || !bytes.Equal(v2.Bytes(), v.Bytes()) {
		t.Error("the old view differs")
	} else {
		v2.Release()
	}
	// A View of the first mapping is still out, so the file must not be recycled.
	s.Seal()
	s.Drop()
	b.pool.Wait()
	if b.pool.Stats().FreeFiles != 0 {
		t.Error("recycled under a reader of its first mapping")
	}
	v.Release()
}

func TestOpenSegmentsAreBounded(t *testing.T) {
	m := fs.NewMem(1)
	b := bedOn(t, m, m, 0)
	b.pool.o.MaxOpen = 100
	for i := range 500 {
		s := b.create(t, int64(100*i), 4096)
		fill(t, s, 2)
		finish(t, s)
	}
	b.pool.Wait()
	// No more are closed than must be: they may all be in use.
	if n := b.pool.Stats().Open; n > 100+64 || n < 80 {
		t.Errorf("%d open, some 100 wanted", n)
	}
}

func TestAFullDiskIsTriedAgainWithoutTheFreeFiles(t *testing.T) {
	m := fs.NewMem(1)
	b := bedOn(t, m, m, 1<<20)
	s := b.create(t, 0, 32<<10)
	s.Seal()
	s.Drop()
	b.pool.Wait()
	m.SetCapacity(40 << 10)
	b.create(t, 0, 16<<10)
	if st := b.pool.Stats(); st.FreeFiles != 0 {
		t.Errorf("pool %+v", st)
	}
	_, err := Create(b.o, filepath.Join("/q", FileName(5)), 5, 64<<10, created)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if names, _ := m.ReadDir("/pool"); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestFilesThatCannotBeRenamedAreNotRecycled(t *testing.T) {
	var broken atomic.Bool
	m := fs.NewMem(1)
	b := bedOn(t, fs.Failing(m, func(op fs.Op, _ string) error {
		if broken.Load() && (op == fs.OpRename || op == fs.OpSyncDir) {
			return syscall.EIO
		}
		return nil
	}), m, 1<<20)
	s := b.create(t, 0, 16<<10)
	s.Seal()
	broken.Store(true)
	s.Drop()
	b.pool.Wait()
	if st := b.pool.Stats(); st.FreeFiles != 0 {
		t.Errorf("pool %+v", st)
	}
}

func TestWorkForAClosedPoolIsDoneAtOnce(t *testing.T) {
	b := newBed(t, 1<<20)
	s := b.create(t, 0, 16<<10)
	fill(t, s, 1)
	v, err := s.Read(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := b.pool.Close(); err != nil {
		t.Fatal(err)
	}
	v.Release()
	done := make(chan struct{})
	go func() { b.pool.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("nobody does the work")
	}
}

func TestASegmentThatCouldNotBeBegunTakesNothingFromTheNextOfItsName(t *testing.T) {
	var failing atomic.Bool
	m := fs.NewMem(1)
	f := fs.Failing(m, func(op fs.Op, _ string) error {
		if failing.Load() && op == fs.OpWrite {
			return syscall.EIO
		}
		return nil
	})
	b := bedOn(t, f, m, 0)
	busy := make(chan struct{})
	release := sync.OnceFunc(func() { close(busy) })
	defer release()
	b.pool.Later(func() { <-busy }) // the pool's goroutine, with an unlink that takes its time
	failing.Store(true)
	name := filepath.Join("/q", FileName(0))
	if _, err := Create(b.o, name, 0, 16<<10, created); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	failing.Store(false)
	s := b.create(t, 0, 16<<10)
	fill(t, s, 3)
	release()
	b.pool.Wait()
	if _, err := m.Stat(name); err != nil {
		t.Errorf("the new segment's file: %v", err)
	}
}

// placedFS has files that the kernel can send from, as those of a disk are.
type placedFS struct{ fs.FS }

type placedFile struct{ fs.File }

func (p placedFS) Open(name string, flag int) (fs.File, error) {
	f, err := p.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return placedFile{f}, nil
}

func (placedFile) Fd() uintptr { return 7 }

// TestAFileThatTheKernelMaySendFromIsNeverWrittenAgain: nobody is told when it is done.
func TestAFileThatTheKernelMaySendFromIsNeverWrittenAgain(t *testing.T) {
	m := fs.NewMem(1)
	b := bedOn(t, placedFS{m}, m, 1<<20)
	first := b.create(t, 0, 16<<10)
	fill(t, first, 10)
	v, err := first.Read(2, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	place := func(v View) (int64, bool) {
		fd, at, ok := v.Holder().(interface {
			Place([]byte) (uintptr, int64, bool)
		}).Place(v.Bytes())
		return at, ok && fd == 7
	}
	dropped := b.create(t, 20, 16<<10)
	fill(t, dropped, 10)
	late, err := dropped.Read(20, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := place(late); !ok || at != HeaderBytes {
		t.Fatalf("at %d, %v", at, ok)
	}
	if at, ok := place(v); !ok || at != HeaderBytes+int64(len(makeBatch(2, 200, 0, 0))) {
		t.Fatalf("the second batch is at %d, %v", at, ok)
	}
	v.Release() // the kernel may still look at it
	for _, s := range []*Segment{first, dropped} {
		s.Seal()
		s.Drop()
	}
	b.pool.Wait()
	late.Release()
	b.pool.Wait()
	if st := b.pool.Stats(); st.FreeFiles != 0 {
		t.Errorf("to be used again: %+v", st)
	}
	if names, _ := b.fs.ReadDir("/pool"); len(names) != 0 {
		t.Errorf("left over: %v", names)
	}

	// In this log files are worth to be used again from now on.
	next := b.create(t, 40, 16<<10)
	fill(t, next, 10)
	if v, err = next.Read(40, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, ok := place(v); ok {
		t.Error("the kernel may send from a file that is to be used again")
	}
	v.Release()
	next.Seal()
	next.Drop()
	b.pool.Wait()
	if st := b.pool.Stats(); st.FreeFiles != 1 {
		t.Errorf("thrown away: %+v", st)
	}
}
