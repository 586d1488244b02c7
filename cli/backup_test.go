package cli_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/testkit"
	"github.com/leveret-mq/leveret/store/local"
)

func TestABackupIsRestored(t *testing.T) {
	start(t)
	do(t, "declare queue jobs").ok()
	do(t, "declare queue mail").ok()
	run(t, "one\ntwo\nthree\n", "publish", "jobs", "--lines").ok()
	do(t, "publish mail letter").ok()
	do(t, "consume jobs --count 1").ok("one")
	dir := t.TempDir()
	file, others := filepath.Join(dir, "backup.tar"), filepath.Join(dir, "others")
	if err := errors.Join(os.WriteFile(others, []byte("mine"), 0o644), os.Symlink(others, file+".part")); err != nil { // who may write there laid it
		t.Fatal(err)
	}
	run(t, "", "backup", file).ok("backed up to "+file, "KiB")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if text, err := os.ReadFile(others); string(text) != "mine" {
		t.Errorf("what a link led to was overwritten: %d bytes, %v", len(text), err)
	}
	some := run(t, "", "backup", "--queue", "mail", "-").ok()
	names := ""
	for r := tar.NewReader(strings.NewReader(some.out)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names += h.Name + "\n"
	}
	if !strings.HasSuffix(names, "complete.json\n") {
		t.Error(names)
	}
	restored := filepath.Join(dir, "restored")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := local.Restore(f, restored); err != nil {
		t.Fatal(err)
	}
	again := testkit.Start(t, func(c *config.Config) { c.DataDir = restored })
	t.Setenv("LEVERET_HTTP", again.Addr("http"))
	do(t, "consume jobs --drain").ok("two\nthree\n")
	do(t, "consume mail --drain").ok("letter")
	run(t, "", "backup", "--queue", "nowhere", filepath.Join(dir, "none.tar")).ends(1, "nowhere")
	run(t, "", "backup", "--vhost", "nowhere", filepath.Join(dir, "none.tar")).ends(1, "nowhere")
	run(t, "", "backup", filepath.Join(dir, "no", "such.tar")).ends(1, "no such")
	if left, err := filepath.Glob(filepath.Join(dir, "none*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// What is not whole is no backup, and a file that was there stays as it was.
func TestHalfABackupIsNone(t *testing.T) {
	alone(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := tar.NewWriter(w)
		text := "half"
		for _, name := range []string{"begin.json", "data"} {
			if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
				return
			}
			fmt.Fprint(out, text)
		}
		if r.URL.Query().Has("queue") {
			_ = out.Close() // a whole archive, but not a whole backup
			return
		}
		_ = out.Flush()
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	t.Setenv("LEVERET_HTTP", s.URL)
	file := write(t, "the last one")
	for _, args := range [][]string{{"backup", file}, {"backup", "--queue", "q", file}} {
		run(t, "", args...).ends(69, "the backup broke off")
		if text, err := os.ReadFile(file); err != nil || string(text) != "the last one" {
			t.Errorf("%q, %v", text, err)
		}
		if left, err := filepath.Glob(file + ".*"); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	}
}
