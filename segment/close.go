package segment

import (
	"path/filepath"

	"github.com/leveret-mq/leveret/index"
)

// Drop takes the segment's files away in the background. Views stay valid; the
// bytes are recycled, or given back to the disk, behind the last one. The
// caller holds the log's mutex or knows that nobody appends.
func (s *Segment) Drop() {
	if s.gone.Swap(true) {
		return
	}
	p := s.o.Pool
	p.untrack(s)
	s.mu.Lock()
	m := s.mem.Swap(nil)
	cold := s.cold
	s.cold = nil
	s.dropChunks()
	s.mu.Unlock()
	if m != nil && !m.second && !s.replaced && p.wants(s.size) {
		s.o.recycles.Store(true)
		spare := &block{
			size: s.size, file: m.file, mapping: m.mapping, index: s.index.Load(),
			highest: s.tail.next, warm: max(s.tail.warm, s.position.Load()),
		}
		m.spare = spare
		p.later(func() { s.unname(spare) })
	} else {
		p.later(func() { s.remove() })
	}
	if m != nil {
		m.release() // queued behind the job above, so the block has its name by then
	}
	if cold != nil {
		cold.release()
	}
}

// unname moves the file into the pool's folder and makes durable that its log
// has lost it, before it can get new content. It runs on the pool's goroutine.
func (s *Segment) unname(spare *block) {
	o, p := s.o, s.o.Pool
	spare.name = p.spareName()
	p.note(o.FS.Remove(IndexName(s.name)))
	err := o.FS.Rename(s.name, spare.name)
	if err == nil && !o.Transient { // a transient log's folder is emptied at the start anyway
		if err = o.FS.SyncDir(filepath.Dir(s.name)); err != nil {
			err = o.FS.SyncDir(p.o.Dir) // the log's folder may be gone with its log
		}
	}
	if err != nil {
		p.note(err)
		spare.size = 0 // of no use: keep will discard it
	}
}

// remove deletes both files. It runs on the pool's goroutine.
func (s *Segment) remove() {
	s.o.Pool.note(s.o.FS.Remove(IndexName(s.name)))
	s.o.Pool.note(s.o.FS.Remove(s.name))
}

// Close lets go of mapping, descriptor and index; Views stay valid. The files stay.
func (s *Segment) Close() {
	if s.gone.Swap(true) {
		return
	}
	s.o.Pool.untrack(s)
	s.mu.Lock()
	s.letGo()
}

// letGo ends the caller's hold of s.mu.
func (s *Segment) letGo() {
	m := s.mem.Swap(nil)
	cold := s.cold
	s.cold = nil
	s.dropChunks()
	s.mu.Unlock()
	if m != nil {
		m.release()
	}
	if cold != nil {
		cold.release()
	}
}

// shrink closes what can be opened again, for the sweep, and reports whether it
// did. What is not synced keeps its mapping and with it the descriptor, because a
// writeback error is only told to descriptors that were open when it happened.
func (s *Segment) shrink() bool {
	if !s.Sealed() {
		if s.o.Owner == nil || !s.o.Owner.TryLock() {
			return false
		}
		defer s.o.Owner.Unlock()
	}
	if s.gone.Load() || !s.o.Transient && s.synced.Load() < s.position.Load() {
		return false
	}
	s.mu.Lock()
	if s.pinned {
		s.mu.Unlock()
		return false
	}
	s.o.Pool.untrack(s)
	if s.finished.Load() {
		s.index.Store((*index.Index)(nil))
	}
	s.letGo()
	return true
}
