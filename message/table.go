package message

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Tags of field values, in RabbitMQ's variant of AMQP 0-9-1 (§4.2.1 and its errata).
const (
	TagBool      = 't' // 1 byte
	TagInt8      = 'b'
	TagUint8     = 'B'
	TagInt16     = 's' // not a short string: RabbitMQ's errata
	TagUint16    = 'u'
	TagInt32     = 'I'
	TagUint32    = 'i'
	TagInt64     = 'l'
	TagInt64Alt  = 'L' // read as TagInt64
	TagFloat32   = 'f'
	TagFloat64   = 'd'
	TagDecimal   = 'D' // u8 scale, i32 value
	TagString    = 'S' // u32 length, any bytes
	TagBytes     = 'x' // u32 length
	TagTimestamp = 'T' // u64 seconds
	TagTable     = 'F' // u32 length, fields
	TagArray     = 'A' // u32 length, tagged values
	TagVoid      = 'V'
)

// ErrTable says that the bytes of a field table contradict themselves.
var ErrTable = errors.New("malformed field table")

// MaxTableDepth bounds how deep tables and arrays may lie in one another: hostile
// input must not exhaust the stack. No client nests as deep.
const MaxTableDepth = 256

// ErrTableDepth says that a table is nested deeper. It wraps ErrTable.
var ErrTableDepth = fmt.Errorf("%w: nested deeper than %d", ErrTable, MaxTableDepth)

// fixedBytes is the size of a value with that tag; -1 has a length before it, -2 is unknown.
func fixedBytes(tag byte) int {
	switch tag {
	case TagVoid:
		return 0
	case TagBool, TagInt8, TagUint8:
		return 1
	case TagInt16, TagUint16:
		return 2
	case TagInt32, TagUint32, TagFloat32:
		return 4
	case TagDecimal:
		return 5
	case TagInt64, TagInt64Alt, TagFloat64, TagTimestamp:
		return 8
	case TagString, TagBytes, TagTable, TagArray:
		return -1
	}
	return -2
}

// TableReader steps through the fields of a table, or the values of an array,
// without allocating. Its slices alias the input.
type TableReader struct {
	rest  []byte
	array bool
	name  []byte
	tag   byte
	raw   []byte
	err   error
}

// NewTableReader reads a table's fields; raw is without the table's own length.
func NewTableReader(raw []byte) TableReader { return TableReader{rest: raw} }

// NewArrayReader reads an array's values; raw is without the array's own length.
func NewArrayReader(raw []byte) TableReader { return TableReader{rest: raw, array: true} }

// Next steps to the next field; false at the end or at an error, which Err returns.
func (t *TableReader) Next() bool {
	if t.err != nil || len(t.rest) == 0 {
		return false
	}
	b := t.rest
	if !t.array {
		n := int(b[0])
		if len(b) < 1+n {
			return t.fail("name")
		}
		t.name, b = b[1:1+n:1+n], b[1+n:]
	}
	if len(b) == 0 {
		return t.fail("tag")
	}
	t.tag, b = b[0], b[1:]
	n := fixedBytes(t.tag)
	if n == -1 {
		if len(b) < 4 {
			return t.fail("length")
		}
		size := binary.BigEndian.Uint32(b)
		b = b[4:]
		if uint64(size) > uint64(len(b)) {
			return t.fail("length")
		}
		n = int(size)
	}
	if n < 0 {
		t.err = fmt.Errorf("%w: unknown tag %q", ErrTable, t.tag)
		return false
	}
	if n > len(b) {
		return t.fail("value")
	}
	t.raw, t.rest = b[:n:n], b[n:]
	return true
}

func (t *TableReader) fail(what string) bool {
	t.err = fmt.Errorf("%w: %s runs past the end", ErrTable, what)
	return false
}

// Err is what stopped Next before the end.
func (t *TableReader) Err() error { return t.err }

// Name is the field's name; nil in an array.
func (t *TableReader) Name() []byte { return t.name }

// Tag is the value's type.
func (t *TableReader) Tag() byte { return t.tag }

