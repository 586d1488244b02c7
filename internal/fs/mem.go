package fs

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Mem is a file system in memory. Content is durable once its file was synced,
// a name once its directory was; Crash gives what a power cut would leave.
//
// Names are more orderly than POSIX promises and no more than journaling file
// systems do: changes of names reach the disk in their order, except that
// SyncDir brings forward what its directory needs.
type Mem struct {
	mu       sync.Mutex // guards all below, and the fields of nodes
	rng      *rand.Rand
	live     map[string]*node // files and directories by clean path
	durable  map[string]*node
	journal  []nameChange // made in live, not yet in durable
	locks    map[string]bool
	capacity int64 // bytes that Allocate and WriteAt may have in all files; 0 is no limit

	evicted atomic.Bool
}

// node is one file or directory.
type node struct {
	dir      bool
	content  []byte // live bytes; its array never moves while mapped
	synced   []byte // what is durable of it
	mapped   int
	modified time.Time
}

// nameChange is one change of the tree of names.
type nameChange struct {
	from, to string // from == "" creates, to == "" removes, both set renames
	node     *node
}

func (c nameChange) touches(dir string) bool {
	return c.from != "" && path.Dir(c.from) == dir || c.to != "" && path.Dir(c.to) == dir
}

func (c nameChange) apply(tree map[string]*node) {
	if c.from != "" {
		delete(tree, c.from)
	}
	if c.to != "" {
		tree[c.to] = c.node
	}
}

// NewMem returns an empty file system. seed drives Writeback.
func NewMem(seed uint64) *Mem {
	root := &node{dir: true}
	return &Mem{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		live:    map[string]*node{"/": root, ".": root},
		durable: map[string]*node{"/": root, ".": root},
		locks:   make(map[string]bool),
	}
}

// SetCapacity limits the bytes of all files together; more is ENOSPC.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Evict has mappings tell that none of their pages is in memory, or again that
// all are.
func (m *Mem) Evict(yes bool) { m.evicted.Store(yes) }

// Crash returns the file system as after a power cut at this moment: what was
// synced, a random prefix of the other changes of names, and a random choice of
// the other pages. The original lives on.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem(rng.Uint64())
	c.capacity = m.capacity
	c.evicted.Store(m.evicted.Load())
	tree := make(map[string]*node, len(m.durable))
	for name, n := range m.durable {
		tree[name] = n
	}
	for _, change := range m.journal[:rng.IntN(len(m.journal)+1)] {
		change.apply(tree)
	}
	names := make([]string, 0, len(tree))
	for name := range tree {
		names = append(names, name)
	}
	slices.Sort(names) // the same seed gives the same crash
	for _, name := range names {
		if !c.hasParent(tree, name) {
			continue
		}
		n := &node{dir: tree[name].dir, modified: tree[name].modified}
		if !n.dir {
			n.content = tree[name].afterCrash(rng)
			n.synced = slices.Clone(n.content)
		}
		c.live[name], c.durable[name] = n, n
	}
	return c
}

// Kill returns the file system as the next process finds it when this one is killed: all that was written. The original lives on.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := NewMem(m.rng.Uint64())
	k.capacity = m.capacity
	k.evicted.Store(m.evicted.Load())
	for name, of := range m.live {
		n := &node{dir: of.dir, modified: of.modified}
		if !n.dir {
			n.content = make([]byte, len(of.content))
			copyRacing(n.content, of.content)
			n.synced = slices.Clone(n.content) // what a power cut later on takes of it is not tried
		}
		k.live[name], k.durable[name] = n, n
	}
	return k
}

func (m *Mem) hasParent(tree map[string]*node, name string) bool {
	for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
		if n := tree[dir]; n == nil || !n.dir {
			return false
		}
	}
	return true
}

// afterCrash mixes durable and live pages. The new length survives or not.
func (n *node) afterCrash(rng *rand.Rand) []byte {
	size := len(n.synced)
	if rng.IntN(2) == 0 {
		size = len(n.content)
	}
	out := make([]byte, size)
	copy(out, n.synced)
	for at := 0; at < size && at < len(n.content); at += PageBytes {
		if rng.IntN(2) == 0 {
			copyRacing(out[at:min(at+PageBytes, size)], n.content[at:])
		}
	}
	return out
}

// Writeback makes a random choice of dirty pages durable, as a kernel does on
// its own, so that a later crash meets pages of different ages.
func (m *Mem) Writeback() {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.live))
	for name := range m.live {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if n := m.live[name]; !n.dir {
			n.synced = n.afterCrash(m.rng)
		}
	}
}

// copyRacing copies bytes that a mapping's owner may be writing at the same
// time, as a kernel may write back a page that is being changed. It is a loop
// because the race detector watches copy even from a function it leaves alone.
//
//go:norace
func copyRacing(to, from []byte) {
	for i := range min(len(to), len(from)) {
		to[i] = from[i]
	}
}

