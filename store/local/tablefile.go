package local

import (
	"errors"
	"fmt"
	"os"

	"github.com/leveret-mq/leveret/internal/fs"
)

// tableFile is one open table file and how far it is written.
type tableFile struct {
	file fs.File
	size int64  // where the next record goes
	tag  uint64 // of its header
}

// createTableFile makes an empty table file; revision is the last one given out before.
func createTableFile(fsys fs.FS, name string, revision uint64, createdMs int64) (*tableFile, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("create table file %s: %w", name, err)
	}
	f, err := fsys.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("create table file %s: %w", name, err)
	}
	t := &tableFile{file: f, tag: revision}
	if err := t.append(header{Magic: magicTable, Tag: revision, CreatedMs: createdMs}.appendTo(nil)); err != nil {
		return nil, errors.Join(fmt.Errorf("create table file %s: %w", name, err), f.Close())
	}
	return t, nil
}

// append writes the bytes at the end. After an error the file is as before: what
// was half written is cut off again.
func (t *tableFile) append(data []byte) error {
	if _, err := t.file.WriteAt(data, t.size); err != nil {
		if cut := t.file.Truncate(t.size); cut != nil {
			return &brokenError{fmt.Errorf("%w; and cutting the half-written record failed: %w", err, cut)}
		}
		return err
	}
	t.size += int64(len(data))
	return nil
}

// rollback cuts the last n bytes again.
func (t *tableFile) rollback(n int) error {
	t.size -= int64(n)
	if err := t.file.Truncate(t.size); err != nil {
		return &brokenError{err}
	}
	return nil
}

// brokenError marks a fault after which the state of a file is not known.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// readAll reads a whole file.
func readAll(f fs.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if size == 0 {
		return data, nil
	}
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("read %d of %d bytes: %w", n, size, err)
	}
	return data, nil
}

// readFile reads a whole file by name; fs.ErrNotExist when there is none.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	data, err := readAll(f)
	return data, errors.Join(err, f.Close())
}

// writeFile writes a whole file by a temporary one and a rename, so that a reader
// finds the old content or the new. With flush it also survives a power cut.
func writeFile(fsys fs.FS, dir, name string, data []byte, flush bool) error {
	temp, final := dir+"/"+name+".new", dir+"/"+name
	f, err := fsys.Open(temp, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err == nil && flush {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(temp))
	}
	if err := fsys.Rename(temp, final); err != nil {
		return err
	}
	if flush {
		return fsys.SyncDir(dir)
	}
	return nil
}
