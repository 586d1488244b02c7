package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// each runs a test on the real file system and on the one in memory, below a
// fresh directory: both must behave alike.
func each(t *testing.T, fn func(t *testing.T, f FS, dir string)) {
	t.Run("real", func(t *testing.T) { fn(t, Real(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMem(1)
		if err := m.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		fn(t, m, "/d")
	})
	t.Run("failing with a hook that lets all pass", func(t *testing.T) {
		fn(t, Failing(Real(), func(Op, string) error { return nil }), t.TempDir())
	})
}

func create(t *testing.T, f FS, name string, content []byte) File {
	t.Helper()
	file, err := f.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func content(t *testing.T, f FS, name string) string {
	t.Helper()
	file, err := f.Open(name, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := file.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return string(b)
}

func TestNamesBehaveAlike(t *testing.T) {
	each(t, func(t *testing.T, f FS, dir string) {
		sub, a, b := filepath.Join(dir, "x", "y"), filepath.Join(dir, "x", "y", "a"), filepath.Join(dir, "b")
		if err := errors.Join(f.MkdirAll(sub), f.MkdirAll(sub)); err != nil {
			t.Fatal(err)
		}
		create(t, f, a, []byte("hello"))
		if st, err := f.Stat(a); err != nil || st.SizeBytes != 5 || st.Dir {
			t.Errorf("stat %+v, %v", st, err)
		}
		if st, err := f.Stat(sub); err != nil || !st.Dir {
			t.Errorf("stat of a folder %+v, %v", st, err)
		}
		create(t, f, b, []byte("older"))
		if err := errors.Join(f.Rename(a, b), f.SyncDir(sub), f.SyncDir(dir), f.SyncAll(dir)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f, b); got != "hello" {
			t.Errorf("renamed: %q", got)
		}
		if names, err := f.ReadDir(dir); err != nil || !slices.Equal(names, []string{"b", "x"}) {
			t.Errorf("names %v, %v", names, err)
		}
		for what, err := range map[string]error{
			"remove": f.Remove(a), "rename": f.Rename(a, b), "syncdir": f.SyncDir(filepath.Join(dir, "no")),
			"stat": second(f.Stat(a)), "open": second(f.Open(a, os.O_RDWR)), "readdir": second(f.ReadDir(filepath.Join(dir, "no"))),
			"create in no folder": second(f.Open(filepath.Join(dir, "no", "f"), os.O_RDWR|os.O_CREATE)),
		} {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s of what is not there: %v", what, err)
			}
		}
		if err := f.Remove(filepath.Join(dir, "x")); err == nil {
			t.Error("removed a folder that is not empty")
		}
		if _, err := f.Open(b, os.O_RDWR|os.O_CREATE|os.O_EXCL); !errors.Is(err, os.ErrExist) {
			t.Errorf("exclusive create: %v", err)
		}
		if err := errors.Join(f.RemoveAll(filepath.Join(dir, "x")), f.RemoveAll(filepath.Join(dir, "x")), f.Remove(b)); err != nil {
			t.Error(err)
		}
		if free, total, err := f.Usage(dir); err != nil || free == 0 || total < free {
			t.Errorf("usage %d of %d, %v", free, total, err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestLocksExclude(t *testing.T) {
	each(t, func(t *testing.T, f FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := f.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Lock(name); !errors.Is(err, ErrLocked) {
			t.Errorf("a second lock: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = f.Lock(name); err != nil {
			t.Fatalf("after unlock: %v", err)
		}
		_ = l.Close()
	})
}

func TestMappingsAndFilesShareTheirBytes(t *testing.T) {
	each(t, func(t *testing.T, f FS, dir string) {
		name := filepath.Join(dir, "f")
		file := create(t, f, name, []byte("abc"))
		if err := file.Allocate(10_000); err != nil {
			t.Fatal(err)
		}
		if err := file.Allocate(100); err != nil {
			t.Fatal(err)
		}
		if size, _ := file.Size(); size != 10_000 {
			t.Fatalf("size %d", size)
		}
		m, err := file.Map(10_000)
		if err != nil {
			t.Fatal(err)
		}
		copy(m.Bytes()[3:], "def")
		if _, err := file.WriteAt([]byte("!"), 9999); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(file.Sync(), f.Remove(name)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 6)
		if _, err := file.ReadAt(b, 0); err != nil || string(b) != "abcdef" {
			t.Errorf("read %q, %v", b, err)
		}
		if m.Bytes()[9999] != '!' || m.Bytes()[5000] != 0 {
			t.Error("the mapping differs")
		}
		if !m.Resident(0, 6) {
			t.Error("what was just written is not resident")
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if string(m.Bytes()[:6]) != "abcdef" {
			t.Error("the mapping did not outlive its file")
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTruncatedBytesComeBackAsZeros(t *testing.T) {
	each(t, func(t *testing.T, f FS, dir string) {
		name := filepath.Join(dir, "f")
		file := create(t, f, name, []byte("abcdef"))
		if err := errors.Join(file.Truncate(2), file.Truncate(4)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f, name); got != "ab\x00\x00" {
			t.Errorf("content %q", got)
		}
		read, err := f.Open(name, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		if _, err := read.WriteAt([]byte("x"), 0); err == nil {
			t.Error("wrote to a file opened for reading")
		}
	})
}

func TestACrashKeepsWhatWasSyncedAndAnyOfTheRest(t *testing.T) {
	base := bytes.Repeat([]byte{1}, 4*PageBytes)
	seen := make(map[string]bool)
	for seed := range uint64(64) {
		m := NewMem(seed)
		file := create(t, m, "/f", base)
		if err := errors.Join(file.Sync(), m.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(bytes.Repeat([]byte{2}, 2*PageBytes), PageBytes); err != nil {
			t.Fatal(err)
		}
		if seed%2 == 0 {
			m.Writeback()
		}
		c := m.Crash(rand.New(rand.NewPCG(seed, 1)))
		got := content(t, c, "/f")
		if len(got) != len(base) || got[0] != 1 || got[3*PageBytes] != 1 {
			t.Fatalf("seed %d: synced pages changed", seed)
		}
		for p := range 4 {
			if page := got[p*PageBytes : (p+1)*PageBytes]; page != string(bytes.Repeat([]byte{page[0]}, PageBytes)) {
				t.Fatalf("seed %d: page %d is torn", seed, p)
			}
		}
		seen[fmt.Sprint(got[PageBytes], got[2*PageBytes])] = true
	}
	if len(seen) != 4 {
		t.Errorf("pages seen after crashes: %v, want every mixture", seen)
	}
}

func TestACrashKeepsAPrefixOfTheNameChanges(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(200) {
		m := NewMem(seed)
		if err := errors.Join(m.MkdirAll("/a"), m.MkdirAll("/b"), m.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		file := create(t, m, "/a/1", []byte("one"))
		if err := errors.Join(file.Sync(), m.SyncDir("/a")); err != nil {
			t.Fatal(err)
		}
		if err := m.Rename("/a/1", "/b/2"); err != nil {
			t.Fatal(err)
		}
		two := create(t, m, "/a/1", []byte("two"))
		if err := two.Sync(); err != nil {
			t.Fatal(err)
		}
		c := m.Crash(rand.New(rand.NewPCG(seed, 1)))
		seen[content(t, c, "/a/1")+" "+content(t, c, "/b/2")]++
	}
	want := []string{"one (none)", "(none) one", "two one"}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never seen: %s", w)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("seen %v", seen)
	}
}

func TestSyncDirMakesRenamesDurableOnBothSides(t *testing.T) {
	for _, dir := range []string{"/a", "/b"} {
		for seed := range uint64(20) {
			m := NewMem(seed)
			if err := errors.Join(m.MkdirAll("/a"), m.MkdirAll("/b"), m.SyncDir("/")); err != nil {
				t.Fatal(err)
			}
			file := create(t, m, "/a/1", []byte("one"))
			if err := errors.Join(file.Sync(), m.Rename("/a/1", "/b/2"), m.SyncDir(dir)); err != nil {
				t.Fatal(err)
			}
			c := m.Crash(rand.New(rand.NewPCG(seed, 1)))
			if a, b := content(t, c, "/a/1"), content(t, c, "/b/2"); a != "(none)" || b != "one" {
				t.Fatalf("seed %d, sync of %s: %s %s", seed, dir, a, b)
			}
		}
	}
}

func TestTheSameSeedCrashesTheSameWay(t *testing.T) {
	run := func() string {
		m := NewMem(9)
		for i := range 20 {
			create(t, m, fmt.Sprintf("/%d", i), bytes.Repeat([]byte{byte(i)}, 3*PageBytes))
		}
		m.Writeback()
		c := m.Crash(rand.New(rand.NewPCG(4, 4)))
		var all string
		for i := range 20 {
			all += content(t, c, fmt.Sprintf("/%d", i)) + "|"
		}
		return all
	}
	if a, b := run(), run(); a != b {
		t.Error("two runs differ")
	}
}

func TestAFullDiskInMemoryIsENOSPC(t *testing.T) {
	m := NewMem(1)
	m.SetCapacity(8192)
	file := create(t, m, "/f", make([]byte, 8000))
	if err := file.Allocate(9000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("allocate: %v", err)
	}
	if _, err := file.WriteAt(make([]byte, 500), 8000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write: %v", err)
	}
	if free, total, _ := m.Usage("/"); free != 192 || total != 8192 {
		t.Errorf("usage %d of %d", free, total)
	}
}

func TestFailingFailsTheChosenOperation(t *testing.T) {
	ops := map[Op]func(f FS, file File) error{
		OpMkdir:     func(f FS, _ File) error { return f.MkdirAll("/x") },
		OpReadDir:   func(f FS, _ File) error { return second(f.ReadDir("/")) },
		OpRemove:    func(f FS, _ File) error { return f.RemoveAll("/x") },
		OpRename:    func(f FS, _ File) error { return f.Rename("/f", "/g") },
		OpSyncDir:   func(f FS, _ File) error { return f.SyncDir("/") },
		OpSyncAll:   func(f FS, _ File) error { return f.SyncAll("/") },
		OpStat:      func(f FS, _ File) error { return second(f.Stat("/f")) },
		OpLock:      func(f FS, _ File) error { return second(f.Lock("/l")) },
		OpOpen:      func(f FS, _ File) error { return second(f.Open("/f", os.O_RDWR)) },
		OpFreeSpace: func(f FS, _ File) error { _, _, err := f.Usage("/"); return err },
		OpRead:      func(_ FS, file File) error { return second(file.ReadAt(make([]byte, 1), 0)) },
		OpWrite:     func(_ FS, file File) error { return second(file.WriteAt(make([]byte, 1), 0)) },
		OpAllocate:  func(_ FS, file File) error { return file.Allocate(10) },
		OpTruncate:  func(_ FS, file File) error { return file.Truncate(10) },
		OpSync:      func(_ FS, file File) error { return file.Sync() },
		OpMap:       func(_ FS, file File) error { return second(file.Map(1)) },
	}
	for op, do := range ops {
		var broken bool
		f := Failing(NewMem(1), func(o Op, _ string) error {
			if broken && o == op {
				return syscall.EIO
			}
			return nil
		})
		file := create(t, f, "/f", []byte("hello"))
		broken = true
		if err := do(f, file); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestAFrozenFileSystemHoldsWhatItIsToldUntilTheThaw(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		z := NewFreezer()
		f := Failing(NewMem(1), z.Hook)
		file := create(t, f, "/f", []byte("hello"))
		z.Freeze(func(op Op, name string) bool { return op == OpRead && name == "/f" })
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 2)
		for range 2 {
			go func() { read <- second(file.ReadAt(make([]byte, 1), 0)) }()
		}
		z.AwaitWaiting(2)
		synctest.Wait()
		if n := z.Waiting(); n != 2 || len(read) != 0 {
			t.Fatalf("%d reads wait, %d came back, want 2 and none", n, len(read))
		}
		z.Thaw()
		for range 2 {
			if err := <-read; err != nil {
				t.Fatal(err)
			}
		}
		if err := second(file.ReadAt(make([]byte, 1), 0)); err != nil || z.Waiting() != 0 {
			t.Fatalf("after the thaw: %v, %d waiting", err, z.Waiting())
		}
	})
}

func TestReadOnceReadsWhatReadAtReads(t *testing.T) {
	each(t, func(t *testing.T, f FS, dir string) {
		want := make([]byte, 3*PageBytes+17)
		for i := range want {
			want[i] = byte(i * 7)
		}
		file := create(t, f, filepath.Join(dir, "f"), want)
		for _, c := range []struct{ at, n, got int }{{0, len(want), len(want)}, {100, PageBytes, PageBytes}, {len(want) - 5, 10, 5}, {len(want), 1, 0}} {
			b := make([]byte, c.n)
			n, err := file.ReadOnce(b, int64(c.at))
			if n != c.got || !bytes.Equal(b[:n], want[c.at:c.at+n]) {
				t.Errorf("%d bytes at %d: %d came, or others", c.n, c.at, n)
			}
			if short := n < c.n; short != errors.Is(err, io.EOF) || !short && err != nil {
				t.Errorf("%d bytes at %d: %v", c.n, c.at, err)
			}
		}
	})
}
