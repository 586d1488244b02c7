package measure

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       CPU
		bad        bool
	}{
		{"plain", "12 (leveret) S 1 12 12 0 -1 4194560 1 2 3 4 250 75 0 0 20 0", CPU{2500 * time.Millisecond, 750 * time.Millisecond}, false},
		{"name with brackets and blanks", "12 (a (b) c) R 1 12 12 0 -1 4194560 1 2 3 4 1 2 0 0 20 0", CPU{10 * time.Millisecond, 20 * time.Millisecond}, false},
		{"cut short", "12 (a) R 1 2", CPU{}, true},
		{"empty", "", CPU{}, true},
		{"not a number", "12 (a) S 1 12 12 0 -1 4194560 1 2 3 4 x 75 0 0 20 0", CPU{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStat([]byte(c.line))
			if (err != nil) != c.bad || got != c.want {
				t.Fatalf("got %v, %v", got, err)
			}
		})
	}
}

func TestCPUTimeIsFinerThanATick(t *testing.T) {
	for range 100 {
		c, err := CPUOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if c.Total()%tick != 0 {
			return
		}
	}
	t.Fatal("100 readings were all whole ticks")
}

func TestScalingSharesTheTotalOut(t *testing.T) {
	if got := (CPU{30, 10}).scaledTo(80); got != (CPU{60, 20}) {
		t.Errorf("got %+v", got)
	}
	if got := (CPU{}).scaledTo(5); got != (CPU{User: 5}) {
		t.Errorf("less than a tick: %+v", got)
	}
}

func TestParseStatus(t *testing.T) {
	m := parseStatus([]byte("Name:\tjava\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\nRssAnon:\t   60 kB\nRssFile:\t   40 kB\nThreads:\t9\n"))
	if m.RSSBytes != 100<<10 || m.PeakBytes != 200<<10 || m.AnonBytes != 60<<10 {
		t.Fatalf("got %+v", m)
	}
}

func TestListeningInodes(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:1628 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1
   2: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
`
	inodes := map[string]bool{}
	listeningInodes([]byte(table), 0x1628, inodes)
	if len(inodes) != 1 || !inodes["111"] {
		t.Fatalf("got %v", inodes)
	}
}

func TestFindListenerFindsThisProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pid, err := FindListener(l.Addr().String())
	if err != nil || pid != os.Getpid() {
		t.Fatalf("found %d, %v; this is %d", pid, err, os.Getpid())
	}
	l.Close()
	if pid, err := FindListener(l.Addr().String()); err == nil {
		t.Fatalf("found %d on a port where nothing listens", pid)
	}
}

func TestWatchTellsCPUAndMemoryOfAProcess(t *testing.T) {
	w, err := Begin(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		_ = parseStatus([]byte("VmRSS: 1 kB\n"))
	}
	u, self, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU.Total() <= 0 || self.Total() <= 0 || u.PeakBytes < 1<<20 || u.AnonBytes <= 0 || u.BeforeBytes <= 0 {
		t.Fatalf("got %+v, %+v", u, self)
	}
}

func TestDiskGrowthIsByInode(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, n int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func() Disk {
		t.Helper()
		d, err := DiskOf(dir)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	write("renamed", 64<<10)
	write("deleted", 64<<10)
	before := look()
	if err := os.Rename(filepath.Join(dir, "renamed"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	if got := look().GrownSince(before); got != 0 {
		t.Fatalf("a rename grew the directory by %d bytes", got)
	}
	write("new", 128<<10)
	if err := os.Remove(filepath.Join(dir, "deleted")); err != nil {
		t.Fatal(err)
	}
	if got := look().GrownSince(before); got < 128<<10 || got > 160<<10 {
		t.Fatalf("a new file of 128 KiB grew the directory by %d bytes", got)
	}
}
