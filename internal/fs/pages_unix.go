//go:build unix

package fs

import "golang.org/x/sys/unix"

// Pages makes memory of the system's own, all zero, which the collector neither counts nor looks into: nothing in it may be a pointer.
// free gives it back at once, and nobody may touch it from then on. Without any it is the heap's.
func Pages(bytes int) (memory []byte, free func()) {
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, bytes), func() {}
	}
	return b, func() { _ = unix.Munmap(b) } // of what was mapped; there is nothing that could fail
}
