package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Record is one record of a batch. Its slices alias the batch: they live as long
// as the batch's bytes do. A nil Key or Value is a null, which is not an empty one.
//
//	length varint │ attributes u8 │ timestamp delta varlong │ offset delta varint
//	key length varint, key │ value length varint, value
//	header count varint │ { name length varint, name │ value length varint, value }*
//
// Varints are zigzag encoded; a length of -1 is a null (Kafka protocol guide, "Record").
type Record struct {
	TimestampDelta int64 // ms after the batch's base timestamp
	OffsetDelta    int32 // after the batch's base offset
	Key            []byte
	Value          []byte
	Headers        Headers
}

// Headers are a record's headers as they stand in the batch.
type Headers struct {
	Count int
	Raw   []byte
}

// ErrRecord says that a record's bytes contradict themselves.
var ErrRecord = errors.New("malformed record")

// Records steps through the uncompressed records of one batch.
type Records struct{ rest []byte }

// NewRecords begins at the first record of raw, the bytes after the batch header.
func NewRecords(raw []byte) Records { return Records{raw} }

// Len is the number of bytes that were not stepped over yet.
func (r *Records) Len() int { return len(r.rest) }

// Rest is those bytes, borrowed as the records are.
func (r *Records) Rest() []byte { return r.rest }

// Skip steps over one record without decoding it.
func (r *Records) Skip() (ok bool, err error) {
	if len(r.rest) == 0 {
		return false, nil
	}
	n, w := varint(r.rest)
	if w <= 0 || n < 0 || n > int64(len(r.rest)-w) {
		return false, fmt.Errorf("%w: length %d with %d bytes left", ErrRecord, n, len(r.rest))
	}
	r.rest = r.rest[w+int(n):]
	return true, nil
}

// Next decodes the next record into rec; ok is false at the end.
func (r *Records) Next(rec *Record) (ok bool, err error) {
	if len(r.rest) == 0 {
		return false, nil
	}
	n, w := varint(r.rest)
	if w <= 0 || n < 1 || n > int64(len(r.rest)-w) {
		return false, fmt.Errorf("%w: length %d with %d bytes left", ErrRecord, n, len(r.rest))
	}
	body := r.rest[w : w+int(n)]
	r.rest = r.rest[w+int(n):]
	return true, rec.decode(body)
}

func (rec *Record) decode(b []byte) error {
	b = b[1:] // attributes: none is defined
	ts, w := varint(b)
	if w <= 0 {
		return fmt.Errorf("%w: timestamp", ErrRecord)
	}
	b = b[w:]
	off, w := varint(b)
	if w <= 0 || off != int64(int32(off)) {
		return fmt.Errorf("%w: offset delta", ErrRecord)
	}
	b = b[w:]
	rec.TimestampDelta, rec.OffsetDelta = ts, int32(off)
	var ok bool
	if rec.Key, b, ok = nullable(b); !ok {
		return fmt.Errorf("%w: key", ErrRecord)
	}
	if rec.Value, b, ok = nullable(b); !ok {
		return fmt.Errorf("%w: value", ErrRecord)
	}
	count, w := varint(b)
	// A header takes two bytes at least, which bounds the count by what is there.
	if w <= 0 || count < 0 || count > int64(len(b)-w)/2 {
		return fmt.Errorf("%w: header count", ErrRecord)
	}
	rec.Headers = Headers{int(count), b[w:]}
	return nil
}

// Next takes the first header off; ok is false when there is none or its bytes are wrong.
func (h *Headers) Next() (name, value []byte, ok bool) {
	if h.Count <= 0 {
		return nil, nil, false
	}
	name, rest, ok := nullable(h.Raw)
	if !ok || name == nil {
		return nil, nil, false
	}
	if value, rest, ok = nullable(rest); !ok {
		return nil, nil, false
	}
	h.Count--
	h.Raw = rest
	return name, value, true
}

// nullable reads a length and that many bytes; a length of -1 yields nil.
func nullable(b []byte) (v, rest []byte, ok bool) {
	if len(b) > 0 && b[0]&0x81 == 0 { // as most are: a length of one byte
		if end := 1 + int(b[0]>>1); end <= len(b) {
			return b[1:end:end], b[end:], true
		}
	}
	n, w := varint(b)
	if w <= 0 || n < -1 || n > int64(len(b)-w) {
		return nil, nil, false
	}
	if n == -1 {
		return nil, b[w:], true
	}
	return b[w : w+int(n) : w+int(n)], b[w+int(n):], true
}

// varint is binary.Varint with the cases of one and two bytes, which nearly all are, in line.
func varint(b []byte) (int64, int) {
	if len(b) > 1 {
		u := uint64(b[0])
		if u < 0x80 {
			return int64(u>>1) ^ -int64(u&1), 1
		}
		if high := uint64(b[1]); high < 0x80 {
			u = u&0x7f | high<<7
			return int64(u>>1) ^ -int64(u&1), 2
		}
	}
	return binary.Varint(b)
}

func appendVarint(b []byte, v int64) []byte {
	u := uint64(v<<1) ^ uint64(v>>63)
	if u < 0x80 {
		return append(b, byte(u))
	}
	return binary.AppendUvarint(b, u)
}

// varintLen is the number of bytes that v takes.
func varintLen(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

// bytesLen is the number of bytes of a nullable with its length.
func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // zigzag of -1
	}
	return append(appendVarint(dst, int64(len(b))), b...)
}
