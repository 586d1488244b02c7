package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/storetest"
)

// damager spoils the files of a store on the real file system.
type damager struct {
	t    *testing.T
	last bool // which segment is meant: the one that is written, or a finished one
}

// segment is a file of a log that has three.
func (d damager) segment(l store.Log) string {
	d.t.Helper()
	names, err := filepath.Glob(l.(*Log).dir() + "/*.log")
	if err != nil || len(names) != 3 {
		d.t.Fatalf("segments of log %s: %v, %v", l.ID(), names, err)
	}
	if d.last {
		return names[2]
	}
	return names[1]
}

func (d damager) Cut(l store.Log) int {
	_, end := bounds(d.t, l)
	next := 183
	if d.last {
		next = int(end)
	}
	name := d.segment(l)
	base, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".log"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.truncate(name, 40<<10)
	return (next-base)*1030 - 40<<10
}

func (d damager) CutCursor(l store.Log) { d.truncate(l.(*Log).dir()+"/"+cursorName, 0) }

func (d damager) truncate(name string, bytes int64) {
	d.t.Helper()
	if err := os.Truncate(name, bytes); err != nil {
		d.t.Fatal(err)
	}
}

func (d damager) Garble(l store.Log) {
	d.t.Helper()
	f, err := os.OpenFile(d.segment(l), os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 10_000), 40_000)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	_ = f.Close()
}

func TestFaultsOfMappedFiles(t *testing.T) {
	for name, d := range map[string]damager{"of a finished segment": {}, "of the one that is written": {last: true}} {
		t.Run(name, func(t *testing.T) {
			storetest.RunFaults(t, func(t *testing.T) (storetest.Opener, storetest.Damager) {
				d.t = t
				o := Options{Dir: t.TempDir(), Logger: quiet}
				return func() store.Store {
					s, err := Open(o)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}, d
			})
		})
	}
}