// Raw is the value's bytes, without the length of a string, table or array.
func (t *TableReader) Raw() []byte { return t.raw }

// Text is the bytes of a string or byte array, nil for any other type.
func (t *TableReader) Text() []byte {
	if t.tag == TagString || t.tag == TagBytes {
		return t.raw
	}
	return nil
}

// Int is the value of any integer type; ok is false for other types and for
// unsigned 64-bit timestamps.
func (t *TableReader) Int() (v int64, ok bool) {
	switch t.tag {
	case TagInt8:
		return int64(int8(t.raw[0])), true
	case TagUint8:
		return int64(t.raw[0]), true
	case TagInt16:
		return int64(int16(binary.BigEndian.Uint16(t.raw))), true
	case TagUint16:
		return int64(binary.BigEndian.Uint16(t.raw)), true
	case TagInt32:
		return int64(int32(binary.BigEndian.Uint32(t.raw))), true
	case TagUint32:
		return int64(binary.BigEndian.Uint32(t.raw)), true
	case TagInt64, TagInt64Alt:
		return int64(binary.BigEndian.Uint64(t.raw)), true
	}
	return 0, false
}

// Bool is the value of a boolean.
func (t *TableReader) Bool() (v, ok bool) {
	if t.tag != TagBool {
		return false, false
	}
	return t.raw[0] != 0, true
}

// Float is the value of either float type.
func (t *TableReader) Float() (v float64, ok bool) {
	switch t.tag {
	case TagFloat32:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(t.raw))), true
	case TagFloat64:
		return math.Float64frombits(binary.BigEndian.Uint64(t.raw)), true
	}
	return 0, false
}

// SameValue compares two values as RabbitMQ's headers exchange does: integers of
// any width by value, floats of either width by value, everything else by type and bytes.
// An integer never equals a float.
func SameValue(a, b *TableReader) bool {
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
func Find(table []byte, name string) (t TableReader, ok bool) {
	t = NewTableReader(table)
	for t.Next() {
		if string(t.name) == name {
			return t, true
		}
	}
	return t, false
}

// CheckTable walks a whole table, nested ones too.
func CheckTable(raw []byte) error { return checkTable(NewTableReader(raw), 0) }

func checkTable(t TableReader, depth int) error {
	if depth > MaxTableDepth {
		return ErrTableDepth
	}
	for t.Next() {
		var err error
		switch t.tag {
		case TagTable:
			err = checkTable(NewTableReader(t.raw), depth+1)
		case TagArray:
			err = checkTable(NewArrayReader(t.raw), depth+1)
		}
		if err != nil {
			return err
		}
	}
	return t.err
}

// AppendValueText appends a scalar as people write it; ok is false for tables,
// arrays and bytes that are no text.
func (t *TableReader) AppendValueText(dst []byte) (out []byte, ok bool) {
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

// AppendName begins a field: its name, cut at 255 bytes. The tagged value follows.
func AppendName(dst []byte, name string) []byte {
	name = name[:min(len(name), 255)]
	return append(append(dst, byte(len(name))), name...)
}

// AppendString appends a tagged string value.
func AppendString(dst, v []byte) []byte { return appendLong(append(dst, TagString), v) }

// AppendByteArray appends a tagged byte array value.
func AppendByteArray(dst, v []byte) []byte { return appendLong(append(dst, TagBytes), v) }

// AppendInt appends a tagged 64-bit integer value.
func AppendInt(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, TagInt64), uint64(v))
}

// AppendBool appends a tagged boolean value.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, TagBool, 1)
	}
	return append(dst, TagBool, 0)
}

// AppendVoid appends a tagged null value.
func AppendVoid(dst []byte) []byte { return append(dst, TagVoid) }

// AppendArray appends a tagged array of tagged values, as the other Append functions make them.
func AppendArray(dst, values []byte) []byte { return appendLong(append(dst, TagArray), values) }

// AppendTable appends a tagged table of fields.
func AppendTable(dst, fields []byte) []byte { return appendLong(append(dst, TagTable), fields) }

func appendLong(dst, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
}
