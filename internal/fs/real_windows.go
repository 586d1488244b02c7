package fs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// OpenFileLimit is how many files this process may have open at a time. Windows has no such
// limit on handles; this one keeps what they cost in bounds.
func OpenFileLimit() int { return 16 << 10 }

const shareAll = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE

// open opens so that others may rename and remove the file meanwhile, as everywhere else:
// Go's own OpenFile does not ask for that.
func open(name string, flag int) (*os.File, error) {
	fail := func(err error) (*os.File, error) { return nil, &os.PathError{Op: "open", Path: name, Err: err} }
	long, err := longName(name)
	if err != nil {
		return fail(err)
	}
	access := uint32(windows.GENERIC_READ)
	if flag&os.O_RDWR != 0 {
		access |= windows.GENERIC_WRITE
	}
	create := uint32(windows.OPEN_EXISTING)
	switch {
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		create = windows.CREATE_NEW
	case flag&(os.O_CREATE|os.O_TRUNC) == os.O_CREATE|os.O_TRUNC:
		create = windows.CREATE_ALWAYS
	case flag&os.O_CREATE != 0:
		create = windows.OPEN_ALWAYS
	case flag&os.O_TRUNC != 0:
		create = windows.TRUNCATE_EXISTING
	}
	h, err := windows.CreateFile(long, access, shareAll, nil, create, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return fail(err)
	}
	return os.NewFile(uintptr(h), name), nil
}

// longName is a name as the system takes it beyond 260 characters.
func longName(name string) (*uint16, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if len(path) >= windows.MAX_PATH-12 && !strings.HasPrefix(path, `\\`) {
		path = `\\?\` + path
	}
	return windows.UTF16PtrFromString(path)
}

// mapped are the files that have mappings, by their full names: Windows does not remove such a
// file, so that its name goes with its last mapping.
var mapped = struct {
	sync.Mutex
	files map[string]*mappedFile
}{files: make(map[string]*mappedFile)}

type mappedFile struct {
	mappings int
	removed  bool
}

func remove(name string) error {
	err := os.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, abs := filepath.Abs(name)
	if abs != nil {
		return err
	}
	mapped.Lock()
	defer mapped.Unlock()
	if f := mapped.files[key]; f != nil {
		f.removed = true
		return nil
	}
	return err
}

// rename is os.Rename, and goes on where that gives up: when somebody has the file open whose
// name is taken.
func rename(from, to string) error {
	err := os.Rename(from, to)
	if err == nil || errors.Is(err, fs.ErrNotExist) || replace(from, to) != nil {
		return err
	}
	return nil
}

// replace renames with the semantics of POSIX: who has the replaced file open keeps it.
func replace(from, to string) error {
	const renameInfoEx, overwrite, posix = 22, 1, 2 // FileRenameInfoEx and its flags
	old, err := longName(from)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	name, err := windows.UTF16FromString(path)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(old, windows.DELETE|windows.SYNCHRONIZE, shareAll, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return err
	}
	type info struct { // FILE_RENAME_INFO
		flags  uint32
		root   windows.Handle
		length uint32
		name   [1]uint16
	}
	words := make([]uint64, (unsafe.Sizeof(info{})+uintptr(2*len(name)))/8+1) // aligned
	to16 := (*info)(unsafe.Pointer(&words[0]))
	to16.flags, to16.length = overwrite|posix, uint32(2*(len(name)-1))
	copy(unsafe.Slice(&to16.name[0], len(name)), name)
	err = windows.SetFileInformationByHandle(h, renameInfoEx, (*byte)(unsafe.Pointer(&words[0])), uint32(8*len(words)))
	return errors.Join(err, windows.CloseHandle(h))
}

// syncDir does nothing: NTFS journals names, and a folder can't be flushed without rights over
// the whole volume. A missing one is an error, as everywhere.
func syncDir(dir string) error {
	_, err := os.Stat(dir)
	return err
}

func syncFS(*os.File) error                                { return nil } // each file was flushed by itself
func dataSync(f *os.File) error                            { return f.Sync() }
func allocate(f *os.File, sizeBytes int64) error           { return full(fillZeros(f, sizeBytes)) }
func resident([]byte) bool                                 { return true }
func readOnce(f *os.File, b []byte, at int64) (int, error) { return f.ReadAt(b, at) }

// WriteAt implements io.WriterAt.
func (f realFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	return n, full(err)
}

// full has an error of a full disk say so in the word of all systems.
func full(err error) error {
	if errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) {
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}

func lock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}

func usage(dir string) (free, total uint64, err error) {
	name, err := longName(dir)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(name, &free, &total, nil)
	}
	if err != nil {
		return 0, 0, &os.PathError{Op: "usage", Path: dir, Err: err}
	}
	return free, total, nil
}

func mapFile(f *os.File, sizeBytes int64) (Mapping, error) {
	key, err := filepath.Abs(f.Name())
	if err != nil {
		return nil, err
	}
	section, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READWRITE, uint32(sizeBytes>>32), uint32(sizeBytes), nil)
	if err != nil {
		return nil, err
	}
	at, err := windows.MapViewOfFile(section, windows.FILE_MAP_READ|windows.FILE_MAP_WRITE, 0, 0, uintptr(sizeBytes))
	err = errors.Join(err, windows.CloseHandle(section)) // the view keeps it
	if at == 0 {
		return nil, err
	}
	mapped.Lock()
	defer mapped.Unlock()
	file := mapped.files[key]
	if file == nil {
		file = &mappedFile{}
		mapped.files[key] = file
	}
	file.mappings++
	return &realMapping{bytes: unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), sizeBytes), at: at, name: key, file: file}, nil
}

type realMapping struct {
	bytes []byte
	at    uintptr
	name  string
	file  *mappedFile
}

func (m *realMapping) Bytes() []byte                { return m.bytes }
func (m *realMapping) Resident(from, to int64) bool { return residentIn(m.bytes, from, to) }

func (m *realMapping) Close() error {
	m.bytes = nil
	err := windows.UnmapViewOfFile(m.at)
	mapped.Lock()
	defer mapped.Unlock()
	if m.file.mappings--; m.file.mappings > 0 {
		return err
	}
	delete(mapped.files, m.name)
	if m.file.removed {
		err = errors.Join(err, os.Remove(m.name))
	}
	return err
}
