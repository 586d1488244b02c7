package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

var cursorTests = map[string]func(*testing.T, Opener){
	"of a new log is at its start":              testCursorNew,
	"is known at once":                          testCursorAtOnce,
	"is noted at once, or not at all":           testCursorNow,
	"survives a restart":                        testCursorSurvives,
	"data of every size comes back":             testCursorData,
	"data survives with a later floor":          testCursorDataThenProgress,
	"floor is never below the start of the log": testCursorStart,
	"of a log without messages is harmless":     testCursorEmpty,
}

// wantCursor fails unless the log's cursor is the given one.
func wantCursor(t *testing.T, l store.Log, floor, handed message.Offset, data []byte) {
	t.Helper()
	c, err := l.LoadCursor(ctx)
	if err != nil {
		t.Fatalf("LoadCursor: %v", err)
	}
	if c.Floor != floor || c.Handed != handed || !bytes.Equal(c.Data, data) {
		t.Fatalf("cursor is %d, %d, %d bytes and should be %d, %d, %d bytes",
			c.Floor, c.Handed, len(c.Data), floor, handed, len(data))
	}
}

func testCursorNew(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("q"))
	start, _ := bounds(t, l)
	wantCursor(t, l, start, start, nil)
	base := add(t, l, numbered(0, 10, 10))
	wantCursor(t, l, base, base, nil)
}

func testCursorAtOnce(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	for _, mode := range modes {
		o := queue("q")
		o.Mode = mode
		l := open(t, s, o)
		base := add(t, l, numbered(0, 100, 10))
		for i := range message.Offset(50) {
			l.Progress(base+i, base+2*i)
			wantCursor(t, l, base+i, base+2*i, nil)
		}
	}
}

// testCursorNow holds that ProgressNow notes what it says it has, and nothing else.
func testCursorNow(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	for _, mode := range modes {
		o := queue("q")
		o.Mode = mode
		l := open(t, s, o)
		base := add(t, l, numbered(0, 100, 10))
		floor, handed, noted := base, base, 0
		for i := range message.Offset(100) {
			err := l.ProgressNow(base+i/2, base+i)
			switch {
			case err == nil:
				floor, handed = base+i/2, base+i
				noted++
			case !errors.Is(err, store.ErrNotYet):
				t.Fatalf("ProgressNow: %v", err)
			case i%10 == 0:
				if err := l.Progress(base+i/2, base+i); err != nil {
					t.Fatalf("Progress: %v", err)
				}
				floor, handed = base+i/2, base+i
			}
			wantCursor(t, l, floor, handed, nil)
		}
		if noted == 0 {
			t.Errorf("mode %v: nothing is noted without waiting", mode)
		}
	}
}

func testCursorSurvives(t *testing.T, fresh Opener) {
	for _, mode := range modes {
		s := fresh()
		o := queue("q")
		o.Mode = mode
		l := open(t, s, o)
		id := l.ID()
		base := add(t, l, numbered(0, 100, 10))
		l.Progress(base+7, base+20)
		if err := l.SaveCursor(ctx, []byte("state"), 0, 0); err != nil {
			t.Fatalf("SaveCursor: %v", err)
		}
		for range 3 {
			shut(t, s)
			s = fresh()
			l = reopen(t, s, id, o)
			wantCursor(t, l, base+7, base+20, []byte("state"))
		}
		shut(t, s)
	}
}

func testCursorData(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, queue("q"))
	id := l.ID()
	base := add(t, l, numbered(0, 10, 10))
	l.Progress(base+1, base+2)
	for _, n := range []int{1, 100, 10, 0, 5000, 4999, 100_000, 3, 70_000, 200_000, 0, 8} {
		data := bytes.Repeat([]byte{byte(n), 0xA5}, (n+1)/2)[:n]
		if most := s.Caps().MaxCursorBytes; most > 0 && n > most {
			wantError(t, fmt.Sprintf("SaveCursor of %d bytes", n), l.SaveCursor(ctx, data, 0, 0), store.ErrTooLarge)
			continue
		}
		if err := l.SaveCursor(ctx, data, 0, 0); err != nil {
			t.Fatalf("SaveCursor of %d bytes: %v", n, err)
		}
		wantCursor(t, l, base+1, base+2, data)
		shut(t, s)
		s = fresh()
		l = reopen(t, s, id, queue("q"))
		wantCursor(t, l, base+1, base+2, data)
	}
	shut(t, s)
}

func testCursorDataThenProgress(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, queue("q"))
	base := add(t, l, numbered(0, 100, 10))
	if err := l.SaveCursor(ctx, []byte("old"), 0, 0); err != nil {
		t.Fatalf("SaveCursor: %v", err)
	}
	l.Progress(base+50, base+60)
	id := l.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	wantCursor(t, reopen(t, s, id, queue("q")), base+50, base+60, []byte("old"))
}

func testCursorStart(t *testing.T, fresh Opener) {
	s := fresh()
	l := open(t, s, queue("q"))
	base := add(t, l, numbered(0, 10, 10))
	l.Progress(base+2, base+3)
	next := add(t, l, numbered(0, 10, 10))
	if err := l.Truncate(ctx, next); err != nil {
		t.Fatalf("Truncate: %v", err)
	}
	wantCursor(t, l, next, next, nil)
	id := l.ID()
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	wantCursor(t, reopen(t, s, id, queue("q")), next, next, nil)
}

func testCursorEmpty(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	l := open(t, s, queue("q"))
	start, _ := bounds(t, l)
	l.Progress(start, start)
	l.Release(start)
	if err := l.SaveCursor(ctx, nil, 0, 0); err != nil {
		t.Fatalf("SaveCursor: %v", err)
	}
	wantCursor(t, l, start, start, nil)
	if err := l.Err(); err != nil {
		t.Fatalf("Err: %v", err)
	}
}
