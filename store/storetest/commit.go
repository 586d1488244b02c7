package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/store"
)

var modes = []store.Mode{store.ModeDefault, store.ModeOS, store.ModeGroup, store.ModeAlways}

var commitTests = map[string]func(*testing.T, Opener){
	"is done once in every mode":          testCommitOnce,
	"keeps its order on one log":          testCommitOrder,
	"covers several logs and modes":       testCommitSeveral,
	"of nothing is done":                  testCommitNothing,
	"of many at once are all done":        testCommitMany,
	"mode can change while commits wait":  testCommitModeChange,
	"fails when the store is closed":      testCommitClosed,
	"of a log that was deleted completes": testCommitDeleted,
}

// withMode is a topic in that mode.
func withMode(m store.Mode) store.LogOptions {
	o := topic("mode " + m.String())
	o.Mode = m
	return o
}

func testCommitOnce(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	for _, mode := range modes {
		l := open(t, s, withMode(mode))
		for i := range 10 {
			add(t, l, records(0, fmt.Sprint(i)))
			commit(t, s, l)
		}
		commit(t, s, l) // nothing new
	}
}

// order collects numbers in the order in which they came.
type order struct {
	mu   sync.Mutex
	got  []int
	errs []error
}

func (o *order) done(i int) func(error) {
	return func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.got = append(o.got, i)
		if err != nil {
			o.errs = append(o.errs, err)
		}
	}
}

// want waits until 0 to n-1 came in order.
func (o *order) want(t *testing.T, n int) {
	t.Helper()
	eventually(t, "all commits to be done", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.got) >= n
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, g := range o.got {
		if i != g || len(o.got) != n {
			t.Fatalf("done in the order %v", o.got)
		}
	}
	if len(o.errs) > 0 {
		t.Fatalf("commits failed: %v", o.errs)
	}
}

func testCommitOrder(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	for _, mode := range modes {
		l := open(t, s, withMode(mode))
		var o order
		for i := range 100 {
			add(t, l, records(0, fmt.Sprint(i)))
			s.Commit([]store.Log{l}, o.done(i))
		}
		o.want(t, 100)
	}
}

func testCommitSeveral(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	var logs []store.Log
	for range 12 {
		for _, mode := range modes {
			logs = append(logs, open(t, s, withMode(mode)))
		}
	}
	for round := range 5 {
		for _, l := range logs {
			add(t, l, records(0, fmt.Sprint(round)))
		}
		commit(t, s, logs...)
	}
}

func testCommitNothing(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	commit(t, s)
	commit(t, s, open(t, s, topic("never used")))
}

func testCommitMany(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	logs := []store.Log{open(t, s, topic("a")), open(t, s, topic("b")), open(t, s, topic("c"))}
	var group sync.WaitGroup
	for w := range 16 {
		group.Go(func() {
			for i := range 20 {
				l := logs[(w+i)%len(logs)]
				if _, err := l.Append(records(0, "x")); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				done := make(chan error, 1)
				s.Commit([]store.Log{l}, func(err error) { done <- err })
				select {
				case err := <-done:
					if err != nil {
						t.Errorf("Commit: %v", err)
					}
				case <-time.After(30 * time.Second):
					t.Error("Commit was never done")
					return
				}
			}
		})
	}
	group.Wait()
}

func testCommitModeChange(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, withMode(store.ModeGroup))
	var o order
	for i := range 60 {
		l.SetOptions(ctx, withMode(modes[i%len(modes)]))
		add(t, l, records(0, fmt.Sprint(i)))
		s.Commit([]store.Log{l}, o.done(i))
	}
	o.want(t, 60)
}

func testCommitClosed(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, withMode(store.ModeGroup))
	add(t, l, records(0, "x"))
	shut(t, s)
	done := make(chan error, 1)
	s.Commit([]store.Log{l}, func(err error) { done <- err })
	select {
	case err := <-done:
		wantError(t, "commit after close", err, store.ErrClosed)
	case <-time.After(10 * time.Second):
		t.Fatal("Commit was never done")
	}
}

func testCommitDeleted(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, withMode(store.ModeGroup))
	for range 20 {
		add(t, l, records(0, "x"))
	}
	done := make(chan error, 1)
	s.Commit([]store.Log{l}, func(err error) { done <- err })
	if err := s.DeleteLog(t.Context(), l.ID()); err != nil {
		t.Fatalf("DeleteLog: %v", err)
	}
	select {
	case <-done: // with or without an error: the messages are gone either way
	case <-time.After(10 * time.Second):
		t.Fatal("Commit was never done")
	}
}
