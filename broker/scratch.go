package broker

import (
	"io"
	"sync/atomic"
)

// Scratch is a file for what has to wait and is too large for memory. It has no
// name, and is gone when it is closed. It belongs to one client, and to one goroutine.
type Scratch interface {
	io.ReaderAt
	io.WriterAt
	// Truncate cuts off what is behind size.
	Truncate(size int64) error
	io.Closer
}

// scratchRoom is what scratch files take: of all together, and of each as far as it
// was written. Their space comes out of what is there for messages, so it is bounded.
type scratchRoom struct {
	limit int64
	share atomic.Int64 // of one client; see fit
	used  atomic.Int64
}

// fit gives each client a quarter, and room for one message of that size in any case.
func (r *scratchRoom) fit(message int64) { r.share.Store(min(r.limit, max(r.limit/4, message))) }

// Scratch opens an empty file beside the data. A listener keeps unfinished messages
// in it; they are nobody's yet, and do not survive the process.
func (b *Broker) Scratch() (Scratch, error) {
	if b.opts.Scratch == nil {
		return nil, fail(Full, "there is no place for large messages that come in pieces")
	}
	f, err := b.opts.Scratch()
	if err != nil {
		b.alarm.appended(b, nil, 0, err)
		return nil, err
	}
	return &watchedScratch{Scratch: f, b: b}, nil
}

// watchedScratch is a scratch file whose space is counted, and whose full disk is the
// broker's.
type watchedScratch struct {
	Scratch
	b    *Broker
	size int64
}

// WriteAt writes, within the limits.
func (f *watchedScratch) WriteAt(p []byte, at int64) (int, error) {
	if err := f.grow(at + int64(len(p))); err != nil {
		return 0, err
	}
	n, err := f.Scratch.WriteAt(p, at)
	if err != nil {
		f.b.alarm.appended(f.b, nil, 0, err)
	}
	return n, err
}

// grow counts what the file takes more when it is to be size bytes long.
func (f *watchedScratch) grow(size int64) error {
	room, more := f.b.scratch, size-f.size
	switch {
	case more <= 0:
		return nil
	case size > room.share.Load():
		return fail(Full, "the unfinished messages of this client take more than %d bytes on disk, a quarter of --request-disk", room.share.Load())
	case room.used.Add(more) > room.limit:
		room.used.Add(-more)
		return fail(Full, "unfinished messages of all clients take %d bytes on disk, as much as --request-disk allows", room.limit)
	}
	f.size = size
	return nil
}

// Truncate gives back what it cuts off.
func (f *watchedScratch) Truncate(size int64) error {
	if size >= f.size {
		return nil
	}
	if err := f.Scratch.Truncate(size); err != nil {
		return err
	}
	f.shrink(size)
	return nil
}

// Close gives everything back.
func (f *watchedScratch) Close() error {
	f.shrink(0)
	return f.Scratch.Close()
}

func (f *watchedScratch) shrink(size int64) {
	f.b.scratch.used.Add(size - f.size)
	f.size = size
}
