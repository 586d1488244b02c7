package local

import (
	"errors"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// TestWhatIsNotedNowWaitsForNoDisk freezes what noting may take beyond a store into the page: each call
// that waited for it would hang, and the bubble with it.
func TestWhatIsNotedNowWaitsForNoDisk(t *testing.T) {
	all := func(fs.Op, string) bool { return true }
	for name, tc := range map[string]struct {
		before        func(t *testing.T, s *Store, l *Log)
		freeze        func(op fs.Op, name string) bool
		floor, handed message.Offset
		notYet        bool
	}{
		"within the reservation": {nil, all, 1, 5, false},
		"an ack":                 {nil, all, 2, 2, false},
		"beyond the reservation": {nil, func(op fs.Op, _ string) bool { return op == fs.OpSync }, 0, 1 << 20, true},
		"the page rests": {func(_ *testing.T, s *Store, _ *Log) {
			s.restCursors()
			s.restCursors()
		}, func(_ fs.Op, name string) bool { return strings.HasSuffix(name, cursorName) }, 1, 5, true},
		"behind a checkpoint": {func(t *testing.T, s *Store, _ *Log) {
			if err := s.checkpoints.write(false); err != nil {
				t.Fatal(err)
			}
		}, func(_ fs.Op, name string) bool { return strings.HasSuffix(name, changedSuffix) }, 1, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				disk := fs.NewFreezer()
				s, err := Open(Options{Dir: "data", FS: fs.Failing(fs.NewMem(1), disk.Hook), Mode: store.ModeGroup, Logger: quiet})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					disk.Thaw()
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}()
				l := newTestLog(t, s, store.LogOptions{Name: "q", Retention: store.Retention{Consumed: true}})
				mustAppend(t, l, batchOf(10, 1))
				if err := l.Progress(0, 2); err != nil {
					t.Fatal(err)
				}
				if tc.before != nil {
					tc.before(t, s, l)
				}
				disk.Freeze(tc.freeze)
				err = l.ProgressNow(tc.floor, tc.handed)
				if errors.Is(err, store.ErrNotYet) != tc.notYet || err != nil && !tc.notYet {
					t.Errorf("noted: %v", err)
				}
				l.Release(tc.floor) // whatever it takes
				disk.Thaw()
				if err := l.Progress(tc.floor, tc.handed); err != nil {
					t.Fatal(err)
				}
				if c, err := l.LoadCursor(t.Context()); err != nil || c.Floor != tc.floor || c.Handed != tc.handed {
					t.Errorf("%+v, %v", c, err)
				}
			})
		})
	}
}
