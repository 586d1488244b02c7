package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machineNow reads /proc/stat and /proc/vmstat. What is not there stays zero: no figure
// of a load depends on it.
func machineNow() machineCounters {
	stat, _ := os.ReadFile("/proc/stat")
	vmstat, _ := os.ReadFile("/proc/vmstat")
	return parseMachine(stat, vmstat)
}

func parseMachine(stat, vmstat []byte) (m machineCounters) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	for i, f := range strings.Fields(string(line)) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			continue
		}
		switch i {
		case 1, 2, 3, 6, 7: // user, nice, system, irq, softirq; guest time is in user already
			m.busy += time.Duration(n) * tick
		case 8:
			m.steal = time.Duration(n) * tick
		}
	}
	for line := range strings.Lines(string(vmstat)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key == "pswpin" || key == "pswpout" {
			n, _ := strconv.ParseInt(value, 10, 64)
			m.swappedPages += n
		}
	}
	return m
}

// processNow reads what a process wrote and how often it was switched out. Both need
// rights that reading its processor time does not; without them they stay zero.
func processNow(pid int) (p processCounters) {
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid)); err == nil {
		p.written = keyed(b, "write_bytes")
	}
	// /proc/PID/status counts the switches of the first thread alone.
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, name := range tasks {
		if b, err := os.ReadFile(name); err == nil {
			p.voluntary += keyed(b, "voluntary_ctxt_switches")
			p.involuntary += keyed(b, "nonvoluntary_ctxt_switches")
		}
	}
	p.throttled = throttledOf(pid)
	return p
}

// keyed is the number on the line `key: number`.
func keyed(b []byte, key string) int64 {
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == key {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}

// throttledOf is how long the control groups of a process, and those around them, were
// kept from the processor by their quota.
func throttledOf(pid int) (d time.Duration) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for _, dir := range cpuGroups(b) {
		if stat, err := os.ReadFile(filepath.Join(dir, "cpu.stat")); err == nil {
			d += parseThrottled(stat)
		}
	}
	return d
}

// cpuGroups are the directories of a /proc/PID/cgroup table whose quota binds the process:
// its group's and those of all groups above, of version 2 or of version 1's cpu controller.
func cpuGroups(table []byte) (dirs []string) {
	for line := range strings.Lines(string(table)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		var root string
		switch {
		case f[1] == "":
			root = "/sys/fs/cgroup"
		case strings.Contains(","+f[1]+",", ",cpu,"):
			root = "/sys/fs/cgroup/" + f[1]
		default:
			continue
		}
		for group := filepath.Clean("/" + f[2]); ; group = filepath.Dir(group) {
			dirs = append(dirs, filepath.Join(root, group))
			if group == "/" {
				break
			}
		}
	}
	return dirs
}

// parseThrottled reads throttled_usec of version 2 or throttled_time, in nanoseconds, of 1.
func parseThrottled(stat []byte) (d time.Duration) {
	for line := range strings.Lines(string(stat)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "throttled_usec":
			d += time.Duration(n) * time.Microsecond
		case "throttled_time":
			d += time.Duration(n)
		}
	}
	return d
}

// DeviceOf finds the disk under a directory. A directory that is on no disk of its own
// (memory, network, an overlay) gives an error.
func DeviceOf(dir string) (Device, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return Device{}, fmt.Errorf("disk of %s: %w", dir, err)
	}
	sys := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	path, err := filepath.EvalSymlinks(sys)
	if err != nil {
		return Device{}, fmt.Errorf("disk of %s: it is on no block device", dir)
	}
	// Flushes are counted for whole disks, not for their partitions.
	if _, err := os.Stat(filepath.Join(path, "partition")); err == nil {
		path = filepath.Dir(path)
	}
	d := Device{Name: filepath.Base(path)}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		d.FileSystem = fileSystem(mounts, unix.Major(st.Dev), unix.Minor(st.Dev))
	}
	return d, nil
}

// fileSystem is the type of the file system on a device, from a mountinfo table.
func fileSystem(table []byte, major, minor uint32) string {
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[2] != fmt.Sprintf("%d:%d", major, minor) {
			continue
		}
		if _, rest, ok := strings.Cut(line, " - "); ok {
			return strings.Fields(rest)[0]
		}
	}
	return ""
}

const sectorBytes = 512 // of /proc/diskstats, whatever the disk's own are

// Counters reads what the disk has done since the machine started.
func (d Device) Counters() (DeviceCounters, error) {
	b, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return DeviceCounters{}, fmt.Errorf("disk %s: %w", d.Name, err)
	}
	return parseDiskstats(b, d.Name)
}

// parseDiskstats takes field 10, sectors written, and field 19, flush requests completed,
// which kernels since 5.5 have.
func parseDiskstats(b []byte, name string) (c DeviceCounters, err error) {
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 14 || f[2] != name {
			continue
		}
		sectors, err := strconv.ParseInt(f[9], 10, 64)
		if err == nil && len(f) > 18 {
			c.Flushes, err = strconv.ParseInt(f[18], 10, 64)
		}
		if err != nil {
			return DeviceCounters{}, fmt.Errorf("disk %s: %w", name, err)
		}
		c.WrittenBytes = sectors * sectorBytes
		return c, nil
	}
	return DeviceCounters{}, errors.New("disk " + name + " is not in /proc/diskstats")
}
