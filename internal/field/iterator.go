package field

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// Iterator steps through the fields of a table, or the values of an array,
// without allocating. Its slices alias the input.
type Iterator struct {
	rest  []byte
	array bool
	name  []byte
	tag   byte
	raw   []byte
	err   error
}

// NewIterator reads a table's fields; raw is without the table's own length.
func NewIterator(raw []byte) Iterator { return Iterator{rest: raw} }

// NewArrayIterator reads an array's values; raw is without the array's own length.
func NewArrayIterator(raw []byte) Iterator { return Iterator{rest: raw, array: true} }

// Next steps to the next field; false at the end or at an error, which Err returns.
func (t *Iterator) Next() bool {
	if t.err != nil || len(t.rest) == 0 {
		return false
	}
	b := t.rest
	if !t.array {
		n := int(b[0])
		if len(b) < 1+n {
			t.err = fmt.Errorf("%w: name of %d bytes in %d", ErrTable, n, len(b)-1)
			return false
		}
		t.name, b = b[1:1+n:1+n], b[1+n:]
	}
	f, rest, err := nextField(b)
	if err != nil {
		t.err = err
		return false
	}
	t.tag, t.raw, t.rest = f.Tag, f.Value, rest
	return true
}

// Err is what stopped Next before the end.
func (t *Iterator) Err() error { return t.err }

// Name is the field's name; nil in an array.
func (t *Iterator) Name() []byte { return t.name }

// Tag is the value's type.
func (t *Iterator) Tag() byte { return t.tag }

// Raw is the value's bytes, without the length of a string, table or array.
func (t *Iterator) Raw() []byte { return t.raw }

// Text is the bytes of a string or byte array, nil for any other type.
func (t *Iterator) Text() []byte {
	if t.tag == TagString || t.tag == TagBytes {
		return t.raw
	}
	return nil
}

// Int is the value of any integer type; ok is false for other types and for
// unsigned 64-bit timestamps.
func (t *Iterator) Int() (v int64, ok bool) { return Field{t.tag, t.raw}.Int() }

// Bool is the value of a boolean.
func (t *Iterator) Bool() (v, ok bool) { return Field{t.tag, t.raw}.Bool() }

// Float is the value of either float type.
func (t *Iterator) Float() (v float64, ok bool) { return Field{t.tag, t.raw}.Float() }

// SameValue compares two values as RabbitMQ's headers exchange does: integers of
// any width by value, floats of either width by value, everything else by type and bytes.
// An integer never equals a float.
func SameValue(a, b *Iterator) bool {
	if x, ok := a.Int(); ok {
		y, ok := b.Int()
		return ok && x == y
	}
	if x, ok := a.Float(); ok {
		y, ok := b.Float()
		return ok && x == y
	}
	if x := a.Text(); x != nil {
		y := b.Text()
		return y != nil && bytes.Equal(x, y)
	}
	return a.tag == b.tag && bytes.Equal(a.raw, b.raw)
}

// Find looks up a field by name in a table without its length.
func Find(table []byte, name string) (t Iterator, ok bool) {
	t = NewIterator(table)
	for t.Next() {
		if string(t.name) == name {
			return t, true
		}
	}
	return t, false
}

// AppendValueText appends a scalar as people write it; ok is false for tables,
// arrays and bytes that are no text.
func (t *Iterator) AppendValueText(dst []byte) (out []byte, ok bool) {
	if v, ok := t.Int(); ok {
		return strconv.AppendInt(dst, v, 10), true
	}
	if v, ok := t.Float(); ok {
		return strconv.AppendFloat(dst, v, 'g', -1, 64), true
	}
	switch t.tag {
	case TagString, TagBytes:
		return append(dst, t.raw...), true
	case TagBool:
		return strconv.AppendBool(dst, t.raw[0] != 0), true
	case TagTimestamp:
		return strconv.AppendUint(dst, binary.BigEndian.Uint64(t.raw), 10), true
	case TagDecimal:
		return appendDecimal(dst, t.raw[0], int32(binary.BigEndian.Uint32(t.raw[1:]))), true
	}
	return dst, false
}

func appendDecimal(dst []byte, scale uint8, v int32) []byte {
	if scale > 30 { // no client writes one; keep the text bounded
		return append(append(strconv.AppendInt(dst, int64(v), 10), "e-"...), strconv.Itoa(int(scale))...)
	}
	digits := strconv.AppendInt(nil, int64(v), 10)
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	for len(digits) <= int(scale) {
		digits = append([]byte{'0'}, digits...)
	}
	dst = append(dst, digits[:len(digits)-int(scale)]...)
	if scale > 0 {
		dst = append(append(dst, '.'), digits[len(digits)-int(scale):]...)
	}
	return dst
}
