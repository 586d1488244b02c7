package storetest

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/store"
)

var storeTests = map[string]func(*testing.T, Opener){
	"state beside a log":                testState,
	"figures":                           testFigures,
	"log ids are never given out twice": testLogIDs,
	"everything fails after close":      testClosed,
	"stats count":                       testStats,
	"many idle logs cost little":        testManyLogs,
	"an open store has no error":        testNoError,
}

func testLogIDs(t *testing.T, fresh Opener) {
	seen := map[store.LogID]bool{}
	for k := range 3 {
		s := fresh()
		for i := range few(s, 600) {
			ids, err := s.NewLogs(ctx, topic(fmt.Sprint("t", k, ".", i)), nil, 2)
			if err != nil || len(ids) != 2 {
				t.Fatalf("NewLogs: %v, %v", ids, err)
			}
			for _, id := range ids {
				if id == "" || seen[id] {
					t.Fatalf("id %q is not new", id)
				}
				seen[id] = true
			}
		}
		shut(t, s)
	}
}

// few is n, or less where each log is work for another machine.
func few(s store.Store, n int) int {
	if s.Caps().Shared {
		return n / 50
	}
	return n
}

func testClosed(t *testing.T, fresh Opener) {
	s := fresh()
	l, table := open(t, s, topic("t")), openTable(t, s)
	add(t, l, records(0, "x"))
	unused := open(t, s, topic("unused"))
	shut(t, s)
	_, err := l.Append(records(0, "y"))
	wantError(t, "append", err, store.ErrClosed)
	_, err = unused.Append(records(0, "y"))
	wantError(t, "append to an unused log", err, store.ErrClosed)
	_, err = s.OpenLog(l.ID(), topic("t"))
	wantError(t, "open log", err, store.ErrClosed)
	_, err = s.NewLogs(ctx, topic("new"), nil, 1)
	wantError(t, "new log", err, store.ErrClosed)
	_, err = s.Table(ctx, "defs")
	wantError(t, "table", err, store.ErrClosed)
	wantError(t, "put", table.Put(ctx, store.Entry{Key: "k", Value: []byte("v")}), store.ErrClosed)
	l.Progress(0, 1)
	if err := s.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

func testStats(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	o := topic("t")
	o.Mode = store.ModeGroup
	l := open(t, s, o)
	data := records(0, "x")
	for range 10 {
		add(t, l, data)
	}
	commit(t, s, l)
	if got := s.Stats(); got.AppendedBytes < uint64(10*len(data)) || got.Mode == store.ModeDefault {
		t.Fatalf("stats are %+v", got)
	}
}

func testManyLogs(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	logs := make([]store.Log, few(s, 2000))
	for i := range logs {
		logs[i] = open(t, s, queue(fmt.Sprint("q", i)))
	}
	for i, l := range logs {
		if start, end := bounds(t, l); start != end {
			t.Fatalf("log %d has [%d,%d)", i, start, end)
		}
	}
	add(t, logs[len(logs)-1], records(0, "x"))
	if got := bodies(t, logs[len(logs)-1], 0); len(got) != 1 {
		t.Fatalf("read %+v", got)
	}
}

func testNoError(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	if err := s.Err(); err != nil {
		t.Fatalf("Err: %v", err)
	}
}
