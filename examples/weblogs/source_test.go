package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// logLine is a line of a given second after noon.
func logLine(second, status int) string {
	return fmt.Sprintf(`1.2.3.4 - - [10/Oct/2000:12:00:%02d +0000] "GET /%d HTTP/1.1" %d 5`, second, second, status)
}

func write(t *testing.T, name string, lines ...string) {
	t.Helper()
	text := strings.Join(lines, "\n") + "\n"
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	var w io.WriteCloser = f
	if strings.HasSuffix(name, ".gz") {
		w = gzip.NewWriter(f)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w != f {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, s Source) (lines []string, keys []string) {
	t.Helper()
	for {
		e, err := s.Next()
		if err == io.EOF {
			return lines, keys
		}
		if err != nil {
			t.Fatal(err)
		}
		lines, keys = append(lines, string(e.Text)), append(keys, string(e.Key))
	}
}

func TestFilesOfADirectoryAreMergedByTime(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "access.log"), logLine(5, 200), logLine(9, 500))
	write(t, filepath.Join(dir, "access.log.1.gz"), logLine(1, 200), logLine(3, 404))
	write(t, filepath.Join(dir, "sub", "shop.example.com-access.log"), "broken", logLine(2, 200), logLine(7, 503))
	write(t, filepath.Join(dir, "error.log"), "2000/10/10 12:00:00 [error] 1#1: something else")
	write(t, filepath.Join(dir, ".hidden.log"), logLine(4, 200))

	s, notes, err := openFiles(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "error.log") {
		t.Errorf("notes: %q", notes)
	}
	if s.Lines() != 7 {
		t.Errorf("%d lines announced, want 7", s.Lines())
	}
	lines, keys := read(t, s)
	want := []string{"broken", logLine(1, 200), logLine(2, 200), logLine(3, 404), logLine(5, 200), logLine(7, 503), logLine(9, 500)}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	wantKeys := "shop_example_com.other web.info shop_example_com.info web.warn web.info shop_example_com.error web.error"
	if got := strings.Join(keys, " "); got != wantKeys {
		t.Errorf("keys %s, want %s", got, wantKeys)
	}
}

func TestALimitCutsTheLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access.log")
	write(t, name, logLine(1, 200), logLine(2, 200), logLine(3, 200))
	s, _, err := openFiles(name, 2)
	if err != nil {
		t.Fatal(err)
	}
	if lines, _ := read(t, s); len(lines) != 2 || s.Lines() != 2 {
		t.Errorf("%d lines, %d announced, want 2", len(lines), s.Lines())
	}
}

func TestALineTooLongIsCutAndTheNextOneRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access.log")
	write(t, name, logLine(1, 200), strings.Repeat("x", 3*maxLineBytes), logLine(2, 200))
	s, _, err := openFiles(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := read(t, s)
	if len(lines) != 3 || len(lines[1]) != maxLineBytes || lines[2] != logLine(2, 200) {
		t.Errorf("%d lines, the second of %d bytes", len(lines), len(lines[1]))
	}
}

func TestWhatIsNoLogIsRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "notes.txt"), "nothing", "of the kind")
	if err := os.WriteFile(filepath.Join(dir, "broken.gz"), []byte{0x1f, 0x8b, 0, 0}, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty.log"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, notes, err := openFiles(dir, 0)
	if err == nil || len(notes) != 3 {
		t.Errorf("error %v, notes %q", err, notes)
	}
	if _, _, err := openFiles(filepath.Join(dir, "missing"), 0); err == nil {
		t.Error("a missing file is taken")
	}
}

func TestServiceNamesAreRoutingWords(t *testing.T) {
	for name, want := range map[string]string{
		"/var/log/nginx/access.log": "web", "access.log.12.gz": "web", "api.access.log.3": "api", "Shop Front_access.log": "shop_front",
	} {
		if got := serviceOfFile(name); got != want {
			t.Errorf("file %s is service %q, want %q", name, got, want)
		}
	}
	if got := serviceOfHost([]byte("Api-2.example.com")); got != "api-2" {
		t.Errorf("host is service %q", got)
	}
}

func TestGeneratedLinesAreTheSameForTheSameSeed(t *testing.T) {
	end := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	one, _ := read(t, newGenerator(1, 2000, end))
	again, _ := read(t, newGenerator(1, 2000, end))
	other, _ := read(t, newGenerator(2, 2000, end))
	if strings.Join(one, "\n") != strings.Join(again, "\n") {
		t.Error("the same seed gave other lines")
	}
	if strings.Join(one, "\n") == strings.Join(other, "\n") {
		t.Error("another seed gave the same lines")
	}
}

func TestGeneratedLinesReadAsWhatTheySay(t *testing.T) {
	end := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	g := newGenerator(7, 30_000, end)
	levels, last, checkout := map[string]int{}, time.Time{}, 0
	for {
		e, err := g.Next()
		if err == io.EOF {
			break
		}
		l, err := parseLine(e.Text)
		if err != nil {
			t.Fatalf("%s: %v", e.Text, err)
		}
		key := serviceOfHost(l.VHost) + "." + l.Level()
		if key != string(e.Key) || !l.Time.Equal(e.Time) || !l.HasTook || l.Method == nil || (l.Level() == "error") != e.Error {
			t.Fatalf("%s: read as %+v, announced as %s at %v", e.Text, l, e.Key, e.Time)
		}
		if e.Time.Before(last) || e.Time.After(end) || e.Time.Before(end.Add(-generatedSpan)) {
			t.Fatalf("time %v after %v", e.Time, last)
		}
		last = e.Time
		levels[l.Level()]++
		if key == "checkout.error" {
			checkout++
		}
	}
	if levels["error"] < 60 || levels["error"] > 600 || levels["warn"] < 300 || levels["info"] < 25_000 {
		t.Errorf("levels: %v", levels)
	}
	if checkout < 20 {
		t.Errorf("%d errors of the checkout: there was no incident", checkout)
	}
}

func BenchmarkGenerate(b *testing.B) {
	g := newGenerator(1, 1<<40, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		e, _ := g.Next()
		b.SetBytes(int64(len(e.Text)))
	}
}
