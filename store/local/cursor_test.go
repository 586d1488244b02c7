package local

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

const (
	thisBoot = 7
	lastBoot = 6
)

// cursorFile is a file with one slot and its blob.
func cursorFile(id uint64, s slot, blob string) []byte {
	if blob != "" {
		s.BlobAt, s.BlobLen, s.BlobHash = cursorBlobAt, uint64(len(blob)), blobHash([]byte(blob))
	}
	return append(encodeCursorPage(id, 0, &s), blob...)
}

// TestCursorRecovery is the table above recoverCursor.
func TestCursorRecovery(t *testing.T) {
	const start, end = 100, 1000
	good := slot{Seq: 5, Floor: 200, Handed: 300, Reserved: 700, Boot: thisBoot}
	with := func(change func(*slot)) []byte {
		s := good
		change(&s)
		return cursorFile(1, s, "acks")
	}
	two := cursorFile(1, good, "")
	older := slot{Seq: 4, Floor: 150, Handed: 250, Reserved: 600, Boot: thisBoot}
	copy(two[cursorSlotAt(4):], encodeCursorPage(1, 0, &older)[cursorSlotAt(4):][:slotBytes])
	damage := func(data []byte, positions ...int) []byte {
		out := bytes.Clone(data)
		for _, p := range positions {
			out[p] ^= 1
		}
		return out
	}
	for name, c := range map[string]struct {
		data          []byte
		floor, handed int64
		blob          string
		damage        bool
		err           error
	}{
		"no file":                      {nil, start, start, "", false, nil},
		"no slot written yet":          {encodeCursorPage(1, 0, nil), start, start, "", false, nil},
		"same boot":                    {with(func(*slot) {}), 200, 300, "acks", false, nil},
		"other boot":                   {with(func(s *slot) { s.Boot = lastBoot }), 200, 700, "acks", false, nil},
		"other boot, mode os":          {with(func(s *slot) { s.Boot, s.Reserved = lastBoot, reservedAll }), 200, end, "acks", false, nil},
		"other boot, clean end":        {with(func(s *slot) { s.Boot, s.Reserved = lastBoot, 300 }), 200, 300, "acks", false, nil},
		"both slots, the newer counts": {two, 200, 300, "", false, nil},
		"newer slot damaged":           {damage(two, cursorSlotAt(5)+9), 150, 600, "", false, nil},
		"older slot damaged":           {damage(two, cursorSlotAt(4)+9), 200, 700, "", false, nil},
		"both slots damaged":           {damage(two, cursorSlotAt(4)+9, cursorSlotAt(5)+9), start, end, "", true, nil},
		"header damaged":               {damage(two, 10), start, end, "", true, nil},
		"another log's":                {cursorFile(2, good, ""), start, end, "", true, nil},
		"zeros":                        {make([]byte, cursorPageBytes), start, end, "", true, nil},
		"cut in the header":            {two[:16], start, end, "", true, nil},
		"cut before the second slot":   {two[:cursorSlot1], start, end, "", true, nil},
		"data damaged":                 {damage(with(func(*slot) {}), cursorBlobAt), 200, 300, "", true, nil},
		"data cut":                     {with(func(*slot) {})[:cursorBlobAt+2], 200, 300, "", true, nil},
		"reserved above the end":       {with(func(s *slot) { s.Boot, s.Reserved = lastBoot, 5000 }), 200, end, "acks", false, nil},
		"handed above the end":         {with(func(s *slot) { s.Handed = 2000 }), 200, end, "", true, nil},
		"floor above the end":          {with(func(s *slot) { s.Floor, s.Handed = 1500, 2000 }), end, end, "", true, nil},
		"floor below the start":        {with(func(s *slot) { s.Floor, s.Handed = 10, 20 }), start, start, "acks", false, nil},
		"newer version":                {asVersion(two, 2), 0, 0, "", false, ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := recoverCursor(c.data, 1, thisBoot, start, end)
			if !errors.Is(err, c.err) {
				t.Fatalf("error is %v and should be %v", err, c.err)
			}
			if err != nil {
				return
			}
			if v.state.Floor != c.floor || v.state.Handed != c.handed || string(v.blob) != c.blob || (v.damage != "") != c.damage {
				t.Errorf("floor %d, handed %d, data %q, damage %q; should be %d, %d, %q, %t",
					v.state.Floor, v.state.Handed, v.blob, v.damage, c.floor, c.handed, c.blob, c.damage)
			}
		})
	}
}

