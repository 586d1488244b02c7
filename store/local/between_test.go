package local

import (
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

// scarceOnce has no descriptor for the first segment that is asked for.
type scarceOnce struct {
	fs.FS
	had    atomic.Bool
	failed chan struct{}
}

func (f *scarceOnce) Open(name string, flag int) (fs.File, error) {
	if _, ok := segment.ParseName(path.Base(name)); ok || path.Base(path.Dir(name)) == spareName {
		if !f.had.Swap(true) {
			close(f.failed)
			return nil, syscall.EMFILE
		}
	}
	return f.FS.Open(name, flag)
}

// TestACheckpointBesideAnAppendKnowsOfIt has a checkpoint come between the two steps of an
// append, which waits for a descriptor there: what it does not have is noted behind it.
func TestACheckpointBesideAnAppendKnowsOfIt(t *testing.T) {
	f := &scarceOnce{FS: fs.NewMem(1), failed: make(chan struct{})}
	s := openStore(t, Options{Dir: "/data", FS: f, BootID: "one"})
	l := newTestLog(t, s, store.LogOptions{Name: "orders"})
	s.roomMu.Lock()
	done := make(chan error, 1)
	go func() {
		_, err := appendTo(l, batchOf(1, 1))
		done <- err
	}()
	<-f.failed
	if err := s.checkpoints.write(false); err != nil {
		t.Fatal(err)
	}
	s.roomMu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !l.unsaved.Load() {
		t.Error("the message is in no checkpoint, and not noted behind it")
	}
}

// TestACheckpointBesideAnAckKnowsOfIt has one come between the two steps of an ack.
func TestACheckpointBesideAnAckKnowsOfIt(t *testing.T) {
	s := openStore(t, Options{Dir: "/data", FS: fs.NewMem(1), BootID: "one", FlushInterval: time.Hour}) // no other checkpoint comes
	l := newTestLog(t, s, store.LogOptions{Name: "orders", Retention: store.Retention{Consumed: true}})
	mustAppend(t, l, batchOf(10, 1))
	if err := l.Progress(message.Offset(4), message.Offset(4)); err != nil {
		t.Fatal(err)
	}
	if err := s.checkpoints.write(false); err != nil {
		t.Fatal(err)
	}
	l.Release(4)
	for end := time.Now().Add(time.Minute); !l.unsaved.Load() && time.Now().Before(end); {
		runtime.Gosched() // Release does not wait for the disk
	}
	if r := l.rest.Load(); r.Waiting != 6 && !l.unsaved.Load() {
		t.Errorf("the checkpoint says that %d wait, and nothing behind it says that fewer do", r.Waiting)
	}
}

// inUse is how many slots for the ends of logs are not free.
func (e *ends) inUse() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next - len(e.free)
}

// TestADeletedLogKeepsNoSlotForItsEnd has consumers and producers of a log be late: what they
// do after its deletion, or across it, leaves no slot behind.
func TestADeletedLogKeepsNoSlotForItsEnd(t *testing.T) {
	var during func()
	files := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if op == fs.OpOpen && strings.HasSuffix(name, endsSuffix) && during != nil {
			during()
		}
		return nil
	})
	s := openStore(t, Options{Dir: "/data", FS: files, BootID: "one"})
	l := newTestLog(t, s, store.LogOptions{Name: "across", Retention: store.Retention{Consumed: true}})
	during = func() { l.end.Store(deletedMark) } // while it takes its slot
	mustAppend(t, l, batchOf(1, 1))
	during = nil
	if n := s.checkpoints.ends.inUse(); n != 0 {
		t.Errorf("deleted during its first append: %d slots are in use", n)
	}

	l = newTestLog(t, s, store.LogOptions{Name: "after", Retention: store.Retention{Consumed: true}})
	mustAppend(t, l, batchOf(10, 1))
	if err := s.checkpoints.write(false); err != nil {
		t.Fatal(err)
	}
	if n := s.checkpoints.ends.inUse(); n != 1 {
		t.Fatalf("%d slots are in use", n)
	}
	if err := s.DeleteLog(t.Context(), l.ID()); err != nil {
		t.Fatal(err)
	}
	l.Release(5)
	l.noteStart(5)
	l.noteEnd(20)
	if n := s.checkpoints.ends.inUse(); n != 0 {
		t.Errorf("an ack after the deletion: %d slots are in use", n)
	}
}

// TestAnIdleStoreWritesNoCheckpoint uses the store, waits until that is written down, and
// looks for more. While only messages come, they are rarer than the flushes.
func TestAnIdleStoreWritesNoCheckpoint(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: "/data", FS: fs.NewMem(1), BootID: "one"})
		l := newTestLog(t, s, store.LogOptions{Name: "orders"})
		number := func() uint64 {
			s.checkpoints.mu.Lock()
			defer s.checkpoints.mu.Unlock()
			return s.checkpoints.number
		}
		written := func(in time.Duration) uint64 {
			from := number()
			time.Sleep(in)
			synctest.Wait()
			return number() - from
		}
		if err := putOne(s, "a definition"); err != nil {
			t.Fatal(err)
		}
		if n := written(3 * s.o.FlushInterval); n == 0 {
			t.Error("a new definition is in no checkpoint")
		}
		mustAppend(t, l, batchOf(10, 1))
		if n := written(2 * checkpointEvery); n == 0 {
			t.Error("messages are in no checkpoint")
		}
		if n := written(time.Hour); n != 0 {
			t.Errorf("%d checkpoints of an hour in which nothing happened", n)
		}
		from := number()
		for range 60 {
			mustAppend(t, l, batchOf(10, 1))
			time.Sleep(time.Second)
		}
		if n := number() - from; n < 5 || n > 13 {
			t.Errorf("%d checkpoints of a minute in which messages came", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
