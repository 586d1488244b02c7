//go:build linux && race

package netx

import "syscall"

// The race detector has to see that what is read was written before: package syscall
// tells it so, and what bytes a call touches. All else of conn is as it runs without.

func readQuietly(fd uintptr, b []byte) (int, syscall.Errno) { return retried(syscall.Read, fd, b) }

func writeQuietly(fd uintptr, b []byte) (int, syscall.Errno) { return retried(syscall.Write, fd, b) }

// retried makes the call once more when a signal came first.
func retried(call func(int, []byte) (int, error), fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, err := call(int(fd), b)
		if err == nil {
			return n, 0
		}
		if errno := err.(syscall.Errno); errno != syscall.EINTR { // it has no other errors
			return 0, errno
		}
	}
}
