package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/leveret-mq/leveret/store"
)

var tableTests = map[string]func(*testing.T, Opener){
	"a new table is empty":                     testTableNew,
	"put, replace and delete":                  testTablePut,
	"load is in the order of revisions":        testTableOrder,
	"entries survive a restart":                testTableSurvives,
	"values are the caller's own":              testTableCopies,
	"an empty value is a value":                testTableEmptyValue,
	"swap compares revisions":                  testTableSwap,
	"only one of many swaps wins":              testTableSwapRace,
	"tables are apart":                         testTablesApart,
	"many writes of few keys stay small":       testTableChurn,
	"writes of many at once all count":         testTableConcurrent,
	"revisions never come back after a delete": testTableRevisions,
	"load stops at the first error":            testTableLoadError,
	"one key alone can be looked up":           testTableGet,
	"the same name is the same table":          testTableSame,
}

// openTable opens the table named "defs".
func openTable(t *testing.T, s store.Store) store.Table {
	t.Helper()
	table, err := s.Table(ctx, "defs")
	if err != nil {
		t.Fatalf("Table: %v", err)
	}
	return table
}

func put(t *testing.T, table store.Table, entries ...store.Entry) {
	t.Helper()
	if err := table.Put(ctx, entries...); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// load is everything in a table.
func load(t *testing.T, table store.Table) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := table.Load(ctx, func(e store.Entry) error {
		if e.Value == nil || e.Revision == 0 {
			t.Errorf("Load gave %+v", e)
		}
		all[e.Key] = string(e.Value)
		return nil
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return all
}

func wantTable(t *testing.T, table store.Table, want map[string]string) {
	t.Helper()
	if got := load(t, table); !maps.Equal(got, want) {
		t.Fatalf("table holds %v and should hold %v", got, want)
	}
}

func testTableNew(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	wantTable(t, openTable(t, s), map[string]string{})
}

func testTablePut(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	table := openTable(t, s)
	put(t, table)
	put(t, table, store.Entry{Key: "a", Value: []byte("1")}, store.Entry{Key: "b", Value: []byte("2")})
	put(t, table, store.Entry{Key: "a", Value: []byte("3")})
	wantTable(t, table, map[string]string{"a": "3", "b": "2"})
	put(t, table, store.Entry{Key: "b"}, store.Entry{Key: "", Value: []byte("empty key")}, store.Entry{Key: "never"})
	wantTable(t, table, map[string]string{"a": "3", "": "empty key"})
	put(t, table, store.Entry{Key: "x", Value: []byte("1")}, store.Entry{Key: "x", Value: []byte("2")}, store.Entry{Key: "a"})
	wantTable(t, table, map[string]string{"x": "2", "": "empty key"})
}

func testTableOrder(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	table := openTable(t, s)
	for _, key := range []string{"c", "a", "b", "c"} {
		put(t, table, store.Entry{Key: key, Value: []byte("v")})
	}
	var keys string
	last := uint64(0)
	err := table.Load(ctx, func(e store.Entry) error {
		keys += e.Key
		if e.Revision <= last {
			t.Errorf("revision %d after %d", e.Revision, last)
		}
		last = e.Revision
		return nil
	})
	if err != nil || keys != "abc" {
		t.Fatalf("order is %q (%v)", keys, err)
	}
}

func testTableSurvives(t *testing.T, fresh Opener) {
	s := fresh()
	want := map[string]string{}
	for round := range 4 {
		table := openTable(t, s)
		wantTable(t, table, want)
		for i := range 50 {
			key, value := fmt.Sprint("k", i*(round+1)), fmt.Sprint("v", round, i)
			put(t, table, store.Entry{Key: key, Value: []byte(value)})
			want[key] = value
			if i%5 == 0 {
				put(t, table, store.Entry{Key: fmt.Sprint("k", i)})
				delete(want, fmt.Sprint("k", i))
			}
		}
		shut(t, s)
		s = fresh()
	}
	wantTable(t, openTable(t, s), want)
	shut(t, s)
}

func testTableCopies(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	table := openTable(t, s)
	value := []byte("mine")
	put(t, table, store.Entry{Key: "k", Value: value})
	clear(value)
	var loaded []byte
	err := table.Load(ctx, func(e store.Entry) error { loaded = e.Value; return nil })
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	got, err := table.Get(ctx, "k")
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	put(t, table, store.Entry{Key: "k", Value: []byte("else")})
	if string(loaded) != "mine" || string(got.Value) != "mine" {
		t.Errorf("what was loaded changed to %q, what was got to %q", loaded, got.Value)
	}
	wantTable(t, table, map[string]string{"k": "else"})
}

func testTableGet(t *testing.T, fresh Opener) {
	s := fresh()
	table := openTable(t, s)
	put(t, table, store.Entry{Key: "a", Value: []byte("1")}, store.Entry{Key: "b", Value: []byte{}}, store.Entry{Key: "c", Value: []byte("3")})
	put(t, table, store.Entry{Key: "c"}, store.Entry{Key: "a", Value: []byte("2")})
	for range 2 {
		revisions := map[string]uint64{}
		if err := table.Load(ctx, func(e store.Entry) error { revisions[e.Key] = e.Revision; return nil }); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"a": "2", "b": "", "c": "none", "": "none"} {
			e, err := table.Get(ctx, key)
			there := want != "none"
			if err != nil || e.Key != key || e.Revision != revisions[key] || (e.Value != nil) != there || there && string(e.Value) != want {
				t.Errorf("Get(%q) is %+v (%v)", key, e, err)
			}
		}
		shut(t, s)
		s = fresh()
		table = openTable(t, s)
	}
	shut(t, s)
}

func testTableEmptyValue(t *testing.T, fresh Opener) {
	s := fresh()
	put(t, openTable(t, s), store.Entry{Key: "k", Value: []byte{}})
	wantTable(t, openTable(t, s), map[string]string{"k": ""})
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	wantTable(t, openTable(t, s), map[string]string{"k": ""})
}

func testTableSwap(t *testing.T, fresh Opener) {
	s := fresh()
	table := openTable(t, s)
	swap := func(revision uint64, value []byte, want error) uint64 {
		t.Helper()
		next, err := table.Swap(ctx, store.Entry{Key: "k", Value: value, Revision: revision})
		if !errors.Is(err, want) {
			t.Fatalf("Swap at revision %d: %v and should be %v", revision, err, want)
		}
		return next
	}
	swap(5, []byte("not there"), store.ErrConflict)
	first := swap(0, []byte("one"), nil)
	swap(0, []byte("again"), store.ErrConflict)
	second := swap(first, []byte("two"), nil)
	if second <= first || first == 0 {
		t.Fatalf("revisions are %d and %d", first, second)
	}
	swap(first, []byte("late"), store.ErrConflict)
	wantTable(t, table, map[string]string{"k": "two"})
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	table = openTable(t, s)
	swap(first, []byte("late"), store.ErrConflict)
	swap(second, nil, nil)
	wantTable(t, table, map[string]string{})
	swap(second, []byte("late"), store.ErrConflict)
	swap(0, []byte("new"), nil)
}

func testTableSwapRace(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	table := openTable(t, s)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 25 {
				increment(t, table)
			}
		})
	}
	group.Wait()
	wantTable(t, table, map[string]string{"count": "200"})
}

