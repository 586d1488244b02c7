package fs

import (
	"io"
	"os"
	"syscall"
	"time"
)

// memFile is an open file of a Mem.
type memFile struct {
	m        *Mem
	n        *node
	name     string
	readOnly bool
	closed   bool
}

func (f *memFile) check(op string, write bool) error {
	if f.closed {
		return pathError(op, f.name, os.ErrClosed)
	}
	if write && f.readOnly {
		return pathError(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if at < 0 || at >= int64(len(f.n.content)) {
		return 0, io.EOF
	}
	n := min(len(b), len(f.n.content)-int(at))
	copyRacing(b[:n], f.n.content[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) ReadOnce(b []byte, at int64) (int, error) { return f.ReadAt(b, at) }

func (f *memFile) WriteAt(b []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if err := f.grow(at + int64(len(b))); err != nil {
		return 0, pathError("write", f.name, err)
	}
	f.n.modified = time.Now()
	return copy(f.n.content[at:], b), nil
}

// grow makes the content at least size long, zeros behind. The caller holds mu.
func (f *memFile) grow(size int64) error {
	old := int64(len(f.n.content))
	if size <= old {
		return nil
	}
	if c := f.m.capacity; c > 0 && f.m.used()+size-old > c {
		return syscall.ENOSPC
	}
	if size > int64(cap(f.n.content)) {
		if f.n.mapped > 0 {
			return syscall.EBUSY // Mem cannot move what is mapped
		}
		grown := make([]byte, old, max(size, 2*old))
		copy(grown, f.n.content)
		f.n.content = grown
	}
	f.n.content = f.n.content[:size]
	clear(f.n.content[old:])
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.content)), f.check("size", false)
}

func (f *memFile) Allocate(sizeBytes int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("allocate", true); err != nil {
		return err
	}
	if err := f.grow(sizeBytes); err != nil {
		return pathError("allocate", f.name, err)
	}
	return nil
}

func (f *memFile) Truncate(sizeBytes int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if sizeBytes <= int64(len(f.n.content)) {
		f.n.content = f.n.content[:sizeBytes]
		return nil
	}
	if err := f.grow(sizeBytes); err != nil {
		return pathError("truncate", f.name, err)
	}
	return nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.n.sync()
	return nil
}

func (f *memFile) Map(sizeBytes int64) (Mapping, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("map", true); err != nil {
		return nil, err
	}
	if sizeBytes > int64(len(f.n.content)) {
		return nil, pathError("map", f.name, syscall.EINVAL)
	}
	f.n.mapped++
	return &memMapping{m: f.m, n: f.n, bytes: f.n.content[:sizeBytes:sizeBytes]}, nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.check("close", false)
	f.closed = true
	return err
}

// memMapping shares the file's live bytes.
type memMapping struct {
	m     *Mem
	n     *node
	bytes []byte
}

func (p *memMapping) Bytes() []byte { return p.bytes }

func (p *memMapping) Resident(from, to int64) bool { return !p.m.evicted.Load() }

func (p *memMapping) Close() error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.bytes = nil
	p.n.mapped--
	return nil
}
