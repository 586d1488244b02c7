package local

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/leveret-mq/leveret/internal/fs"
)

// scratchPrefix begins the names of scratch files, for the moment that they have one.
const scratchPrefix = "scratch-"

// Scratch opens an empty file on the file system of the data. It has no name by the
// time that it is returned, so its space is free when it is closed or the process
// ends; one that a crash left in between is wiped with the transient logs.
func (s *Store) Scratch() (fs.File, error) {
	f, err := s.scratchFile()
	if err != nil {
		return nil, storeError(err)
	}
	return scratch{f, s}, nil
}

// scratch is a scratch file that takes what files kept for reuse take.
type scratch struct {
	fs.File
	s *Store
}

// WriteAt writes, on a full disk again without the files kept for reuse.
func (f scratch) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	if errors.Is(err, syscall.ENOSPC) && f.s.pool.Shed() {
		n, err = f.File.WriteAt(b, at)
	}
	if err != nil {
		err = storeError(err)
	}
	return n, err
}

// probeBytes is what must fit the disk for it to be well: enough for a log's next
// segments, so that the next message does not find it full again.
const probeBytes = 4 << 20

// Probe fails while the disk takes no message of ordinary size: it takes space and
// gives it back. As an append does, it lets go of files kept for reuse before it
// finds the disk full.
func (s *Store) Probe() error {
	f, err := s.scratchFile()
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Allocate(probeBytes)
	if errors.Is(err, syscall.ENOSPC) && s.pool.Shed() {
		err = f.Allocate(probeBytes)
	}
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("room"), probeBytes-4); err != nil {
		return err
	}
	return f.Sync()
}

func (s *Store) scratchFile() (fs.File, error) {
	dir := s.dir + "/" + transientName
	if err := s.fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make a scratch file: %w", err)
	}
	name := dir + "/" + scratchPrefix + strconv.FormatUint(s.scratches.Add(1), 10)
	f, err := s.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("make a scratch file: %w", err)
	}
	if err := s.fs.Remove(name); err != nil {
		return nil, errors.Join(fmt.Errorf("make a scratch file: %w", err), f.Close())
	}
	return f, nil
}