// increment adds one to the key "count", however often it loses.
func increment(t *testing.T, table store.Table) {
	for {
		e, n := store.Entry{Key: "count"}, 0
		err := table.Load(ctx, func(have store.Entry) error {
			e.Revision = have.Revision
			_, err := fmt.Sscan(string(have.Value), &n)
			return err
		})
		if err != nil {
			t.Errorf("Load: %v", err)
			return
		}
		e.Value = fmt.Append(nil, n+1)
		_, err = table.Swap(ctx, e)
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("Swap: %v", err)
			return
		}
	}
}

func testTablesApart(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	defs := openTable(t, s)
	groups, err := s.Table(ctx, "groups")
	if err != nil {
		t.Fatalf("Table: %v", err)
	}
	put(t, defs, store.Entry{Key: "k", Value: []byte("defs")})
	put(t, groups, store.Entry{Key: "k", Value: []byte("groups")})
	wantTable(t, defs, map[string]string{"k": "defs"})
	wantTable(t, groups, map[string]string{"k": "groups"})
}

func testTableChurn(t *testing.T, fresh Opener) {
	s := fresh()
	table := openTable(t, s)
	want := map[string]string{"stays": "put"}
	put(t, table, store.Entry{Key: "stays", Value: []byte("put")})
	value := bytes.Repeat([]byte("x"), 500)
	for i := range 300 {
		var entries []store.Entry
		for k := range 10 {
			v := append(value, fmt.Sprint(i, k)...)
			entries = append(entries, store.Entry{Key: fmt.Sprint(k), Value: v})
			want[fmt.Sprint(k)] = string(v)
		}
		put(t, table, entries...)
	}
	wantTable(t, table, want)
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	wantTable(t, openTable(t, s), want)
}

func testTableConcurrent(t *testing.T, fresh Opener) {
	s := fresh()
	table := openTable(t, s)
	want := map[string]string{}
	for w := range 8 {
		for i := range 30 {
			want[fmt.Sprint(w, "/", i)] = fmt.Sprint(i)
		}
	}
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := range 30 {
				if err := table.Put(ctx, store.Entry{Key: fmt.Sprint(w, "/", i), Value: fmt.Append(nil, i)}); err != nil {
					t.Errorf("Put: %v", err)
				}
			}
		})
	}
	group.Wait()
	wantTable(t, table, want)
	shut(t, s)
	s = fresh()
	defer shut(t, s)
	wantTable(t, openTable(t, s), want)
}

func testTableRevisions(t *testing.T, fresh Opener) {
	s := fresh()
	last := uint64(0)
	for range 3 {
		table := openTable(t, s)
		for range 3 {
			revision, err := table.Swap(ctx, store.Entry{Key: "k", Value: []byte("v")})
			if err != nil || revision <= last {
				t.Fatalf("revision %d after %d (%v)", revision, last, err)
			}
			last = revision
			put(t, table, store.Entry{Key: "k"})
		}
		shut(t, s)
		s = fresh()
	}
	shut(t, s)
}

func testTableLoadError(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	table := openTable(t, s)
	put(t, table, store.Entry{Key: "a", Value: []byte("1")}, store.Entry{Key: "b", Value: []byte("2")})
	calls, stop := 0, errors.New("stop")
	err := table.Load(ctx, func(store.Entry) error { calls++; return stop })
	if calls != 1 || !errors.Is(err, stop) {
		t.Fatalf("%d calls, %v", calls, err)
	}
}

func testTableSame(t *testing.T, fresh Opener) {
	s := fresh()
	defer shut(t, s)
	put(t, openTable(t, s), store.Entry{Key: "k", Value: []byte("v")})
	wantTable(t, openTable(t, s), map[string]string{"k": "v"})
}