// clean is a name with slashes, whatever the host's form is.
func clean(name string) string { return path.Clean(filepath.ToSlash(name)) }

func pathError(op, name string, err error) error { return &os.PathError{Op: op, Path: name, Err: err} }

// change records and applies a change of names. The caller holds mu.
func (m *Mem) change(c nameChange) {
	c.apply(m.live)
	m.journal = append(m.journal, c)
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mkdirAll(clean(dir))
}

func (m *Mem) mkdirAll(dir string) error {
	if n := m.live[dir]; n != nil {
		if !n.dir {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
		return nil
	}
	if err := m.mkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	m.change(nameChange{to: dir, node: &node{dir: true}})
	return nil
}

// below returns the names directly in dir, sorted. The caller holds mu.
func (m *Mem) below(dir string) []string {
	var names []string
	for name := range m.live {
		if path.Dir(name) == dir && name != dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// ReadDir implements FS.
func (m *Mem) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	if n := m.live[dir]; n == nil {
		return nil, pathError("readdir", dir, os.ErrNotExist)
	} else if !n.dir {
		return nil, pathError("readdir", dir, syscall.ENOTDIR)
	}
	return m.below(dir), nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	n := m.live[name]
	if n == nil {
		return pathError("remove", name, os.ErrNotExist)
	}
	if n.dir && len(m.below(name)) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.change(nameChange{from: name, node: n})
	return nil
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	var names []string
	for name := range m.live {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Reverse(names) // what is inside goes first
	for _, name := range names {
		m.change(nameChange{from: name, node: m.live[name]})
	}
	return nil
}

// Rename implements FS. Directories are not renamed.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = clean(from), clean(to)
	n, dir := m.live[from], m.live[path.Dir(to)]
	switch {
	case n == nil || dir == nil:
		return pathError("rename", from, os.ErrNotExist)
	case n.dir || !dir.dir:
		return pathError("rename", from, errors.ErrUnsupported)
	}
	m.change(nameChange{from: from, to: to, node: n})
	return nil
}

// SyncDir implements FS. Earlier changes of the same names come along.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	if n := m.live[dir]; n == nil || !n.dir {
		return pathError("syncdir", dir, os.ErrNotExist)
	}
	needed := make([]bool, len(m.journal))
	names := make(map[string]bool)
	for i := len(m.journal) - 1; i >= 0; i-- {
		c := m.journal[i]
		if c.touches(dir) || c.from != "" && names[c.from] || c.to != "" && names[c.to] {
			needed[i] = true
			names[c.from], names[c.to] = true, true
		}
	}
	var rest []nameChange
	for i, c := range m.journal {
		if needed[i] {
			c.apply(m.durable)
		} else {
			rest = append(rest, c)
		}
	}
	m.journal = rest
	return nil
}

// SyncAll implements FS.
func (m *Mem) SyncAll(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.journal {
		c.apply(m.durable)
	}
	m.journal = nil
	for _, n := range m.live {
		n.sync()
	}
	return nil
}

func (n *node) sync() {
	if cap(n.synced) < len(n.content) {
		n.synced = make([]byte, len(n.content), cap(n.content))
	}
	n.synced = n.synced[:len(n.content)]
	copyRacing(n.synced, n.content)
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.live[clean(name)]
	if n == nil {
		return Info{}, pathError("stat", name, os.ErrNotExist)
	}
	return Info{SizeBytes: int64(len(n.content)), Modified: n.modified, Dir: n.dir}, nil
}

// Lock implements FS. A crash clone holds no locks.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	if m.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	m.locks[name] = true
	return memLock{m, name}, nil
}

type memLock struct {
	m    *Mem
	name string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

// Open implements FS.
func (m *Mem) Open(name string, flag int) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	n := m.live[name]
	switch {
	case n != nil && n.dir:
		return nil, pathError("open", name, syscall.EISDIR)
	case n != nil && flag&os.O_EXCL != 0:
		return nil, pathError("open", name, os.ErrExist)
	case n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, os.ErrNotExist)
	case n == nil:
		if dir := m.live[path.Dir(name)]; dir == nil || !dir.dir {
			return nil, pathError("open", name, os.ErrNotExist)
		}
		n = &node{modified: time.Now()}
		m.change(nameChange{to: name, node: n})
	case flag&os.O_TRUNC != 0:
		n.content = n.content[:0]
	}
	return &memFile{m: m, n: n, name: name, readOnly: flag&os.O_RDWR == 0 && flag&os.O_WRONLY == 0}, nil
}

// Usage implements FS.
func (m *Mem) Usage(string) (free, total uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	total = 1 << 40
	if m.capacity > 0 {
		total = uint64(m.capacity)
	}
	used := uint64(m.used())
	return total - min(used, total), total, nil
}

func (m *Mem) used() (bytes int64) {
	for _, n := range m.live {
		bytes += int64(len(n.content))
	}
	return bytes
}
