package local

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// Options are a store's settings. The zero value of each but Dir is its default.
type Options struct {
	// Recover opens a directory from which something is missing, and goes on with what is
	// there. Otherwise Open refuses it.
	Recover bool
	// Dir is the data directory; it is made if it is not there.
	Dir string
	// Mode is what ModeDefault of a log, and a table's Put, mean; default ModeGroup.
	Mode store.Mode
	// SegmentBytes is the largest segment of a log; default 64 MiB.
	SegmentBytes int64
	// RecycleBytes bounds the files of dropped segments kept for reuse; default
	// 512 MiB. Negative keeps none.
	RecycleBytes int64
	// MaxBatchBytes bounds one record batch; default 256 MiB.
	MaxBatchBytes int
	// MaxOpenSegments bounds the synced segments that stay mapped; default 16,384,
	// or seven eighths of LimitOpenFiles if that is less.
	MaxOpenSegments int
	// LimitOpenFiles bounds the open files of all segments, unsynced and free ones
	// included; an append that needs one more has others flushed and closed first.
	// Default three fifths of what the system lets the process open, at most 30,000
	// because Linux lets a process have some 65,000 mappings.
	LimitOpenFiles int
	// FlushInterval is how often everything dirty is flushed in any mode; default 1 s.
	FlushInterval time.Duration
	// SweepInterval is how often retention by age and bytes is applied; default 5 s.
	SweepInterval time.Duration
	// FS is the file system; default the real one.
	FS fs.FS
	// Logger gets faults and recovery; default slog.Default.
	Logger *slog.Logger
	// Now is the clock for retention; default time.Now.
	Now func() time.Time
	// BootID tells one run of the machine from another; default the kernel's. While
	// it stays the same, what a process wrote is taken to have survived it.
	BootID string
	// Gap makes every append leave that many offsets unused behind it. It is for
	// tests: nothing above the store may assume dense offsets.
	Gap int32
}

// withDefaults fills in what was left out, or says what can't be.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("open store: no data directory given")
	}
	o.Dir = strings.TrimRight(o.Dir, "/")
	if o.Dir == "" {
		o.Dir = "/"
	}
	if o.Mode == store.ModeDefault {
		o.Mode = store.ModeGroup
	}
	if o.Mode > store.ModeAlways {
		return o, fmt.Errorf("open store: unknown durability mode %d", o.Mode)
	}
	def(&o.SegmentBytes, 64<<20)
	def(&o.RecycleBytes, 512<<20)
	def(&o.MaxBatchBytes, 256<<20)
	def(&o.LimitOpenFiles, min(max(fs.OpenFileLimit()*3/5, 64), 30_000))
	def(&o.MaxOpenSegments, min(16_384, max(o.LimitOpenFiles*7/8, 1)))
	def(&o.FlushInterval, time.Second)
	def(&o.SweepInterval, 5*time.Second)
	o.RecycleBytes = max(o.RecycleBytes, 0)
	if o.FS == nil {
		o.FS = fs.Real()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BootID == "" {
		o.BootID = bootID()
	}
	return o, nil
}

// def sets *v where it was left zero.
func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// bootID is the running kernel's. A system that has none gets another value in
// every process, which is safe: it reads as if the power had been cut.
func bootID() string {
	if runtime.GOOS == "linux" {
		if data, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
			return strings.TrimSpace(string(data))
		}
	}
	return fmt.Sprintf("%016x", rand.Uint64())
}

// bootHash is what cursor files keep of a boot id; never 0.
func bootHash(id string) uint64 { return max(xxhash.Sum64String(id), 1) }

// storeError turns errors of the file system into the store's.
func storeError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}
