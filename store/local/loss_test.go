package local

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

func TestEveryLossIsAnErrorThatCountsMessagesAndBytes(t *testing.T) {
	mem := fs.NewMem(1)
	s := openStore(t, Options{Dir: "/data", FS: mem, BootID: "one"})
	l := newTestLog(t, s, store.LogOptions{Name: "orders"})
	one := batchOf(3, 200)
	for range 10 {
		mustAppend(t, l, bytes.Clone(one))
	}
	if err := mem.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	killed := mem.Crash(rand.New(rand.NewPCG(1, 1)))
	name := filepath.Join(l.dir(), segment.FileName(0))
	for _, i := range []int64{4, 9} {
		flipByte(t, killed, name, segment.HeaderBytes+i*int64(len(one))+70)
	}
	var out bytes.Buffer
	s = openStore(t, Options{Dir: "/data", FS: killed, BootID: "one", Logger: slog.New(slog.NewTextHandler(&out, nil))})
	l = openTestLog(t, s, l.ID(), store.LogOptions{Name: "orders"})
	if n := count(t, l, 0, 30); n != 24 {
		t.Errorf("%d records, want 24", n)
	}
	var told []string
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "level=ERROR") {
			told = append(told, line)
		}
	}
	if len(told) != 2 {
		t.Fatalf("errors %q", told)
	}
	for i, want := range []string{"damaged range isolated", "torn tail cut"} {
		if !strings.Contains(told[i], want) || !strings.Contains(told[i], "messages=3") || !strings.Contains(told[i], "name=orders") || strings.Contains(told[i], "bytes=0") {
			t.Errorf("told %s", told[i])
		}
	}
}

// flipByte changes one byte of a file.
func flipByte(t *testing.T, fsys fs.FS, name string, at int64) {
	t.Helper()
	f, err := fsys.Open(name, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
