package fs

import (
	"os"
	"runtime"
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

// readOnce reads with RWF_DONTCACHE, which kernels from 6.14 on have for the file
// systems that support it. The others refuse at once, and it is an ordinary read.
func readOnce(f *os.File, b []byte, at int64) (n int, err error) {
	defer runtime.KeepAlive(f)
	fd := int(f.Fd())
	for n < len(b) {
		k, err := unix.Preadv2(fd, [][]byte{b[n:]}, at+int64(n), unix.RWF_DONTCACHE)
		switch {
		case err == unix.EINTR:
		case err != nil, k == 0: // let ReadAt tell what it is
			k, err := f.ReadAt(b[n:], at+int64(n))
			return n + k, err
		default:
			n += k
		}
	}
	return n, nil
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
