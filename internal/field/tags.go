package field

import (
	"errors"
	"fmt"
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

// MaxDepth bounds how deep tables and arrays may lie in one another: hostile input
// must not exhaust the stack. No client nests as deep.
const MaxDepth = 256

// ErrDepth says that a table is nested deeper. Nothing else is wrong with it. It
// wraps ErrTable.
var ErrDepth = fmt.Errorf("%w: nested deeper than %d", ErrTable, MaxDepth)

// fixedBytes is the size of a value by tag; -1 for a u32 length before it, -2 for an unknown tag.
var fixedBytes = func() (sizes [256]int8) {
	for i := range sizes {
		sizes[i] = -2
	}
	for tag, n := range map[byte]int8{
		TagBool: 1, TagInt8: 1, TagUint8: 1, TagInt16: 2, TagUint16: 2, TagInt32: 4, TagUint32: 4,
		TagInt64: 8, TagInt64Alt: 8, TagFloat32: 4, TagFloat64: 8, TagDecimal: 5, TagTimestamp: 8, TagVoid: 0,
		TagString: -1, TagBytes: -1, TagTable: -1, TagArray: -1,
	} {
		sizes[tag] = n
	}
	return sizes
}()
