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
	return b.opts.Scratch()
}
