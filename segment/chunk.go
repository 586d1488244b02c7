package segment

import (
	"errors"
	"io"
	"runtime"
	"slices"

	"github.com/leveret-mq/leveret/internal/fs"
)

// What is not mapped is read by the chunk. The chunk that was read last is kept, for who
// takes a few messages at a time; what stands behind its last whole batch is copied to
// the front of the next one, not read again:
//
//	    chunk                    next chunk
//	[─────────────│··]       [··───────────│···]
//	               └──copied──┘└── read ────┘
//
// So every byte is read once, and a log that is read by one reader leaves nothing in the
// page cache, which is the tail's (drop-behind): filling it with what nobody reads again
// takes processor time, evicts what somebody will, and on a virtual machine stops the
// world while the hypervisor finds the memory. While another reader of the log is close
// behind, the pages are wanted again, and the system is left to cache them. So it is for
// who takes little at a time, which does not bring much in.
//
// What comes next is left to the system's own readahead. A goroutine that reads the next
// chunk meanwhile was tried: two thread switches a chunk made a lone reader a quarter slower.

const (
	// chunkBytes is read at least, if there is so much: who reads a little at a time
	// comes back for what follows.
	chunkBytes = 128 << 10
	// Who takes largeBytes or more at a time gets chunks that end at a multiple of
	// alignBytes, the largest piece in which Linux caches a file and lets go of it:
	// letting go of one that is half read makes the next read begin with the disk.
	// 2.5 GB/s came from the disk that way and 1.3 in pieces of 1 MiB, at a third of
	// the processor time.
	largeBytes = 256 << 10
	alignBytes = 2 << 20
	// maxChunkBytes bounds a chunk that is kept, maxChunkSum those of all segments of a
	// pool together.
	maxChunkBytes = 2 * usualBuf
	maxChunkSum   = 64 << 20
	// maxChunks bounds those of one segment, where there are several readers. One has one.
	maxChunks = 2
	// closeBytes is how far behind another one a reader may be to find its pages cached.
	closeBytes = 64 << 20
)

// fetch reads size bytes behind those that a chunk has from a place on, before in which
// it begins or behind which it stands; without one, from that place on. The caller's
// hold of before is spent.
func (s *Segment) fetch(f fs.File, before *readBuf, at place, size, limit int64) (*readBuf, error) {
	have := int64(0)
	if before != nil {
		have = before.end() - at.position
	}
	buf := getBuf(have + min(limit-at.position-have, size))
	buf.place = at
	if before != nil {
		copy(buf.b, before.b[at.position-before.position:])
		before.free()
	}
	if err := s.fill(f, buf, have); err != nil {
		buf.free()
		return nil, err
	}
	return buf, nil
}

// pieceBytes is how much is read from a position on for who takes maxBytes at a time.
func (s *Segment) pieceBytes(from, maxBytes int64) int64 {
	size := max(maxBytes, chunkBytes) + s.o.IndexIntervalBytes
	if maxBytes < largeBytes {
		return size
	}
	to := (from + size + alignBytes - 1) / alignBytes * alignBytes
	return to - from
}

// fill reads a buffer from its byte have on. Of a file that ends within, because somebody
// cut it, it is what there is; one that ends before is io.ErrUnexpectedEOF.
func (s *Segment) fill(f fs.File, buf *readBuf, have int64) error {
	from, to := buf.position+have, buf.end()
	followed := s.o.trail.step(s, from, to)
	kept := s.o.Pool.chunks.Load() <= maxChunkSum-maxChunkBytes // so that its end is not read again
	read := f.ReadAt
	if !followed && kept && (to%alignBytes == 0 || to == s.position.Load()) {
		read = f.ReadOnce
	}
	letOthersPoll()
	n, err := read(buf.b[have:], from)
	if n > 0 && (err == nil || errors.Is(err, io.EOF)) {
		buf.b = buf.b[:have+int64(n)]
		return nil
	}
	return full(n, len(buf.b)-int(have), err)
}

// chunkAt returns the kept chunk that holds a position or ends there, the later one where
// two meet, with a hold of it for the caller; nil if there is none.
func (s *Segment) chunkAt(position int64) *readBuf {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keptAt(position)
}

// keptAt is chunkAt for a caller that holds s.mu.
func (s *Segment) keptAt(position int64) *readBuf {
	var found *readBuf
	for _, c := range s.chunks {
		if c.position <= position && position <= c.end() && (found == nil || c.position > found.position) {
			found = c
		}
	}
	if found != nil {
		found.refs.Add(1)
	}
	return found
}

// nearest returns the place of a kept chunk's first batch instead of one before it, if
// an offset stands there or behind. Index entries are further apart than batches.
func (s *Segment) nearest(p place, offset int64) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nearestKept(p, offset)
}

// nearestKept is nearest for a caller that holds s.mu.
func (s *Segment) nearestKept(p place, offset int64) place {
	for _, c := range s.chunks {
		if c.position > p.position && c.offset <= offset {
			p = c.place
		}
	}
	return p
}

// keep keeps a chunk that was just read until others take its place, or the sweep or
// the end of the segment lets go of it.
func (s *Segment) keep(buf *readBuf) {
	n := int64(cap(buf.b))
	if n > maxChunkBytes {
		return
	}
	most := 1
	if s.o.trail.company() {
		most = maxChunks
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone.Load() || s.cold == nil {
		return // nobody would let go of it any more
	}
	for i := 0; i < len(s.chunks); { // what it continues is done with
		if c := s.chunks[i]; len(s.chunks) >= most || c.position < buf.position && buf.position <= c.end() {
			s.drop(c)
			continue
		}
		i++
	}
	if s.o.Pool.chunks.Add(n) > maxChunkSum {
		s.o.Pool.chunks.Add(-n)
		return
	}
	buf.refs.Add(1)
	s.chunks = append(s.chunks, buf)
}

// drop lets go of a chunk that is kept. The caller holds s.mu.
func (s *Segment) drop(c *readBuf) {
	i := slices.Index(s.chunks, c)
	s.chunks = slices.Delete(s.chunks, i, i+1)
	s.o.Pool.chunks.Add(-int64(cap(c.b)))
	c.free()
}

// dropChunks lets go of all. The caller holds s.mu.
func (s *Segment) dropChunks() {
	for len(s.chunks) > 0 {
		s.drop(s.chunks[0])
	}
}

// passed lets go of the chunk that a reader has behind it at the end of the segment,
// unless the segment is busy: the sweep does it then.
func (s *Segment) passed(position, limit int64) {
	if position < limit || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	for _, c := range slices.Clone(s.chunks) {
		if c.end() == limit {
			s.drop(c)
		}
	}
}

// letOthersPoll is called before a system call that may wait for the disk. The
// thread that runs this goroutine may be the one that waits for the network on
// behalf of all: it was there that the request came in. Go's scheduler gives that
// duty to another thread when a goroutine yields, but not when it enters a system
// call; then nothing arrives for anybody until the runtime's monitor looks, up to
// 10 ms later. A paced consumer beside a reader of cold data waited 13 ms at p99
// because of that, and waited 4 with the yield.
func letOthersPoll() { runtime.Gosched() }
