package local

import (
	"errors"
	"os"
	"sync"

	"github.com/leveret-mq/leveret/internal/fs"
)

// reserved is how many descriptors are kept for what must be written when there are no
// others left.
const reserved = 8

// reserve is a file system for the store's own files: cursors, tables, checkpoints, names of
// directories. When the process has no descriptor left, it opens them with one that it
// has kept open until then. The logs' segments do without: there are many of
// them, they stay open, and makeRoom closes some.
type reserve struct {
	fs.FS
	name string // a file to keep open

	mu   sync.Mutex // guards held
	held []fs.File
}

// Open opens a file, with a descriptor of the reserve if there is no other.
func (r *reserve) Open(name string, flag int) (fs.File, error) {
	f, err := r.FS.Open(name, flag)
	for fs.OutOfFiles(err) && r.give() {
		f, err = r.FS.Open(name, flag)
	}
	return f, err
}

// SyncDir opens the directory too.
func (r *reserve) SyncDir(dir string) error {
	err := r.FS.SyncDir(dir)
	for fs.OutOfFiles(err) && r.give() {
		err = r.FS.SyncDir(dir)
	}
	return err
}

// give closes one of the descriptors that are kept.
func (r *reserve) give() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.held)
	if n == 0 {
		return false
	}
	f := r.held[n-1]
	r.held = r.held[:n-1]
	return f.Close() == nil
}

// fill opens again what was given, as far as that is possible now.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.held) < reserved {
		f, err := r.FS.Open(r.name, os.O_RDONLY)
		if err != nil {
			return
		}
		r.held = append(r.held, f)
	}
}

func (r *reserve) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, f := range r.held {
		errs = append(errs, f.Close())
	}
	r.held = nil
	return errors.Join(errs...)
}
