package wire

import (
	"encoding/binary"
	"errors"
)

// decoder takes argument values off the front of buf. The first value that does not fit sets bad and
// every later one is zero, so that decoders need to look only once, at the end.
type decoder struct {
	buf  []byte
	bad  bool
	deep bool // bad because of a table that is nested too deep
}

func (r *decoder) take(n int) []byte {
	if n < 0 || n > len(r.buf) {
		r.bad = true
		r.buf = nil
		return nil
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b
}

func (r *decoder) u8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *decoder) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *decoder) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *decoder) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *decoder) shortBytes() []byte { return r.take(int(r.u8())) }

func (r *decoder) short() string { return string(r.shortBytes()) }

func (r *decoder) long() []byte {
	n := r.u32()
	if uint64(n) > uint64(len(r.buf)) {
		r.bad = true
		r.buf = nil
		return nil
	}
	return r.take(int(n))
}

func (r *decoder) table() Table {
	t := Table(r.long())
	if r.bad {
		return nil
	}
	if err := t.Check(); err != nil {
		r.bad, r.deep = true, errors.Is(err, ErrTableDepth)
		r.buf = nil
		return nil
	}
	return t
}

// bits packs up to eight bit arguments, first one lowest.
func bits(values ...bool) byte {
	var b byte
	for i, v := range values {
		if v {
			b |= 1 << i
		}
	}
	return b
}

func appendShort(buf []byte, s string) []byte {
	if len(s) > MaxShortStringBytes {
		s = s[:MaxShortStringBytes]
	}
	buf = append(buf, byte(len(s)))
	return append(buf, s...)
}

func appendLong(buf, s []byte) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
	return append(buf, s...)
}

func appendU16(buf []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(buf, v) }
func appendU32(buf []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(buf, v) }
func appendU64(buf []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(buf, v) }
