package local

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// The files of unsynced segments stay open, so the limit is met long before the
// flush of the background has come by.
func TestFirstMessagesToMoreLogsThanFilesMayBeOpen(t *testing.T) {
	s := openStore(t, Options{Dir: "/d", FS: fs.NewMem(1), Mode: store.ModeOS, LimitOpenFiles: 64, FlushInterval: time.Hour})
	logs := make([]*Log, 500)
	var group sync.WaitGroup
	for part := range 4 {
		group.Go(func() {
			for i := part; i < len(logs); i += 4 {
				logs[i] = newTestLog(t, s, store.LogOptions{})
				if _, err := logs[i].Append(batchOf(1, 100)); err != nil {
					t.Errorf("log %d: %v", i, err)
				}
				// Four appenders may pass the limit together.
				if n := s.pool.Stats().Files; n > 64+4 {
					t.Errorf("%d open files, at most 64 wanted", n)
				}
			}
		})
	}
	group.Wait()
	for round := range 2 { // what was closed is mapped again for the next message
		for i, l := range logs {
			if base := mustAppend(t, l, batchOf(1, 100)); base != message.Offset(1+round) {
				t.Fatalf("log %d: offset %d in round %d", i, base, round)
			}
		}
	}
	for i, l := range logs {
		if n := count(t, l, 0, 3); n != 3 || l.Err() != nil {
			t.Fatalf("log %d: %d records, %v", i, n, l.Err())
		}
	}
}

// The system's own limit may be met first: others open files, too.
func TestALogSurvivesThatTheProcessHasNoDescriptorLeft(t *testing.T) {
	for name, c := range map[string]struct {
		op   fs.Op
		part string
	}{
		"making a segment":        {fs.OpOpen, ".free"},
		"mapping a segment":       {fs.OpMap, ".free"},
		"making the log":          {fs.OpOpen, "/meta"},
		"flushing the directory":  {fs.OpSyncDir, "/queues/"},
		"opening the cursor":      {fs.OpOpen, "/cursor"},
		"opening a segment again": {fs.OpOpen, ".log"},
	} {
		t.Run(name, func(t *testing.T) {
			var none atomic.Bool
			f := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
				if op == c.op && strings.Contains(name, c.part) && none.Load() {
					return syscall.EMFILE
				}
				return nil
			})
			s := openStore(t, Options{Dir: "/d", FS: f, Mode: store.ModeGroup, FlushInterval: time.Hour})
			used := newTestLog(t, s, store.LogOptions{})
			mustAppend(t, used, batchOf(1, 100))
			used.Progress(0, 1)
			s.syncer.flushListed()
			s.pool.Sweep()
			s.pool.Sweep() // closes it
			fresh := newTestLog(t, s, store.LogOptions{})
			none.Store(true)
			told := 0
			for _, l := range []*Log{used, fresh} {
				if _, err := l.Append(batchOf(1, 100)); err != nil {
					told++
					if !scarce(err) {
						t.Errorf("an append failed with %v", err)
					}
				}
				if _, err := l.Read(0, 1000); err != nil {
					told++
					if !scarce(err) && !errors.Is(err, store.ErrOutOfRange) {
						t.Errorf("a read failed with %v", err)
					}
				}
				l.Progress(1, 1)
				if err := s.syncer.wait(l); err != nil {
					told++
					if !scarce(err) {
						t.Errorf("a commit failed with %v", err)
					}
				}
				if err := l.Err(); err != nil {
					t.Errorf("it is read-only: %v", err)
				}
			}
			if told == 0 && c.part != "/cursor" {
				t.Error("nobody was told")
			}
			none.Store(false)
			for _, l := range []*Log{used, fresh} {
				mustAppend(t, l, batchOf(1, 100))
				if err := s.syncer.wait(l); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
}

// starved is a file system on which the next so many names with a part can't be
// opened for want of a descriptor.
func starved(part string) (f fs.FS, left *atomic.Int32) {
	left = new(atomic.Int32)
	return fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if op == fs.OpOpen && strings.Contains(name, part) && left.Add(-1) >= 0 {
			return syscall.EMFILE
		}
		return nil
	}), left
}

func TestAMomentWithoutDescriptorsIsNotSeenByAnAppend(t *testing.T) {
	f, left := starved(".free")
	s := openStore(t, Options{Dir: "/d", FS: f, FlushInterval: time.Hour})
	left.Store(1)
	mustAppend(t, newTestLog(t, s, store.LogOptions{}), batchOf(1, 100))
}

func TestAMomentWithoutDescriptorsIsNotSeenByTheFirstRead(t *testing.T) {
	f, left := starved("/queues/")
	s := openStore(t, Options{Dir: "/d", FS: f, FlushInterval: time.Hour})
	l := newTestLog(t, s, store.LogOptions{})
	mustAppend(t, l, batchOf(1, 100))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: "/d", FS: f, FlushInterval: time.Hour})
	l = openTestLog(t, s, l.ID(), store.LogOptions{})
	left.Store(1)
	v, err := l.Read(0, 1000)
	if err != nil || len(v.Raw()) == 0 {
		t.Fatalf("%d bytes, %v", len(v.Raw()), err)
	}
	v.Done()
}
