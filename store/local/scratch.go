package local

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/leveret-mq/leveret/internal/fs"
)

// scratchPrefix begins the names of scratch files, for the moment that they have one.
const scratchPrefix = "scratch-"

// Scratch opens an empty file on the file system of the data. It has no name by the
// time that it is returned, so its space is free when it is closed or the process
// ends; one that a crash left in between is wiped with the transient logs.
func (s *Store) Scratch() (fs.File, error) {
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
