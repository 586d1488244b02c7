package wire

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed says that a request's bytes do not follow its layout. The
// protocol has no answer to it: the connection is closed.
var ErrMalformed = errors.New("malformed request")

// decoder takes values off the front of src. The first value that does not fit
// sets bad and empties src, so that callers check once at the end.
type decoder struct {
	src []byte
	bad bool
}

func (r *decoder) fail() {
	r.bad = true
	r.src = nil
}

func (r *decoder) int8() int8 {
	if b := r.span(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *decoder) int16() int16 {
	if b := r.span(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *decoder) int32() int32 {
	if b := r.span(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *decoder) int64() int64 {
	if b := r.span(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// uvarint reads an unsigned varint of at most 32 bits.
func (r *decoder) uvarint() uint32 {
	if len(r.src) > 0 && r.src[0] < 0x80 {
		v := r.src[0]
		r.src = r.src[1:]
		return uint32(v)
	}
	v, n := binary.Uvarint(r.src)
	if n <= 0 || v > 1<<32-1 {
		r.fail()
		return 0
	}
	r.src = r.src[n:]
	return uint32(v)
}

// span returns the next n bytes, aliasing src.
func (r *decoder) span(n int) []byte {
	if n < 0 || n > len(r.src) {
		r.fail()
		return nil
	}
	v := r.src[:n:n]
	r.src = r.src[n:]
	return v
}

// str reads a string that may be null; ok is false for null.
func (r *decoder) str(flexible bool) (v []byte, ok bool) {
	n := 0
	if flexible {
		n = int(r.uvarint()) - 1
	} else {
		n = int(r.int16())
	}
	if r.bad || n == -1 {
		return nil, false
	}
	return r.span(n), true
}

// name reads a string that must not be null.
func (r *decoder) name(flexible bool) []byte {
	v, ok := r.str(flexible)
	if !ok {
		r.fail()
	}
	return v
}

// topic reads what names a topic: its name or its id.
func (r *decoder) topic(flexible, byID bool) (name []byte, id TopicID) {
	if !byID {
		return r.name(flexible), id
	}
	copy(id[:], r.span(len(id)))
	return nil, id
}

// length reads the length of bytes or of an array; -1 stands for null.
func (r *decoder) length(flexible bool) int {
	if flexible {
		return int(r.uvarint()) - 1
	}
	return int(r.int32())
}

// bytes reads a byte string with a 32-bit length; nil stands for null.
func (r *decoder) bytes(flexible bool) []byte {
	n := r.length(flexible)
	if r.bad || n == -1 {
		return nil
	}
	return r.span(n)
}

// array reads the number of elements of an array and refuses a number that the
// rest of the request could not hold at elementBytes, the smallest size of one
// element, or that is beyond MaxPartitions. A null array counts as empty.
func (r *decoder) array(flexible bool, elementBytes int) int {
	n := r.length(flexible)
	if r.bad || n == -1 {
		return 0
	}
	if n < 0 || n > MaxPartitions || n > len(r.src)/elementBytes {
		r.fail()
		return 0
	}
	return n
}

// bound refuses requests that name more topics or partitions than allowed.
func (r *decoder) bound(topics, partitions int) {
	if topics > MaxPartitions || partitions > MaxPartitions {
		r.fail()
	}
}

// tags skips a tag section.
func (r *decoder) tags(flexible bool) {
	if !flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		r.uvarint()
		r.span(int(r.uvarint()))
	}
}

// done returns ErrMalformed when a value did not fit. Bytes left over are
// allowed, as they are in Kafka.
func (r *decoder) done() error {
	if r.bad {
		return ErrMalformed
	}
	return nil
}
