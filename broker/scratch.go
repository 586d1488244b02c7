package broker

import "io"

// Scratch is a file for what has to wait and is too large for memory. It has no
// name, and is gone when it is closed.
type Scratch interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

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
	return watchedScratch{f, b}, nil
}

// watchedScratch is a scratch file whose full disk is the broker's.
type watchedScratch struct {
	Scratch
	b *Broker
}

func (f watchedScratch) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.Scratch.WriteAt(p, at)
	if err != nil {
		f.b.alarm.appended(f.b, nil, 0, err)
	}
	return n, err
}
