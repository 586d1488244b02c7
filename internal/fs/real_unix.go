//go:build unix

package fs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OpenFileLimit is how many files this process may have open at a time, sockets
// included.
func OpenFileLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	return int(min(uint64(r.Cur), 1<<30))
}

func open(name string, flag int) (*os.File, error) { return os.OpenFile(name, flag, 0o640) }
func remove(name string) error                     { return os.Remove(name) }
func rename(from, to string) error                 { return os.Rename(from, to) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func usage(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := uint64(st.Bsize)
	return st.Bavail * block, st.Blocks * block, nil
}

func mapFile(f *os.File, sizeBytes int64) (Mapping, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, int(sizeBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &realMapping{bytes: b}, nil
}

type realMapping struct{ bytes []byte }

func (m *realMapping) Bytes() []byte                { return m.bytes }
func (m *realMapping) Resident(from, to int64) bool { return residentIn(m.bytes, from, to) }

func (m *realMapping) Close() error {
	b := m.bytes
	m.bytes = nil
	return unix.Munmap(b)
}
