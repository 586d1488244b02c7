//go:build linux && !race

package netx

import (
	"syscall"
	"unsafe"
)

// readQuietly is read(2) without a word to the scheduler.
func readQuietly(fd uintptr, b []byte) (int, syscall.Errno) { return transfer(syscall.SYS_READ, fd, b) }

// writeQuietly is write(2) without a word to the scheduler.
func writeQuietly(fd uintptr, b []byte) (int, syscall.Errno) {
	return transfer(syscall.SYS_WRITE, fd, b)
}

// transfer is one of both, again when a signal came first.
func transfer(trap, fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
