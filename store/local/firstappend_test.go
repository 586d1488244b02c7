package local

import (
	"path"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// hanging is a disk that does not answer when a log's directory is to be made.
type hanging struct {
	fs.FS
	once          sync.Once
	asked, answer chan struct{}
}

func (f *hanging) MkdirAll(dir string) error {
	if path.Base(path.Dir(path.Dir(dir))) == queuesName {
		f.once.Do(func() {
			close(f.asked)
			<-f.answer
		})
	}
	return f.FS.MkdirAll(dir)
}

// TestBoundsDoNotWaitForAFirstAppend: a cursor asks for them under its mutex.
func TestBoundsDoNotWaitForAFirstAppend(t *testing.T) {
	f := &hanging{FS: fs.NewMem(1), asked: make(chan struct{}), answer: make(chan struct{})}
	s := openStore(t, Options{Dir: "/data", FS: f, BootID: "one"})
	l := newTestLog(t, s, store.LogOptions{Name: "orders"})
	appended := make(chan error, 1)
	go func() {
		_, err := appendTo(l, batchOf(3, 1))
		appended <- err
	}()
	<-f.asked
	told := make(chan struct{})
	go func() {
		defer close(told)
		if start, end, err := l.Bounds(); start != 0 || end != 0 || err != nil {
			t.Errorf("%d to %d, %v", start, end, err)
		}
	}()
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Error("Bounds waits for the disk")
	}
	close(f.answer)
	<-told
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if _, end := bounds(t, l); end != 3 {
		t.Errorf("it ends at %d", end)
	}
}
