package message

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Seek is a Walker that looks for the first record of a batch at or behind a number
// with a time at or after another.
type Seek struct {
	BaseMs int64 // the batch's base timestamp
	Number int32 // the least number
	Ms     int64 // the least time

	Found  bool
	At     int32 // its number
	TimeMs int64 // its time
}

// Enough implements Walker.
func (s *Seek) Enough() bool { return s.Found }

// End implements Walker.
func (s *Seek) End(int) error { return nil }

// Records implements Walker.
func (s *Seek) Records(b []byte) (used int, err error) {
	for !s.Found {
		rest := b[used:]
		size, w := varint(rest)
		if w == 0 && len(rest) < binary.MaxVarintLen32 {
			break
		}
		if w <= 0 || size < MinRecordBytes-1 || size > math.MaxInt32 {
			return used, fmt.Errorf("%w: length", ErrRecord)
		}
		if size > int64(len(rest)-w) {
			break
		}
		if err := s.look(rest[w : w+int(size)]); err != nil {
			return used, err
		}
		used += w + int(size)
	}
	return used, nil
}

// Long implements Walker.
func (s *Seek) Long(long *Stretch) error {
	end := long.record()
	long.skip(1, end)
	ms, number := long.varint(), long.varint()
	if long.err == nil && number != int64(int32(number)) {
		return fmt.Errorf("%w: number", ErrRecord)
	}
	if long.err == nil {
		s.found(ms, int32(number))
	}
	if !s.Found {
		long.skip(end-long.taken, end)
	}
	return long.err
}

func (s *Seek) look(rec []byte) error {
	ms, w := varint(rec[1:])
	if w <= 0 {
		return fmt.Errorf("%w: time", ErrRecord)
	}
	number, w := varint(rec[1+w:])
	if w <= 0 || number != int64(int32(number)) {
		return fmt.Errorf("%w: number", ErrRecord)
	}
	s.found(ms, int32(number))
	return nil
}

func (s *Seek) found(ms int64, number int32) {
	if ms += s.BaseMs; number >= s.Number && ms >= s.Ms {
		s.Found, s.At, s.TimeMs = true, number, ms
	}
}
