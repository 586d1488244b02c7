package segment

import (
	"sync/atomic"
	"unsafe"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/fs"
)

// memory is a mapped file with a count of those who look at it. The segment
// holds one reference, each View one more; the last to let go hands it to the
// pool's goroutine, which unmaps it or keeps it for another life.
type memory struct {
	refs    atomic.Int64
	bytes   []byte
	mapping fs.Mapping
	file    fs.File
	o       *Options
	pool    *Pool
	cold    *handle     // whose file it is, if it was open for reading before it was mapped
	second  bool        // the file was mapped before, and Views may still pin that mapping
	spare   *block      // what becomes of it when the segment was dropped; set before the last release
	lent    atomic.Bool // see Place
}

func newMemory(b *block, o *Options) *memory {
	m := &memory{bytes: b.mapping.Bytes(), mapping: b.mapping, file: b.file, o: o, pool: o.Pool}
	m.refs.Store(1)
	return m
}

// acquire takes a reference unless the last one is gone already.
func (m *memory) acquire() bool {
	for {
		n := m.refs.Load()
		if n == 0 {
			return false
		}
		if m.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (m *memory) release() {
	if m.refs.Add(-1) == 0 {
		m.pool.later(m.dispose)
	}
}

// dispose runs on the pool's goroutine.
func (m *memory) dispose() {
	if m.spare != nil {
		if m.lent.Load() {
			m.pool.discard(m.spare)
		} else {
			m.pool.keep(m.spare)
		}
		return
	}
	m.pool.note(m.mapping.Close())
	if m.cold != nil {
		m.cold.release()
		return
	}
	m.pool.note(m.pool.closeFile(m.file))
}

// Place says where in which file bytes lie that a View shows, for the kernel to send from there. It may refer to them for longer
// than the View is held, and nobody is told when it is done; so the file will never be written anew. ok is false where that is too
// dear, in a log whose segments are used again, and where the system has no such file.
func (m *memory) Place(data []byte) (fd uintptr, at int64, ok bool) {
	f, ok := m.file.(interface{ Fd() uintptr })
	if !ok || len(data) == 0 || m.o.recycles.Load() {
		return 0, 0, false
	}
	if !m.lent.Load() {
		m.lent.Store(true)
	}
	return f.Fd(), int64(uintptr(unsafe.Pointer(&data[0])) - uintptr(unsafe.Pointer(&m.bytes[0]))), true
}

// block is a file between two lives: allocated, mapped, under a name in the
// pool's folder.
type block struct {
	name    string
	size    int64
	file    fs.File
	mapping fs.Mapping
	index   *index.Index // its array is used again; nil in a fresh block
	warm    int64        // bytes that were written in a former life, so that their pages are resident
	highest int64        // no batch in it has an offset at or above this
	idle    int          // sweeps since it was put back
}
