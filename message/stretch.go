package message

import (
	"encoding/binary"
	"io"
	"math"
)

// Stretch is a record that is longer than what is in memory of it at a time: its
// bytes are taken one after another, and passed over.
//
//	        piece
//	········│▒▒▒▒▒▒▒▒│·····················
//	 taken    read     still to come, from
type Stretch struct {
	from  io.Reader
	limit int // most bytes that may come out of from
	total int // that did

	buf   []byte // what piece lies in
	piece []byte // what was read and not taken
	taken int64
	err   error // of a read; it stays
}

// fill moves what is left to the front of buf and reads behind it. An end of the
// reader is io.EOF, also when there was something left before it.
func (s *Stretch) fill(buf []byte) error {
	have := copy(buf, s.piece)
	s.buf, s.piece = buf, buf[:have]
	for range 100 {
		n, err := s.from.Read(buf[have:])
		s.piece = buf[:have+n]
		if s.total += n; s.total > s.limit {
			err = ErrUnpacked
		}
		if n > 0 || err != nil || have == len(buf) {
			return err
		}
	}
	return io.ErrNoProgress
}

// drop takes n bytes that are there.
func (s *Stretch) drop(n int) {
	s.piece = s.piece[n:]
	s.taken += int64(n)
}

// ahead reports whether a byte is there, after reading if it must.
func (s *Stretch) ahead() bool {
	for len(s.piece) == 0 && s.err == nil {
		if s.err = s.fill(s.buf); len(s.piece) > 0 && s.err == io.EOF {
			s.err = nil // it comes again
		}
	}
	return len(s.piece) > 0
}

// varint takes one; bad ones, and one that is not all there, set err.
func (s *Stretch) varint() int64 {
	var b [binary.MaxVarintLen64]byte
	for i := range b {
		if !s.ahead() {
			return 0
		}
		b[i] = s.piece[0]
		s.drop(1)
		if b[i] < 0x80 {
			v, w := varint(b[:i+1])
			if w <= 0 {
				break
			}
			return v
		}
	}
	s.fail(ErrRecord)
	return 0
}

// record takes the length of one and returns where it ends, as taken counts.
func (s *Stretch) record() (end int64) {
	size := s.varint()
	switch {
	case size < MinRecordBytes-1 || size > math.MaxInt32:
		s.fail(ErrRecord)
	case size > int64(s.limit-s.total+len(s.piece)):
		s.fail(ErrUnpacked)
	}
	return s.taken + size
}

// nullable passes over a length and that many bytes, and reports whether that is not a null, a length of -1.
func (s *Stretch) nullable(upTo int64) bool {
	n := s.varint()
	if n == -1 {
		return false
	}
	s.skip(n, upTo)
	return true
}

// skip passes over n bytes, of which there are no more than upTo allows.
func (s *Stretch) skip(n, upTo int64) {
	if n < 0 || n > upTo-s.taken {
		s.fail(ErrRecord)
		return
	}
	for n > 0 && s.ahead() {
		step := min(n, int64(len(s.piece)))
		s.drop(int(step))
		n -= step
	}
}

func (s *Stretch) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.piece = nil
}