// TestDamagedCursorOnDisk holds that a damaged file is reported, delivers
// everything again, and is sound after that.
func TestDamagedCursorOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	o := store.LogOptions{Name: "q"}
	l := newTestLog(t, s, o)
	mustAppend(t, l, batchOf(50, 10))
	l.Progress(30, 40)
	path := filepath.Join(l.dir(), cursorName)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("junk"), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		s = openStore(t, Options{Dir: dir})
		l = openTestLog(t, s, l.ID(), o)
		c, err := l.LoadCursor(ctx)
		if err != nil || c.Floor != 0 || c.Handed != 50 || c.Data != nil {
			t.Fatalf("cursor is %+v, %v", c, err)
		}
		reported := strings.Contains(strings.Join(s.Stats().Recovered, "\n"), "delivered again")
		if reported != (i == 0) {
			t.Fatalf("start %d: reported is %t", i, reported)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReservationIsFlushedFirst holds that Progress does not return before a
// hand-out is covered by a flushed reservation, and that it rarely waits.
func TestReservationIsFlushedFirst(t *testing.T) {
	var syncs atomic.Int64
	mem := fs.NewMem(1)
	counting := fs.Failing(mem, func(op fs.Op, name string) error {
		if op == fs.OpSync && strings.HasSuffix(name, cursorName) {
			syncs.Add(1)
		}
		return nil
	})
	s := openStore(t, Options{Dir: "/data", FS: counting, Mode: store.ModeGroup, BootID: "b", FlushInterval: 1 << 40})
	l := newTestLog(t, s, store.LogOptions{Name: "q"})
	mustAppend(t, l, batchOf(1, 1))
	for at := range message.Offset(20_000) {
		l.Progress(at, at+1)
		c := l.madeCursor()
		c.mu.Lock()
		if c.durable <= int64(at) {
			t.Fatalf("offset %d was handed out with %d reserved", at, c.durable)
		}
		c.mu.Unlock()
	}
	if n := syncs.Load(); n == 0 || n > 20_000/reserveMin*4 {
		t.Fatalf("%d flushes for 20,000 hand-outs", n)
	}
}

// TestCursorFlushFails holds that a reservation that can't be flushed makes the
// log read-only instead of being taken for made.
func TestCursorFlushFails(t *testing.T) {
	boom := errors.New("boom")
	failing := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if op == fs.OpSync && strings.HasSuffix(name, cursorName) {
			return boom
		}
		return nil
	})
	s := openStore(t, Options{Dir: "/data", FS: failing, Mode: store.ModeGroup, BootID: "b"})
	l := newTestLog(t, s, store.LogOptions{Name: "q"})
	mustAppend(t, l, batchOf(10, 1))
	l.Progress(0, 5)
	if err := l.Err(); !errors.Is(err, store.ErrReadOnly) || !errors.Is(err, boom) {
		t.Fatalf("Err is %v", err)
	}
	if _, err := l.Append(batchOf(1, 1)); !errors.Is(err, store.ErrReadOnly) {
		t.Fatalf("Append: %v", err)
	}
	if view, err := l.Read(0, 1); err != nil {
		t.Fatalf("Read: %v", err)
	} else {
		view.Done()
	}
}

// TestRestingCursorsAreUnmapped holds that mappings go with idleness and come
// back with use, without a change of state.
func TestRestingCursorsAreUnmapped(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), FlushInterval: 1 << 40})
	var logs []*Log
	for range 20 {
		l := newTestLog(t, s, store.LogOptions{Name: "q"})
		mustAppend(t, l, batchOf(50, 1))
		l.Progress(10, 20)
		logs = append(logs, l)
	}
	for want := len(logs); ; want = 5 {
		if n := len(s.mapped); n != want {
			t.Fatalf("%d cursors are mapped, should be %d", n, want)
		}
		s.restCursors() // forgets that they were used
		for _, l := range logs[:5] {
			l.Progress(11, 21)
			l.Progress(12, 22)
		}
		s.restCursors()
		if want == 5 {
			break
		}
	}
	for i, l := range logs {
		want := store.CursorState{Floor: 10, Handed: 20}
		if i < 5 {
			want = store.CursorState{Floor: 12, Handed: 22}
		}
		if c, err := l.LoadCursor(ctx); err != nil || c.Floor != want.Floor || c.Handed != want.Handed {
			t.Fatalf("log %d: cursor is %+v, %v", i, c, err)
		}
		l.Progress(13, 23)
		if c, err := l.LoadCursor(ctx); err != nil || c.Floor != 13 {
			t.Fatalf("log %d: cursor is %+v, %v", i, c, err)
		}
	}
}

// Who opens a log holds its mutex and waits for the cursor's; a cursor that is saved at the
// same time makes the log's directory, and must not hold its own over that.
func TestACursorWaitsForNoLogWithItsMutexHeld(t *testing.T) {
	s := openStore(t, Options{Dir: "data", FS: fs.NewMem(1)})
	l := newTestLog(t, s, store.LogOptions{Name: "q"})
	l.mu.Lock() // as who opens it
	begun, opened := make(chan struct{}), make(chan error, 1)
	go func() {
		l.madeCursor().mu.Lock()
		defer l.madeCursor().mu.Unlock()
		close(begun)
		opened <- l.madeCursor().open(l)
	}()
	<-begun
	free := make(chan struct{})
	go func() {
		l.madeCursor().mu.Lock() // as the recovery of its cursor
		defer l.madeCursor().mu.Unlock()
		close(free)
	}()
	select {
	case <-free:
	case <-time.After(time.Minute):
		t.Error("the cursor's mutex is held while the log's is waited for")
	}
	l.mu.Unlock()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
