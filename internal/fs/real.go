package fs

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Real returns the operating system's file system.
func Real() FS { return realFS{} }

type realFS struct{}

func (realFS) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o750) }
func (realFS) Remove(name string) error     { return remove(name) }
func (realFS) RemoveAll(dir string) error   { return os.RemoveAll(dir) }
func (realFS) Rename(from, to string) error { return rename(from, to) }

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

func (realFS) SyncDir(dir string) error { return syncDir(dir) }

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
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

func (realFS) Open(name string, flag int) (File, error) {
	f, err := open(name, flag)
	if err != nil {
		return nil, err
	}
	return realFile{f}, nil
}

func (realFS) Usage(dir string) (free, total uint64, err error) { return usage(dir) }

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
	m, err := mapFile(f.File, sizeBytes)
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	return m, nil
}

// residentIn asks about the pages that hold [from, to) of a mapping.
func residentIn(b []byte, from, to int64) bool {
	from &^= PageBytes - 1
	to = min(to, int64(len(b)))
	return from >= to || resident(b[from:to])
}
