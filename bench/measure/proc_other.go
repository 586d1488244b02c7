//go:build !linux

package measure

// CPUOf is not available on this system.
func CPUOf(int) (CPU, error) { return CPU{}, ErrUnsupported }

// SelfCPU is not available on this system.
func SelfCPU() CPU { return CPU{} }

// MemoryOf is not available on this system.
func MemoryOf(int) (Memory, error) { return Memory{}, ErrUnsupported }

func resetPeak(int) error { return ErrUnsupported }

func machineNow() machineCounters { return machineCounters{} }

func processNow(int) processCounters { return processCounters{} }

// DeviceOf is not available on this system.
func DeviceOf(string) (Device, error) { return Device{}, ErrUnsupported }

// Counters is not available on this system.
func (Device) Counters() (DeviceCounters, error) { return DeviceCounters{}, ErrUnsupported }

// FindListener is not available on this system.
func FindListener(string) (int, error) { return 0, ErrUnsupported }

// ProcessName is not available on this system.
func ProcessName(int) string { return "" }

// Disk is what each file below a directory occupies.
type Disk map[string]int64

// DiskOf is not available on this system.
func DiskOf(string) (Disk, error) { return nil, ErrUnsupported }

// FlushDisks has nothing to do on this system.
func FlushDisks() {}

// FileLimit is not available on this system.
func FileLimit(int) int64 { return 0 }
