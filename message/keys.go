package message

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
)

// KeyDigest stands for a key where many are held against each other: the first half of its SHA-256, so that nobody
// can make two keys that are taken for one.
type KeyDigest [16]byte

// Keyed is what matters of a record to who keeps the last one of each key.
type Keyed struct {
	Number   int32 // in its batch: the offset less the base offset
	TimeMs   int64 // as the record says it, less the batch's base timestamp
	HasKey   bool
	HasValue bool      // false: the record ends its key
	Digest   KeyDigest // of the key, if there is one
}

// Keys is a Walker that tells of each record of a batch, in their order.
type Keys struct {
	Each func(r *Keyed)

	one  Keyed
	long hash.Hash
}

// Enough implements Walker.
func (k *Keys) Enough() bool { return false }

// End implements Walker.
func (k *Keys) End(rest int) error {
	if rest > 0 {
		return fmt.Errorf("%w: %d bytes behind the last", ErrRecord, rest)
	}
	return nil
}

// Records implements Walker.
func (k *Keys) Records(b []byte) (used int, err error) {
	for {
		rest := b[used:]
		size, w := varint(rest)
		if w == 0 && len(rest) < binary.MaxVarintLen32 {
			return used, nil
		}
		if w <= 0 || size < MinRecordBytes-1 || size > math.MaxInt32 {
			return used, fmt.Errorf("%w: length", ErrRecord)
		}
		if size > int64(len(rest)-w) {
			return used, nil
		}
		if err := k.look(rest[w : w+int(size)]); err != nil {
			return used, err
		}
		used += w + int(size)
	}
}

// look tells of one record.
func (k *Keys) look(rec []byte) error {
	ms, w := varint(rec[1:])
	if w <= 0 {
		return fmt.Errorf("%w: time", ErrRecord)
	}
	at := 1 + w
	number, w := varint(rec[at:])
	if w <= 0 || number != int64(int32(number)) {
		return fmt.Errorf("%w: number", ErrRecord)
	}
	key, rest, ok := nullable(rec[at+w:])
	if !ok {
		return fmt.Errorf("%w: key", ErrRecord)
	}
	length, w := varint(rest)
	if w <= 0 || length < -1 {
		return fmt.Errorf("%w: value", ErrRecord)
	}
	k.one = Keyed{Number: int32(number), TimeMs: ms, HasKey: key != nil, HasValue: length >= 0}
	if key != nil {
		sum := sha256.Sum256(key)
		copy(k.one.Digest[:], sum[:])
	}
	k.Each(&k.one)
	return nil
}

// Long implements Walker.
func (k *Keys) Long(s *Stretch) error {
	end := s.record()
	s.skip(1, end) // attributes
	k.one = Keyed{TimeMs: s.varint()}
	number := s.varint()
	if s.err == nil && number != int64(int32(number)) {
		return fmt.Errorf("%w: number", ErrRecord)
	}
	k.one.Number = int32(number)
	if k.long == nil {
		k.long = sha256.New()
	}
	k.long.Reset()
	if k.one.HasKey = s.hash(k.long, end); k.one.HasKey {
		copy(k.one.Digest[:], k.long.Sum(nil))
	}
	k.one.HasValue = s.nullable(end)
	s.skip(end-s.taken, end) // headers
	if s.err == nil {
		k.Each(&k.one)
	}
	return s.err
}

// hash is nullable that has the bytes hashed.
func (s *Stretch) hash(h hash.Hash, upTo int64) bool {
	n := s.varint()
	if n == -1 {
		return false
	}
	if n < 0 || n > upTo-s.taken {
		s.fail(ErrRecord)
		return false
	}
	for n > 0 && s.ahead() {
		step := min(n, int64(len(s.piece)))
		h.Write(s.piece[:step])
		s.drop(int(step))
		n -= step
	}
	return true
}

// AppendKept appends those records of raw to dst, uncompressed ones, of which keep says so by their place, with times
// that count from shift ms later. All else of them stays as it is, their numbers too.
func AppendKept(dst, raw []byte, shift int64, keep func(place int) bool) ([]byte, error) {
	for place := 0; len(raw) > 0; place++ {
		size, w := varint(raw)
		if w <= 0 || size < MinRecordBytes-1 || size > int64(len(raw)-w) {
			return dst, fmt.Errorf("%w: length %d with %d bytes left", ErrRecord, size, len(raw))
		}
		rec, whole := raw[w:w+int(size)], raw[:w+int(size)]
		raw = raw[len(whole):]
		if !keep(place) {
			continue
		}
		ms, w := varint(rec[1:])
		if w <= 0 {
			return dst, fmt.Errorf("%w: time", ErrRecord)
		}
		if shift == 0 {
			dst = append(dst, whole...)
			continue
		}
		rest := rec[1+w:]
		dst = appendVarint(dst, int64(1+varintLen(ms-shift)+len(rest)))
		dst = appendVarint(append(dst, rec[0]), ms-shift)
		dst = append(dst, rest...)
	}
	return dst, nil
}
