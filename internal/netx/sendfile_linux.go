package netx

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// sendFile has the kernel send the bytes of a file that stand at a position, n of them, by reference to where it keeps them. It
// returns how many it sent, and why not all. What can't be read is EFAULT, as in a vectored write.
func (c *conn) sendFile(fd uintptr, at int64, n int) (sent int, err error) {
	wait := c.raw.Write(func(socket uintptr) (done bool) {
		for sent < n {
			k, errno := unix.Sendfile(int(socket), int(fd), &at, n-sent) // told to the scheduler: it may wait for a disk
			switch {
			case errno == unix.EAGAIN:
				return false
			case errno == unix.EINTR:
			case errno == unix.EIO, errno == nil && k == 0: // the disk failed; the file is shorter than it was
				err = syscall.EFAULT
				return true
			case errno != nil:
				err = errno
				return true
			default:
				sent += k
			}
		}
		return true
	})
	if err == nil {
		err = wait
	}
	if err != nil {
		err = c.opError("sendfile", err)
	}
	return sent, err
}

// cork has the kernel wait with what does not fill a packet until it is uncorked.
func (c *conn) cork(on bool) error {
	v := 0
	if on {
		v = 1
	}
	var err error
	if e := c.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, v) }); e != nil {
		err = e
	}
	return err
}
