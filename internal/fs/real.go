//go:build unix

package fs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Real returns the operating system's file system.
func Real() FS { return realFS{} }

// OpenFileLimit is how many files this process may have open at a time, sockets
// included.
func OpenFileLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	return int(min(uint64(r.Cur), 1<<30))
}

type realFS struct{}

func (realFS) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o750) }
func (realFS) Remove(name string) error     { return os.Remove(name) }
func (realFS) RemoveAll(dir string) error   { return os.RemoveAll(dir) }
func (realFS) Rename(from, to string) error { return os.Rename(from, to) }

func (realFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (realFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (realFS) SyncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncFS(d), d.Close())
}

func (realFS) Stat(name string) (Info, error) {
	st, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{SizeBytes: st.Size(), Modified: st.ModTime(), Dir: st.IsDir()}, nil
}

func (realFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

func (realFS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o640)
	if err != nil {
		return nil, err
	}
	return realFile{f}, nil
}

func (realFS) Usage(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := uint64(st.Bsize)
	return st.Bavail * block, st.Blocks * block, nil
}

// realFile is an *os.File with the storage engine's extra verbs.
type realFile struct{ *os.File }

func (f realFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f realFile) ReadOnce(b []byte, at int64) (int, error) { return readOnce(f.File, b, at) }

func (f realFile) Allocate(sizeBytes int64) error {
	if err := allocate(f.File, sizeBytes); err != nil {
		return &os.PathError{Op: "allocate", Path: f.Name(), Err: err}
	}
	return nil
}

func (f realFile) Sync() error {
	if err := dataSync(f.File); err != nil {
		return &os.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f realFile) Map(sizeBytes int64) (Mapping, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, int(sizeBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	return &realMapping{bytes: b}, nil
}

type realMapping struct{ bytes []byte }

func (m *realMapping) Bytes() []byte { return m.bytes }

func (m *realMapping) Resident(from, to int64) bool {
	from &^= PageBytes - 1
	to = min(to, int64(len(m.bytes)))
	return from >= to || resident(m.bytes[from:to])
}

func (m *realMapping) Close() error {
	b := m.bytes
	m.bytes = nil
	return unix.Munmap(b)
}
