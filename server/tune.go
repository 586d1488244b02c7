package server

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// gcPercent is how far the heap may grow between two collections when GOGC says
// nothing. Messages lie in mappings, so the heap is a few MiB of connections and
// names: a collection is cheap, but at Go's default there would be one for every
// 4 MiB allocated.
const gcPercent = 200

// memoryShare is the part of a container's memory that the heap may take when
// GOMEMLIMIT and the watermark say nothing; the rest is for the pages of the logs.
const memoryShare = 0.6

// collectBelow is the part of the watermark at which the collector works harder, so
// that garbage alone raises no alarm.
const collectBelow = 0.9

// tuneMemory sets the collector. GOGC and GOMEMLIMIT in the environment win.
func tuneMemory(watermark int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if watermark > 0 {
		debug.SetMemoryLimit(int64(float64(watermark) * collectBelow))
	} else if limit := containerLimit(os.ReadFile); limit > 0 {
		debug.SetMemoryLimit(int64(float64(limit) * memoryShare))
	} else {
		debug.SetMemoryLimit(math.MaxInt64)
	}
}

// giveBack gives the system what only the start needed: the hash of one password takes
// 19 MiB, which an idle broker would keep for minutes, as it has nothing to collect.
func (s *Server) giveBack() {
	s.access.AwaitFirst()
	debug.FreeOSMemory()
}

// Bounds of what requests may take when the configuration says nothing.
const (
	requestShare = 4 // of the memory, one part in so many
	minRequests  = 64 << 20
	maxRequests  = 4 << 30
)

// requestMemory is what requests may take: what was set, else a part of memory.
func requestMemory(set, memory int64) int64 {
	if set != 0 {
		return set
	}
	return min(max(memory/requestShare, minRequests), maxRequests)
}

// Bounds of what unfinished messages may take on disk when the configuration says nothing.
const (
	scratchShare   = 4 // of the disk, one part in so many
	maxScratch     = 16 << 30
	unknownScratch = 1 << 30 // where the disk's size can't be told
)

// requestDisk is what unfinished messages may take: what was set, else a part of the disk.
func requestDisk(set int64, disk uint64) int64 {
	if set != 0 {
		return set
	}
	if disk == 0 {
		return unknownScratch
	}
	return int64(min(disk/scratchShare, maxScratch))
}

// memoryBytes is the memory of the container, or of the machine; 0 when neither
// can be told.
func memoryBytes() int64 {
	if limit := containerLimit(os.ReadFile); limit > 0 {
		return limit
	}
	return machineMemory()
}

// containerLimit is the memory limit of the control group in bytes, or 0 when
// there is none.
func containerLimit(readFile func(string) ([]byte, error)) int64 {
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		raw, err := readFile(name)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
		// The older interface says "no limit" by a number close to the largest.
		if err == nil && n > 0 && n < math.MaxInt64/2 {
			return n
		}
	}
	return 0
}
