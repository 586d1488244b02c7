package local

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// tableFileOf is a table file with one record a word, and where each record begins.
func tableFileOf(words ...string) (data []byte, at []int) {
	data = header{Magic: magicTable, Tag: 0}.appendTo(nil)
	for i, w := range words {
		at = append(at, len(data))
		data = appendRecord(data, recordUpsert, recordFirst|recordLast, uint64(i+1), w, []byte("value of "+w))
	}
	return data, at
}

// TestTableRecovery is the table of outcomes above tableScan: what stands in the
// file, what is left of it, and what is said about it.
func TestTableRecovery(t *testing.T) {
	whole, at := tableFileOf("a", "b", "c")
	cut := func(n int) []byte { return bytes.Clone(whole[:n]) }
	change := func(positions ...int) []byte {
		data := bytes.Clone(whole)
		for _, p := range positions {
			data[p] ^= 0x80
		}
		return data
	}
	linked, _ := tableFileOf("a")
	linked = appendRecord(linked, recordUpsert, recordFirst, 2, "b", []byte("b"))
	half := len(linked)
	linked = appendRecord(linked, recordTombstone, recordLast, 3, "a", nil)
	headless := bytes.Clone(linked)
	headless[at[1]+recordBytes] ^= 1 // the first record of the linked pair
	headless = appendRecord(headless, recordUpsert, recordFirst|recordLast, 4, "z", []byte("z"))

	for name, c := range map[string]struct {
		data    []byte
		keys    string
		torn    bool
		damaged bool
		err     error
	}{
		"whole":                                   {data: whole, keys: "a b c"},
		"empty file":                              {data: nil},
		"half a header":                           {data: cut(20), torn: true},
		"header only":                             {data: cut(headerBytes)},
		"header damaged":                          {data: change(9), keys: "a b c", damaged: true},
		"magic damaged":                           {data: change(0), keys: "a b c", damaged: true},
		"newer version":                           {data: asVersion(whole, 9), err: ErrVersion},
		"last record cut":                         {data: cut(len(whole) - 9), keys: "a b", torn: true},
		"last record cut in its head":             {data: cut(at[2] + 12), keys: "a b", torn: true},
		"last record damaged":                     {data: change(at[2] + 40), keys: "a b", torn: true},
		"zeros behind the end":                    {data: append(bytes.Clone(whole), make([]byte, 4096)...), keys: "a b c", torn: true},
		"one record in the middle damaged":        {data: change(at[1] + 40), keys: "a c", damaged: true},
		"a length in the middle damaged":          {data: change(at[1] + 17), keys: "a c", damaged: true},
		"a huge length in the middle":             {data: change(at[1] + 19), keys: "a c", damaged: true},
		"first record damaged":                    {data: change(at[0] + 33), keys: "b c", damaged: true},
		"two damaged, one good between":           {data: change(at[0]+33, at[2]+33), keys: "b", damaged: true, torn: true},
		"a linked write is whole":                 {data: linked, keys: "b"},
		"a linked write is cut between its parts": {data: linked[:half], keys: "a", torn: true},
		"a linked write lost its first part":      {data: headless, keys: "a z", damaged: true},
		"all damaged":                             {data: bytes.Repeat([]byte{0xA5}, 200), damaged: true, torn: true},
	} {
		t.Run(name, func(t *testing.T) {
			mem := fs.NewMem(1)
			var said []event
			tb := testTable(t, mem, c.data, &said)
			err := openTable(tb)
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("open: %v and should be %v", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tb.done.Wait()
			wantKeys(t, tb, c.keys)
			wantEvents(t, said, c.torn, c.damaged)
			wantCopy(t, mem, c.data, c.damaged && len(c.keys) > 0)
			// It goes on, and the next start finds nothing to complain of.
			if err := tb.Put(ctx, store.Entry{Key: "new", Value: []byte("n")}); err != nil {
				t.Fatal(err)
			}
			if err := tb.close(); err != nil {
				t.Fatal(err)
			}
			said = nil
			tb = testTable(t, mem, nil, &said)
			if err := openTable(tb); err != nil {
				t.Fatal(err)
			}
			wantKeys(t, tb, strings.TrimSpace(c.keys+" new"))
			wantEvents(t, said, false, false)
			if err := tb.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// testTable is a table in /t, whose file holds data unless that is nil.
func testTable(t *testing.T, fsys fs.FS, data []byte, said *[]event) *table {
	t.Helper()
	if err := fsys.MkdirAll("/t"); err != nil {
		t.Fatal(err)
	}
	if data != nil {
		if err := writeFile(fsys, "/t", tableName, data, true); err != nil {
			t.Fatal(err)
		}
	}
	sy := newSyncer(fsys, "/t", 1<<40)
	t.Cleanup(sy.close)
	var mu sync.Mutex
	return &table{
		name: "t", dir: "/t", fs: fsys, syncer: sy, durable: true, now: fixedNow,
		note: func(e event) {
			mu.Lock()
			defer mu.Unlock()
			if said != nil {
				*said = append(*said, e)
			}
		},
	}
}

func wantKeys(t *testing.T, tb *table, want string) {
	t.Helper()
	got := map[string]bool{}
	if err := tb.Load(ctx, func(e store.Entry) error { got[e.Key] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{}
	for _, key := range strings.Fields(want) {
		wanted[key] = true
	}
	if !maps.Equal(got, wanted) {
		t.Fatalf("keys are %v and should be %q", got, want)
	}
}

func wantEvents(t *testing.T, said []event, torn, damaged bool) {
	t.Helper()
	var sawTorn, sawDamage bool
	for _, e := range said {
		sawTorn = sawTorn || e.Kind == eventTorn
		sawDamage = sawDamage || e.Kind == eventDamaged
		if e.Kind == eventFault {
			t.Errorf("fault: %s", e.Text)
		}
	}
	if sawTorn != torn || sawDamage != damaged {
		t.Errorf("reported torn %t and damage %t, should be %t and %t: %v", sawTorn, sawDamage, torn, damaged, said)
	}
}

// wantCopy fails unless a damaged file was kept byte for byte.
func wantCopy(t *testing.T, mem fs.FS, data []byte, want bool) {
	t.Helper()
	names, err := mem.ReadDir("/t")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.Contains(name, ".damaged-") {
			kept, err := readFile(mem, "/t/"+name)
			if err != nil || !bytes.Equal(kept, data) {
				t.Errorf("the copy differs from the damaged file (%v)", err)
			}
			return
		}
	}
	if want {
		t.Error("no copy of the damaged file was kept")
	}
}

func TestTableCompaction(t *testing.T) {
	mem := fs.NewMem(1)
	tb := testTable(t, mem, nil, nil)
	if err := openTable(tb); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for i := range 5000 {
		key, value := fmt.Sprint("k", i%50), fmt.Sprintf("%0200d", i)
		if err := tb.Put(ctx, store.Entry{Key: key, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
		want[key] = value
	}
	tb.done.Wait()
	info, err := mem.Stat("/t/" + tableName)
	if err != nil || info.SizeBytes > 4*compactMinBytes {
		t.Fatalf("the file has %d bytes for %d live ones (%v)", info.SizeBytes, tb.live, err)
	}
	revision := tb.revision
	if err := tb.close(); err != nil {
		t.Fatal(err)
	}
	tb = testTable(t, mem, nil, nil)
	if err := openTable(tb); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = tb.Load(ctx, func(e store.Entry) error { got[e.Key] = string(e.Value); return nil })
	if err != nil || !maps.Equal(got, want) || tb.revision != revision {
		t.Fatalf("%d keys at revision %d, should be %d at %d (%v)", len(got), tb.revision, len(want), revision, err)
	}
	if err := tb.close(); err != nil {
		t.Fatal(err)
	}
}

// TestTableCompactionFails holds that a compaction that can't be written, flushed
// or renamed costs nothing but its own work.
func TestTableCompactionFails(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []fs.Op{fs.OpOpen, fs.OpWrite, fs.OpSync, fs.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			mem := fs.NewMem(1)
			failing := fs.Failing(mem, func(got fs.Op, name string) error {
				if got == op && (strings.HasSuffix(name, ".new") || op == fs.OpRename) {
					return boom
				}
				return nil
			})
			tb := testTable(t, failing, nil, nil)
			if err := openTable(tb); err != nil {
				t.Fatal(err)
			}
			for i := range 3000 {
				if err := tb.Put(ctx, store.Entry{Key: fmt.Sprint(i % 5), Value: []byte(fmt.Sprintf("%0100d", i))}); err != nil {
					t.Fatalf("Put %d: %v", i, err)
				}
			}
			tb.done.Wait()
			if err := tb.close(); err != nil {
				t.Fatal(err)
			}
			tb = testTable(t, mem, nil, nil)
			if err := openTable(tb); err != nil {
				t.Fatal(err)
			}
			wantKeys(t, tb, "0 1 2 3 4")
			if err := tb.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTableOnAFullDisk(t *testing.T) {
	mem := fs.NewMem(1)
	tb := testTable(t, mem, nil, nil)
	if err := openTable(tb); err != nil {
		t.Fatal(err)
	}
	if err := tb.Put(ctx, store.Entry{Key: "a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	mem.SetCapacity(2000)
	err := tb.Put(ctx, store.Entry{Key: "a", Value: []byte("2")}, store.Entry{Key: "big", Value: make([]byte, 10_000)})
	if !errors.Is(err, store.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Put on a full disk: %v", err)
	}
	wantKeys(t, tb, "a")
	if err := tb.Put(ctx, store.Entry{Key: "small", Value: []byte("x")}); err != nil {
		t.Fatalf("Put of what still fits: %v", err)
	}
	if err := tb.close(); err != nil {
		t.Fatal(err)
	}
	var said []event
	tb = testTable(t, mem, nil, &said)
	if err := openTable(tb); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, tb, "a small")
	wantEvents(t, said, false, false)
	if err := tb.close(); err != nil {
		t.Fatal(err)
	}
}

// TestTableFlushFails holds that a failed flush is never tried again as if it
// were clean: the table takes no more writes, and says why.
func TestTableFlushFails(t *testing.T) {
	boom := errors.New("boom")
	broken := false
	failing := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if broken && op == fs.OpSync {
			broken = false
			return boom
		}
		return nil
	})
	tb := testTable(t, failing, nil, nil)
	if err := openTable(tb); err != nil {
		t.Fatal(err)
	}
	broken = true
	if err := tb.Put(ctx, store.Entry{Key: "a", Value: []byte("1")}); !errors.Is(err, boom) {
		t.Fatalf("Put with a failing flush: %v", err)
	}
	for range 2 {
		err := tb.Put(ctx, store.Entry{Key: "b", Value: []byte("1")})
		if !errors.Is(err, store.ErrReadOnly) || !errors.Is(err, boom) {
			t.Fatalf("Put after a failed flush: %v", err)
		}
	}
}

func TestTableNames(t *testing.T) {
	s := openStore(t, Options{Dir: filepath.Join(t.TempDir(), "data")})
	for _, name := range []string{"", "queues", "transient", "spare", "format", "store", "..", "a/b", "A", "leveret.lock", strings.Repeat("x", 65)} {
		if _, err := s.Table(ctx, name); err == nil {
			t.Errorf("a table %q was made", name)
		}
	}
	if _, err := s.Table(ctx, "defs-2"); err != nil {
		t.Error(err)
	}
}

func TestTableTooLarge(t *testing.T) {
	tb := testTable(t, fs.NewMem(1), nil, nil)
	if err := openTable(tb); err != nil {
		t.Fatal(err)
	}
	err := tb.Put(ctx, store.Entry{Key: "ok", Value: []byte("1")}, store.Entry{Key: strings.Repeat("k", tableMaxKeyBytes+1), Value: []byte("1")})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Fatalf("Put of a huge key: %v", err)
	}
	wantKeys(t, tb, "")
	if err := tb.close(); err != nil {
		t.Fatal(err)
	}
}

// TestLeftOverCompactionFile holds that the file of a compaction that was cut off
// by a crash is not taken for anything.
func TestLeftOverCompactionFile(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	if err := putOne(s, "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "defs", tableName+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	if err := putOne(s, "b"); err != nil {
		t.Fatal(err)
	}
	table, err := s.Table(ctx, "defs")
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, defsOf(t, table), "a b")
}
