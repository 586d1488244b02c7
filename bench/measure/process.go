package measure

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// ErrUnsupported says that this system does not tell what was asked.
var ErrUnsupported = errors.New("not available on this system")

// CPU is processor time used by a process since it began.
type CPU struct{ User, System time.Duration }

// Total is user and system time.
func (c CPU) Total() time.Duration { return c.User + c.System }

// Sub is the time used since earlier.
func (c CPU) Sub(earlier CPU) CPU {
	return CPU{c.User - earlier.User, c.System - earlier.System}
}

// Memory is a process's resident memory.
type Memory struct {
	RSSBytes  int64 // all of it, mapped files included
	AnonBytes int64 // without mapped files, which the kernel can take back
	PeakBytes int64 // VmHWM: RSSBytes' highest, since it was last reset
}

// Usage is what a process used while it was watched.
type Usage struct {
	CPU         CPU
	PeakBytes   int64 // resident, mapped files included
	AnonBytes   int64 // highest seen without mapped files
	BeforeBytes int64 // resident when the watch began
	// WrittenBytes is what the process sent towards a disk, pages that it made dirty in a
	// mapping included, whether or not the kernel has written them out yet.
	WrittenBytes int64
	// VoluntarySwitches counts when a thread gave its processor up to wait,
	// InvoluntarySwitches when it was taken away.
	VoluntarySwitches, InvoluntarySwitches int64
	Wall                                   time.Duration
	Disturbance
}

// Disturbance is what kept the machine from the run while it went on.
type Disturbance struct {
	// OtherCPUs is how many processors were busy on average with neither the process nor
	// this program: kernel threads, neighbours.
	OtherCPUs float64
	// StealCPUs is how many processors on average the hypervisor held back.
	StealCPUs float64
	// SwappedBytes went to or came from swap, of whatever process.
	SwappedBytes int64
	// Throttled is how long a quota kept the process's control groups, or this program's,
	// from running.
	Throttled time.Duration
}

// sampleEvery is how often resident memory is looked at, which costs some 20 µs.
const sampleEvery = 50 * time.Millisecond

// Watch follows one process over one run.
type Watch struct {
	pid           int
	began         time.Time
	cpu, self     CPU
	machine       machineCounters
	process       processCounters
	selfThrottled time.Duration
	before        Memory
	rss, anon     int64
	stop          chan struct{}
	done          sync.WaitGroup
	peakIsReset   bool
}

// Begin starts watching. A pid of 0 watches nothing and all figures stay zero.
func Begin(pid int) (*Watch, error) {
	w := &Watch{pid: pid, stop: make(chan struct{})}
	if pid != 0 {
		w.peakIsReset = resetPeak(pid) == nil
		mem, err := MemoryOf(pid)
		if err != nil {
			return nil, err
		}
		w.before, w.rss, w.anon = mem, mem.RSSBytes, mem.AnonBytes
		w.process = processNow(pid)
		if w.cpu, err = CPUOf(pid); err != nil {
			return nil, err
		}
		w.done.Go(w.sample)
	}
	w.selfThrottled = processNow(os.Getpid()).throttled
	w.self = SelfCPU()
	w.machine = machineNow()
	w.began = time.Now()
	return w, nil
}

func (w *Watch) sample() {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-t.C:
			if m, err := MemoryOf(w.pid); err == nil {
				w.rss, w.anon = max(w.rss, m.RSSBytes), max(w.anon, m.AnonBytes)
			}
		}
	}
}

// End stops watching and tells what was used, by the process and by this program.
func (w *Watch) End() (u Usage, self CPU, err error) {
	u.Wall = time.Since(w.began)
	self = SelfCPU().Sub(w.self)
	machine := machineNow()
	close(w.stop)
	w.done.Wait()
	u.StealCPUs = perWall(machine.steal-w.machine.steal, u.Wall)
	u.SwappedBytes = (machine.swappedPages - w.machine.swappedPages) * int64(os.Getpagesize())
	u.Throttled = processNow(os.Getpid()).throttled - w.selfThrottled
	if w.pid == 0 {
		return u, self, nil
	}
	cpu, err := CPUOf(w.pid)
	if err != nil {
		return u, self, err
	}
	mem, err := MemoryOf(w.pid)
	if err != nil {
		return u, self, err
	}
	u.CPU = cpu.Sub(w.cpu)
	u.BeforeBytes = w.before.RSSBytes
	u.PeakBytes = max(w.rss, mem.RSSBytes)
	if w.peakIsReset {
		u.PeakBytes = max(u.PeakBytes, mem.PeakBytes)
	}
	u.AnonBytes = max(w.anon, mem.AnonBytes)
	u.OtherCPUs = perWall(machine.busy-w.machine.busy-u.CPU.Total()-self.Total(), u.Wall)
	now := processNow(w.pid)
	u.WrittenBytes = now.written - w.process.written
	u.VoluntarySwitches = max(0, now.voluntary-w.process.voluntary) // threads that ended took theirs along
	u.InvoluntarySwitches = max(0, now.involuntary-w.process.involuntary)
	u.Throttled = max(u.Throttled, now.throttled-w.process.throttled)
	return u, self, nil
}

// perWall is how many processors d kept busy on average.
func perWall(d, wall time.Duration) float64 {
	if wall <= 0 {
		return 0
	}
	return max(0, d.Seconds()/wall.Seconds())
}

// GrownSince is how many bytes the files that are there now have more than before. Files
// that went away do not count: they may be those of an earlier run, deleted late; nor do
// those that shrank.
func (d Disk) GrownSince(before Disk) (bytes int64) {
	for f, n := range d {
		bytes += max(0, n-before[f])
	}
	return bytes
}

// quietBelow is how many busy CPUs count as a quiet machine.
const quietBelow = 0.4

// WaitQuiet waits until half a second goes by with the machine quiet, at most for limit.
func WaitQuiet(ctx context.Context, limit time.Duration) {
	const window = 500 * time.Millisecond
	for end := time.Now().Add(limit); time.Now().Before(end); {
		before := machineNow().busy
		select {
		case <-ctx.Done():
			return
		case <-time.After(window):
		}
		if (machineNow().busy - before).Seconds() < quietBelow*window.Seconds() {
			return
		}
	}
}
