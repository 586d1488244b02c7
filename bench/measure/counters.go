package measure

import "time"

// machineCounters are the whole machine's, since it started.
type machineCounters struct {
	busy         time.Duration // of all processors, without steal
	steal        time.Duration // when a processor was wanted and the hypervisor had it
	swappedPages int64         // in and out
}

// processCounters are one process's, since it started.
type processCounters struct {
	written                int64 // bytes sent towards a disk, pages made dirty through a mapping included
	voluntary, involuntary int64 // switches of the threads that are there
	throttled              time.Duration
}

// Device is the disk that a directory is on.
type Device struct {
	Name       string // as the kernel calls it
	FileSystem string // its type
}

// DeviceCounters is what a disk has done, for whomever.
type DeviceCounters struct {
	WrittenBytes int64
	Flushes      int64 // flushes of its cache: what fsync, fdatasync and msync end in
}

// Sub is what the disk did since earlier.
func (c DeviceCounters) Sub(earlier DeviceCounters) DeviceCounters {
	return DeviceCounters{c.WrittenBytes - earlier.WrittenBytes, c.Flushes - earlier.Flushes}
}
