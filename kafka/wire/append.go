package wire

import "encoding/binary"

func appendInt16(dst []byte, v int16) []byte {
	return binary.BigEndian.AppendUint16(dst, uint16(v))
}

func appendInt32(dst []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(v))
}

func appendInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(v))
}

// appendArray appends the number of elements of an array that is not null.
func appendArray(dst []byte, flexible bool, n int) []byte {
	if flexible {
		return binary.AppendUvarint(dst, uint64(n)+1)
	}
	return appendInt32(dst, int32(n))
}

func appendNullArray(dst []byte, flexible bool) []byte {
	if flexible {
		return append(dst, 0)
	}
	return appendInt32(dst, -1)
}

func appendName(dst []byte, flexible bool, v []byte) []byte {
	if flexible {
		dst = binary.AppendUvarint(dst, uint64(len(v))+1)
	} else {
		dst = appendInt16(dst, int16(len(v)))
	}
	return append(dst, v...)
}

// appendTopic is the counterpart of decoder.topic.
func appendTopic(dst []byte, flexible, byID bool, name []byte, id TopicID) []byte {
	if byID {
		return append(dst, id[:]...)
	}
	return appendName(dst, flexible, name)
}

func appendNullString(dst []byte, flexible bool) []byte {
	if flexible {
		return append(dst, 0)
	}
	return appendInt16(dst, -1)
}

func appendString(dst []byte, flexible bool, v string) []byte {
	if flexible {
		dst = binary.AppendUvarint(dst, uint64(len(v))+1)
	} else {
		dst = appendInt16(dst, int16(len(v)))
	}
	return append(dst, v...)
}

// appendTags appends an empty tag section.
func appendTags(dst []byte, flexible bool) []byte {
	if flexible {
		return append(dst, 0)
	}
	return dst
}
