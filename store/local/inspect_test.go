package local

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/store"
)

// TestInspect prints one file of each kind, whole and damaged.
func TestInspect(t *testing.T) {
	table := sampleTable()
	damagedTable := bytes.Clone(table)
	damagedTable[headerBytes+40] ^= 1
	cursor := sampleCursor()
	damagedCursor := bytes.Clone(cursor)
	damagedCursor[cursorSlotAt(7)+8] ^= 1
	for name, c := range map[string]struct {
		file string
		data []byte
		want []string
		err  error
	}{
		"layout":         {layoutName, encodeLayout(1), []string{"kind\tlayout", "version\t1"}, nil},
		"newer layout":   {layoutName, encodeLayout(2), []string{"version\t2"}, ErrVersion},
		"meta":           {metaName, encodeMeta(sampleMeta()), []string{"kind\tmeta", "häßlich", "mode\talways", "age=1h0m0s"}, nil},
		"checkpoint":     {"0000000000000007", sampleCheckpoint(), []string{"kind\tcheckpoint", "number\t7", `"defs"	revision=9 keys=4`, "000000000000002a\tsegments=3 from 100 to 300", "waiting=17 uncertain"}, nil},
		"cut checkpoint": {"0000000000000007.clean", sampleCheckpoint()[:200], nil, ErrCorrupt},
		"state":          {"producers.state", encodeState(42, 1_700_000_000_123, []byte("known")), []string{"id\t42", "5 bytes: \"known\""}, nil},
		"cut state":      {"producers.state", encodeState(42, 1_700_000_000_123, []byte("known"))[:40], nil, ErrCorrupt},
		"ends":           {"0000000000000007-0.ends", sampleEnds(), []string{"kind\tends of logs", "000000000000002a\tfrom 17, written up to 340"}, nil},
		"changes":        {"0000000000000007.changed", sampleChanges(), []string{"changed\t000000000000002a", "deleted\t000000000000002b"}, nil},
		"cursor":         {cursorName, cursor, []string{"kind\tcursor", "seq=7 floor=1000 handed=1200 reserved=4096 start=990", "5 bytes at 4096, whole", "never written"}, nil},
		"cut cursor":     {cursorName, cursor[:len(cursor)-2], []string{"not whole"}, nil},
		"damaged cursor": {cursorName, damagedCursor, []string{"damaged"}, ErrCorrupt},
		"table":          {tableName, table, []string{"kind\ttable", "keys\t1", `set	5	"queue/b"	"two"`, `delete	6	"queue/a"`}, nil},
		"damaged table":  {tableName, damagedTable, []string{"damaged ranges\t[32,80)", `"queue/b"`}, ErrCorrupt},
		"something else": {"notes.txt", []byte("hello world"), nil, ErrUnknownFile},
		"empty":          {"nothing", nil, nil, ErrUnknownFile},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.file)
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := Inspect(&out, path); !errors.Is(err, c.err) {
				t.Fatalf("error is %v and should be %v\n%s", err, c.err, &out)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in\n%s", want, &out)
				}
			}
		})
	}
	if err := Inspect(&strings.Builder{}, filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// People send each other what is printed: hashes and keys of passwords are not.
func TestInspectShowsNoSecretsOfUsers(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	users, err := s.Table(t.Context(), "access")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"u/ann": "a hash", "m/decoy": "a key", "p/%2F/ann": "a permission"} {
		if err := users.Put(t.Context(), store.Entry{Key: key, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := Inspect(&out, filepath.Join(dir, "access", tableName)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"a hash": false, "a key": false, "a permission": true, "u/ann": true, "(6 bytes, of passwords, not shown)": true} {
		if strings.Contains(out.String(), text) != want {
			t.Errorf("%q: shown is not %v in\n%s", text, want, &out)
		}
	}
}
