package spool

import (
	"io"
	"sync"

	"github.com/leveret-mq/leveret/internal/budget"
)

// Scratch is a file for what has to wait and is too large for memory. It is gone when it is closed.
type Scratch interface {
	io.ReaderAt
	io.WriterAt
	// Truncate cuts off what is behind size.
	Truncate(size int64) error
	io.Closer
}

// Spool holds the unfinished bodies of one connection, and belongs to the goroutine that reads from it. Memory and Open
// are set before the first use.
type Spool struct {
	// Memory is the connection's part of the memory for requests.
	Memory *budget.Account
	// Open makes an empty scratch file.
	Open func() (Scratch, error)

	file file
}

// Body is the body of one message. The zero value is one of which nothing has come.
type Body struct {
	memory  []byte
	taken   int64 // of Spool.Memory, for memory
	outside bool  // it is in the file
	spilled spilled
}

// Len is how much of it has come.
func (b *Body) Len() int { return len(b.memory) + b.spilled.size }

// keptBytes is the largest buffer that is kept for another body.
const keptBytes = 1 << 20

var pool sync.Pool // of *[]byte

// Append puts a piece behind what has come. announced is how long the body is to be; negative is not known. An error says
// that neither memory nor disk has room; Drop must follow.
func (s *Spool) Append(b *Body, piece []byte, announced int) error {
	if !b.outside && s.grow(b, len(piece), announced) {
		b.memory = append(b.memory, piece...)
		return nil
	}
	if !b.outside {
		b.outside = true
		if err := s.file.append(s.Open, &b.spilled, b.memory); err != nil {
			return err
		}
		s.release(b)
	}
	return s.file.append(s.Open, &b.spilled, piece)
}

// grow makes room for n more bytes of a body in memory, or says that there is none. Memory follows what
// has arrived, at four times its size at most, not what was announced.
func (s *Spool) grow(b *Body, n, announced int) bool {
	need := len(b.memory) + n
	if need <= cap(b.memory) {
		return true
	}
	size := max(4*need, 64<<10)
	if announced >= 0 {
		size = max(need, min(announced, size))
	}
	grown := newBuffer(size)
	if !s.Memory.Stand(int64(cap(grown))) {
		return false
	}
	grown = append(grown, b.memory...)
	s.release(b)
	b.memory, b.taken = grown, int64(cap(grown))
	return true
}

// newBuffer is an empty buffer with room for n bytes, one that was used before if there is.
func newBuffer(n int) []byte {
	if n <= keptBytes {
		if b, ok := pool.Get().(*[]byte); ok && cap(*b) >= n {
			return *b
		}
	}
	return make([]byte, 0, n)
}

// release gives back what a body has in memory.
func (s *Spool) release(b *Body) {
	if n := cap(b.memory); n > 0 && n <= keptBytes {
		buf := b.memory[:0]
		pool.Put(&buf)
	}
	s.Memory.Give(b.taken)
	b.memory, b.taken = nil, 0
}

// Whole is all of a body, in memory until Drop. One that is in the file waits for as long as it takes until there is
// memory for it, or gone is closed, or the account.
func (s *Spool) Whole(b *Body, gone <-chan struct{}) ([]byte, error) {
	if !b.outside {
		return b.memory, nil
	}
	// One that is larger than anybody's share takes all of it.
	need := min(int64(b.spilled.size), max(s.Memory.Share()-s.Memory.Held(), 0))
	if err := s.Memory.Await(need, gone); err != nil {
		return nil, err
	}
	b.taken = need
	b.memory = make([]byte, b.spilled.size)
	return b.memory, s.file.read(&b.spilled, b.memory)
}

// Drop forgets a body, which is the zero value again. What Whole returned must not be used any more.
func (s *Spool) Drop(b *Body) {
	s.release(b)
	if b.outside {
		s.file.give(&b.spilled)
	}
	*b = Body{}
}
