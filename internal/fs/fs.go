package fs

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// PageBytes is the unit in which a crash keeps or loses what was not synced,
// and in which residency is told.
const PageBytes = 4096

// ErrLocked is returned by Lock when another holder has the lock.
var ErrLocked = errors.New("already locked")

// OutOfFiles reports whether an error says that the process or the system has no
// descriptor left. Such an error comes before anything was written or flushed, and
// goes away when something is closed.
func OutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Info describes a file or a directory.
type Info struct {
	SizeBytes int64     // length of the file
	Modified  time.Time // last change of the content
	Dir       bool      // a directory
}

// FS is a file system. All names are paths in the host's form. Methods are safe
// for concurrent use. Errors of missing files satisfy errors.Is(err,
// os.ErrNotExist), those of a full disk errors.Is(err, syscall.ENOSPC).
type FS interface {
	// MkdirAll makes a directory and what is missing above it.
	MkdirAll(dir string) error
	// ReadDir returns the names (not paths) in a directory, sorted.
	ReadDir(dir string) ([]string, error)
	// Remove deletes one file or one empty directory. Mappings of it stay valid.
	Remove(name string) error
	// RemoveAll deletes a directory with all below it; a missing one is no error.
	RemoveAll(dir string) error
	// Rename moves a file, replacing what has the new name.
	Rename(from, to string) error
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(dir string) error
	// SyncAll makes everything on the file system that holds dir durable.
	SyncAll(dir string) error
	// Stat describes a file or directory.
	Stat(name string) (Info, error)
	// Lock takes an exclusive lock that ends with Close or with the process.
	Lock(name string) (io.Closer, error)
	// Open opens a file; flag is made of os.O_RDONLY, os.O_RDWR, os.O_CREATE,
	// os.O_EXCL and os.O_TRUNC.
	Open(name string, flag int) (File, error)
	// Usage tells the free and total bytes of the file system that holds dir.
	Usage(dir string) (free, total uint64, err error)
}

// File is an open file. Methods are safe for concurrent use, Close excepted.
type File interface {
	io.ReaderAt
	io.WriterAt
	// ReadOnce is ReadAt of what will hardly be read again soon. Where the system can,
	// pages that come into memory for it alone go again; those that were there, or
	// that anybody else reads or maps meanwhile, stay.
	ReadOnce(b []byte, at int64) (n int, err error)
	// Size returns the length in bytes.
	Size() (int64, error)
	// Allocate makes sure that the first sizeBytes are on disk, so that later
	// writes there cannot meet a full disk, and grows the length to it. It never
	// shrinks. New space reads as zero.
	Allocate(sizeBytes int64) error
	// Truncate sets the length.
	Truncate(sizeBytes int64) error
	// Sync makes content and length durable (fdatasync).
	Sync() error
	// Map maps the first sizeBytes, shared and writable. The mapping may outlive
	// the file and its name.
	Map(sizeBytes int64) (Mapping, error)
	Close() error
}

// Mapping is a range of a file as memory. Its bytes and those of the file are
// the same: what WriteAt stores is seen at once. Every touch of them runs under a
// guard of package fault.
type Mapping interface {
	// Bytes is the mapped range, valid until Close.
	Bytes() []byte
	// Resident reports whether every page of [from, to) is in memory now. It is
	// a hint: a system that cannot tell says yes.
	Resident(from, to int64) bool
	Close() error
}
