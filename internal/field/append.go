package field

import "encoding/binary"

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

// AppendInt32 appends a tagged 32-bit integer value.
func AppendInt32(dst []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, TagInt32), uint32(v))
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
