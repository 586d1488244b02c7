package measure

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestMachineTellsStealApartFromWork(t *testing.T) {
	stat := []byte("cpu  100 20 30 4000 500 6 7 80 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\nintr 12\n")
	vmstat := []byte("nr_free_pages 12\npswpin 3\npswpout 40\npgfault 99\n")
	want := machineCounters{busy: (100 + 20 + 30 + 6 + 7) * tick, steal: 80 * tick, swappedPages: 43}
	if got := parseMachine(stat, vmstat); got != want {
		t.Fatalf("got %+v, it should be %+v", got, want)
	}
	if got := parseMachine(nil, nil); got != (machineCounters{}) {
		t.Fatalf("nothing was there, got %+v", got)
	}
}

func TestThrottlingOfBothVersionsOfControlGroups(t *testing.T) {
	for _, c := range []struct {
		name, stat string
		want       time.Duration
	}{
		{"version 2", "usage_usec 5\nnr_periods 7\nnr_throttled 2\nthrottled_usec 1500\n", 1500 * time.Microsecond},
		{"version 1", "nr_periods 7\nnr_throttled 2\nthrottled_time 2500000\n", 2500 * time.Microsecond},
		{"no quota", "usage_usec 5\n", 0},
	} {
		if got := parseThrottled([]byte(c.stat)); got != c.want {
			t.Errorf("%s: got %v, it should be %v", c.name, got, c.want)
		}
	}
}

func TestQuotasOfOuterGroupsCount(t *testing.T) {
	got := cpuGroups([]byte("4:memory:/m\n2:cpu,cpuacct:/a/b\n0::/x\n"))
	want := []string{"/sys/fs/cgroup/cpu,cpuacct/a/b", "/sys/fs/cgroup/cpu,cpuacct/a", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/x", "/sys/fs/cgroup"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
}

func TestParseDiskstats(t *testing.T) {
	const table = `   8       1 sda1 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 0 0
   8       0 sda 38664 6444 2099026 9918 1104023 48153 128 111489 5 66228 170522 353181 75 14746416 24022 384 25091
   9       0 old 1 2 3 4 5 6 7 8 9 10 11
`
	if got, err := parseDiskstats([]byte(table), "sda"); err != nil || got != (DeviceCounters{WrittenBytes: 128 * 512, Flushes: 384}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := parseDiskstats([]byte(table), "old"); err != nil || got.Flushes != 0 || got.WrittenBytes != 7*512 {
		t.Fatalf("a kernel that does not count flushes: %+v, %v", got, err)
	}
	if _, err := parseDiskstats([]byte(table), "sd"); err == nil {
		t.Fatal("a disk that is not there has figures")
	}
}

func TestFileSystemIsThatOfTheDevice(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /tmp rw - tmpfs tmpfs rw
`
	if got := fileSystem([]byte(table), 254, 0); got != "ext4" {
		t.Fatalf("got %q", got)
	}
	if got := fileSystem([]byte(table), 254, 1); got != "" {
		t.Fatalf("got %q", got)
	}
}

func TestWatchCountsWhatAProcessWrites(t *testing.T) {
	w, err := Begin(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	if err := os.WriteFile(filepath.Join(t.TempDir(), "f"), bytes.Repeat([]byte{1}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	u, _, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	if u.WrittenBytes != 0 && u.WrittenBytes < size { // 0: the temporary directory is in memory
		t.Fatalf("%d bytes of %d", u.WrittenBytes, size)
	}
	if u.SwappedBytes < 0 || u.StealCPUs < 0 || u.Throttled < 0 || u.VoluntarySwitches < 0 || u.InvoluntarySwitches < 0 {
		t.Fatalf("a counter went back: %+v", u)
	}
}
