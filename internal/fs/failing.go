package fs

import "io"

// Op names an operation for a Failing file system's hook.
type Op string

// The operations that can be made to fail.
const (
	OpMkdir     Op = "mkdir"
	OpReadDir   Op = "readdir"
	OpRemove    Op = "remove"
	OpRename    Op = "rename"
	OpSyncDir   Op = "syncdir"
	OpSyncAll   Op = "syncall"
	OpStat      Op = "stat"
	OpLock      Op = "lock"
	OpOpen      Op = "open"
	OpRead      Op = "read"
	OpWrite     Op = "write"
	OpAllocate  Op = "allocate"
	OpTruncate  Op = "truncate"
	OpSync      Op = "sync"
	OpMap       Op = "map"
	OpFreeSpace Op = "usage"
)

// Failing returns a file system that asks hook before each operation and fails
// with its error, if there is one, instead of doing it. The hook runs on the
// caller's goroutine and may be called by several at once.
func Failing(f FS, hook func(op Op, name string) error) FS { return failingFS{f, hook} }

type failingFS struct {
	fs   FS
	hook func(op Op, name string) error
}

func (f failingFS) MkdirAll(dir string) error {
	return f.do(OpMkdir, dir, func() error { return f.fs.MkdirAll(dir) })
}

func (f failingFS) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.fs.Remove(name) })
}

func (f failingFS) RemoveAll(dir string) error {
	return f.do(OpRemove, dir, func() error { return f.fs.RemoveAll(dir) })
}

func (f failingFS) Rename(from, to string) error {
	return f.do(OpRename, to, func() error { return f.fs.Rename(from, to) })
}

func (f failingFS) SyncDir(dir string) error {
	return f.do(OpSyncDir, dir, func() error { return f.fs.SyncDir(dir) })
}

func (f failingFS) SyncAll(dir string) error {
	return f.do(OpSyncAll, dir, func() error { return f.fs.SyncAll(dir) })
}

func (f failingFS) do(op Op, name string, run func() error) error {
	if err := f.hook(op, name); err != nil {
		return pathError(string(op), name, err)
	}
	return run()
}

func (f failingFS) ReadDir(dir string) ([]string, error) {
	if err := f.hook(OpReadDir, dir); err != nil {
		return nil, pathError(string(OpReadDir), dir, err)
	}
	return f.fs.ReadDir(dir)
}

func (f failingFS) Stat(name string) (Info, error) {
	if err := f.hook(OpStat, name); err != nil {
		return Info{}, pathError(string(OpStat), name, err)
	}
	return f.fs.Stat(name)
}

func (f failingFS) Lock(name string) (io.Closer, error) {
	if err := f.hook(OpLock, name); err != nil {
		return nil, pathError(string(OpLock), name, err)
	}
	return f.fs.Lock(name)
}

func (f failingFS) Open(name string, flag int) (File, error) {
	if err := f.hook(OpOpen, name); err != nil {
		return nil, pathError(string(OpOpen), name, err)
	}
	file, err := f.fs.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return failingFile{file, name, f}, nil
}

func (f failingFS) Usage(dir string) (free, total uint64, err error) {
	if err := f.hook(OpFreeSpace, dir); err != nil {
		return 0, 0, pathError(string(OpFreeSpace), dir, err)
	}
	return f.fs.Usage(dir)
}

type failingFile struct {
	File
	name string
	fs   failingFS
}

func (f failingFile) ReadAt(b []byte, at int64) (n int, err error) {
	err = f.fs.do(OpRead, f.name, func() error { n, err = f.File.ReadAt(b, at); return err })
	return n, err
}

func (f failingFile) ReadOnce(b []byte, at int64) (n int, err error) {
	err = f.fs.do(OpRead, f.name, func() error { n, err = f.File.ReadOnce(b, at); return err })
	return n, err
}

func (f failingFile) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.fs.do(OpWrite, f.name, func() error { n, err = f.File.WriteAt(b, at); return err })
	return n, err
}

func (f failingFile) Allocate(sizeBytes int64) error {
	return f.fs.do(OpAllocate, f.name, func() error { return f.File.Allocate(sizeBytes) })
}

func (f failingFile) Truncate(sizeBytes int64) error {
	return f.fs.do(OpTruncate, f.name, func() error { return f.File.Truncate(sizeBytes) })
}

func (f failingFile) Sync() error {
	return f.fs.do(OpSync, f.name, f.File.Sync)
}

func (f failingFile) Map(sizeBytes int64) (m Mapping, err error) {
	err = f.fs.do(OpMap, f.name, func() error { m, err = f.File.Map(sizeBytes); return err })
	return m, err
}
