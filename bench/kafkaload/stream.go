package kafkaload

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// streamBytes keeps the reader's buffer within a processor's cache: an answer of
// megabytes is looked at in passing and never held as a whole.
const streamBytes = 256 << 10

// stream reads fields of a long answer out of a small buffer.
type stream struct {
	r          io.Reader
	buf        []byte
	start, end int
	left       int64 // bytes of the answer not taken yet
}

func newStream(r io.Reader) *stream { return &stream{r: r, buf: make([]byte, streamBytes)} }

// begin reads an answer's length.
func (s *stream) begin() error {
	s.left = 4
	b, err := s.need(4)
	if err != nil {
		return err
	}
	s.left = int64(binary.BigEndian.Uint32(b))
	if s.left > maxAnswerBytes {
		return fmt.Errorf("answer of %d bytes", s.left)
	}
	return nil
}

// need returns the next n bytes, at most streamBytes, good until the next call.
func (s *stream) need(n int) ([]byte, error) {
	if int64(n) > s.left || n > len(s.buf) || n < 0 {
		return nil, errAnswer
	}
	for s.end-s.start < n {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	b := s.buf[s.start : s.start+n]
	s.start += n
	s.left -= int64(n)
	return b, nil
}

// skip passes over n bytes and returns the checksum begun in crc continued over them, if
// that is wanted.
func (s *stream) skip(n int64, crc uint32, wanted bool) (uint32, error) {
	if n > s.left || n < 0 {
		return 0, errAnswer
	}
	s.left -= n
	for n > 0 {
		if s.start == s.end {
			if err := s.fill(); err != nil {
				return 0, err
			}
		}
		k := int(min(n, int64(s.end-s.start)))
		if wanted {
			crc = crc32.Update(crc, castagnoli, s.buf[s.start:s.start+k])
		}
		s.start += k
		n -= int64(k)
	}
	return crc, nil
}

func (s *stream) fill() error {
	if s.start == s.end {
		s.start, s.end = 0, 0
	} else if s.end == len(s.buf) {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	n, err := s.r.Read(s.buf[s.end:])
	s.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (s *stream) i16() (int16, error) {
	b, err := s.need(2)
	if err != nil {
		return 0, err
	}
	return int16(binary.BigEndian.Uint16(b)), nil
}

func (s *stream) i32() (int32, error) {
	b, err := s.need(4)
	if err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}
