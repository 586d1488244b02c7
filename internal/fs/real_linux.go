package fs

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocate reserves blocks; a full disk is ENOSPC here and not a fault later.
// File systems without fallocate get zeros written instead.
func allocate(f *os.File, sizeBytes int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, sizeBytes)
		switch err {
		case unix.EINTR:
			continue
		case unix.EOPNOTSUPP, unix.ENOSYS:
			return fillZeros(f, sizeBytes)
		}
		return err
	}
}

func dataSync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

func syncFS(d *os.File) error { return unix.Syncfs(int(d.Fd())) }

// resident asks mincore, in pieces so that the answer fits the stack.
func resident(b []byte) bool {
	var vec [256]byte
	for len(b) > 0 {
		n := min(len(b), len(vec)*PageBytes)
		pages := (n + PageBytes - 1) / PageBytes
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(n), uintptr(unsafe.Pointer(&vec[0])))
		if errno != 0 {
			return true
		}
		for _, v := range vec[:pages] {
			if v&1 == 0 {
				return false
			}
		}
		b = b[n:]
	}
	return true
}
