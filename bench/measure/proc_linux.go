package measure

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// CPUOf reads a process's user and system time, all threads. How it is split comes from
// /proc/PID/stat, which counts in ticks; the sum is as exact as the scheduler's own.
func CPUOf(pid int) (CPU, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return CPU{}, fmt.Errorf("read CPU time of process %d: %w", pid, err)
	}
	c, err := parseStat(b)
	if err != nil {
		return CPU{}, err
	}
	var exact unix.Timespec
	if unix.ClockGettime(cpuClock(pid), &exact) != nil {
		return c, nil
	}
	return c.scaledTo(time.Duration(exact.Nano())), nil
}

// cpuClock is the clock of a process's processor time, as clock_getcpuclockid(3) makes it.
func cpuClock(pid int) int32 {
	const scheduled = 2 // CPUCLOCK_SCHED
	return int32(^pid)<<3 | scheduled
}

// scaledTo keeps the split of the time and gives it another sum.
func (c CPU) scaledTo(total time.Duration) CPU {
	user := total
	if sum := c.Total(); sum > 0 {
		user = time.Duration(float64(total) * float64(c.User) / float64(sum))
	}
	return CPU{user, total - user}
}

// parseStat finds fields 14 and 15; field 2 is a name that may hold blanks and brackets.
func parseStat(b []byte) (CPU, error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 13 {
		return CPU{}, errors.New("process stat: too few fields")
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return CPU{}, fmt.Errorf("process stat: %w", err)
	}
	return CPU{time.Duration(user) * tick, time.Duration(system) * tick}, nil
}

// SelfCPU is this program's own processor time, and that of the programs that it has run
// and that have ended.
func SelfCPU() (c CPU) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			c.User += time.Duration(r.Utime.Nano())
			c.System += time.Duration(r.Stime.Nano())
		}
	}
	return c
}

// MemoryOf reads a process's resident memory from /proc/PID/status.
func MemoryOf(pid int) (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	return parseStatus(b), nil
}

func parseStatus(b []byte) (m Memory) {
	for line := range strings.Lines(string(b)) {
		key, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		kib, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "VmRSS":
			m.RSSBytes = kib << 10
		case "VmHWM":
			m.PeakBytes = kib << 10
		case "RssAnon":
			m.AnonBytes = kib << 10
		}
	}
	return m
}

// resetPeak sets VmHWM back to what is resident now.
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// FindListener is the process that listens on a TCP address of this machine.
func FindListener(address string) (pid int, err error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("find the listener of %s: %w", address, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("find the listener of %s: %w", address, err)
	}
	inodes := map[string]bool{}
	for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if b, err := os.ReadFile(f); err == nil {
			listeningInodes(b, uint16(n), inodes)
		}
	}
	if len(inodes) == 0 {
		return 0, fmt.Errorf("find the listener of %s: nothing listens on that port here", address)
	}
	return socketOwner(address, inodes)
}

// listeningInodes adds the sockets of a /proc/net/tcp table that listen on port.
func listeningInodes(table []byte, port uint16, inodes map[string]bool) {
	s := bufio.NewScanner(bytes.NewReader(table))
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 10 || f[3] != "0A" { // 0A: listening
			continue
		}
		_, hexPort, _ := strings.Cut(f[1], ":")
		b, err := hex.DecodeString(hexPort)
		if err == nil && len(b) == 2 && uint16(b[0])<<8|uint16(b[1]) == port {
			inodes[f[9]] = true
		}
	}
}

func socketOwner(address string, inodes map[string]bool) (int, error) {
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, err
	}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue // not ours to see, or gone
		}
		inode, ok := strings.CutPrefix(target, "socket:[")
		if ok && inodes[strings.TrimSuffix(inode, "]")] {
			return strconv.Atoi(strings.Split(fd, "/")[2])
		}
	}
	return 0, fmt.Errorf("find the listener of %s: no process of it can be seen from here", address)
}

// ProcessName is the short name of a process.
func ProcessName(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

// file is an inode and when it was made: a file that is renamed for its next use stays
// the same, and one that got the inode of a deleted file does not.
type file struct {
	inode uint64
	made  unix.StatxTimestamp
}

// Disk is what each file below a directory occupies, as du counts.
type Disk map[file]int64

// DiskOf looks at a directory and all below it.
func DiskOf(dir string) (Disk, error) {
	d := Disk{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		var st unix.Statx_t
		const want = unix.STATX_INO | unix.STATX_BLOCKS | unix.STATX_BTIME
		if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, want, &st) == nil {
			d[file{st.Ino, st.Btime}] = int64(st.Blocks) * 512
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("disk use of %s: %w", dir, err)
	}
	return d, nil
}

// FlushDisks has the kernel write out everything, so that one run's dirty pages are not
// the next one's burden.
func FlushDisks() { unix.Sync() }

// FileLimit is how many files a process and this one may have open, whichever is less; 0
// if that is not known. A pid of 0 leaves the process out.
func FileLimit(pid int) int64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	limit := int64(min(r.Cur, 1<<31))
	if pid == 0 {
		return limit
	}
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &r) == nil {
		limit = min(limit, int64(min(r.Cur, 1<<31)))
	}
	return limit
}
