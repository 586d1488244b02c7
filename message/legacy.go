package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// Before record batches (Kafka 0.11) messages stood back to back in a message set, each with a
// checksum of its own. Producers and consumers from before that still send and want it. All
// integers are big endian:
//
//	 0        8       12      16      17      18          26
//	┌────────┬───────┬───────┬───────┬───────┬───────────┬─────────────┬───────────────┐
//	│ offset │ bytes │ CRC32 │ magic │ attr. │ timestamp │ key length  │ value length  │
//	│ i64    │ that  │ of    │ 0, 1  │       │ i64 ms,   │ i32, key    │ i32, value    │
//	│        │follow │ rest  │       │       │ magic 1   │ (-1: null)  │ (-1: null)    │
//	└────────┴───────┴───────┴───────┴───────┴───────────┴─────────────┴───────────────┘
//
// Bits 0 to 2 of the attributes are the codec, as in a batch: such a message holds a set of others, packed,
// as its value. Bit 3 says that the timestamp is the broker's.
const (
	legacyHead       = 12 // offset and length
	legacyMin0       = 14 // the least that follows, of magic 0
	legacyTimeBytes  = 8
	legacyCodecMask  = 0x07
	legacyAppendTime = 0x08
)

// Errors of message sets.
var (
	ErrLegacy    = errors.New("malformed message of format 0 or 1")
	ErrLegacyCRC = errors.New("a message's checksum does not match")
)

// LegacyMessage is one message of a set. Its slices alias the set; nil is a null.
type LegacyMessage struct {
	Offset      int64
	Magic       byte
	Attributes  byte
	TimestampMs int64 // NoTime for magic 0
	Key, Value  []byte
}

// Codec is what the value is packed with, if it is a set itself.
func (m *LegacyMessage) Codec() int { return int(m.Attributes & legacyCodecMask) }

// IsLegacy says whether the records of a Produce request are a message set.
func IsLegacy(records []byte) bool { return len(records) > 16 && records[16] <= 1 }

// NextLegacy takes the first message off a set and checks it. A set that is empty has none
// (ErrLegacy).
func NextLegacy(set []byte) (m LegacyMessage, rest []byte, err error) {
	if len(set) < legacyHead+legacyMin0 {
		return m, nil, fmt.Errorf("%w: %d bytes", ErrLegacy, len(set))
	}
	n := int64(int32(binary.BigEndian.Uint32(set[8:])))
	if n < legacyMin0 || n > int64(len(set)-legacyHead) {
		return m, nil, fmt.Errorf("%w: a length of %d", ErrLegacy, n)
	}
	b, rest := set[legacyHead:legacyHead+n], set[legacyHead+n:]
	if crc32.ChecksumIEEE(b[4:]) != binary.BigEndian.Uint32(b) {
		return m, nil, ErrLegacyCRC
	}
	m = LegacyMessage{Offset: int64(binary.BigEndian.Uint64(set)), Magic: b[4], Attributes: b[5], TimestampMs: NoTime}
	b = b[6:]
	switch m.Magic {
	case 0:
	case 1:
		if len(b) < legacyTimeBytes {
			return m, nil, fmt.Errorf("%w: no time", ErrLegacy)
		}
		m.TimestampMs = int64(binary.BigEndian.Uint64(b))
		b = b[legacyTimeBytes:]
	default:
		return m, nil, fmt.Errorf("%w: magic %d among messages", ErrLegacy, m.Magic)
	}
	var ok bool
	if m.Key, b, ok = nullable32(b); ok {
		m.Value, b, ok = nullable32(b)
	}
	if !ok || len(b) > 0 {
		return m, nil, fmt.Errorf("%w: key and value do not fill it", ErrLegacy)
	}
	return m, rest, nil
}

func nullable32(b []byte) (v, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	b = b[4:]
	switch {
	case n == -1:
		return nil, b, true
	case n < 0 || n > int64(len(b)):
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// AddLegacy adds the messages of a set that are not packed to a batch, with their times.
func (b *Builder) AddLegacy(set []byte) error {
	for len(set) > 0 {
		m, rest, err := NextLegacy(set)
		if err != nil {
			return err
		}
		if m.Codec() != CodecNone {
			return fmt.Errorf("%w: a packed message among others", ErrLegacy)
		}
		b.AddRecord(&Record{Key: m.Key, Value: m.Value}, m.TimestampMs)
		set = rest
	}
	return nil
}

// MendLZ4 gives the LZ4 frame that a message of format 0 is packed as the checksum of its header that the format of the frame
// asks for. All clients computed another one in such messages, over the number in front of the header too, since the first
// did (KAFKA-3160); brokers take either.
func MendLZ4(frame []byte) {
	if len(frame) < 7 || binary.LittleEndian.Uint32(frame) != lz4Magic {
		return
	}
	end := 6
	if frame[4]&lz4Size != 0 {
		end += 8
	}
	if frame[4]&lz4Dictionary != 0 {
		end += 4
	}
	if end < len(frame) {
		frame[end] = byte(xxHash32(frame[4:end]) >> 8)
	}
}

// xxHash32 is the hash that LZ4 frames have, of fewer than 16 bytes, with the seed 0.
func xxHash32(b []byte) uint32 {
	const (
		prime1 = 2654435761
		prime2 = 2246822519
		prime3 = 3266489917
		prime4 = 668265263
		prime5 = 374761393
	)
	h := uint32(prime5) + uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*prime3, 17) * prime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return h ^ h>>16
}

// LegacyBytes is what a record takes as a message of that magic.
func LegacyBytes(rec *Record, magic byte) int {
	return legacyHead + legacyMin0 + int(magic)*legacyTimeBytes + len(rec.Key) + len(rec.Value)
}

// AppendLegacy appends a record as a message of magic 0 or 1. Its headers have no place there.
func AppendLegacy(dst []byte, rec *Record, magic byte, offset, timestampMs int64, appendTime bool) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(LegacyBytes(rec, magic)-legacyHead))
	dst = append(dst, 0, 0, 0, 0, magic, 0)
	if magic == 1 {
		if appendTime {
			dst[len(dst)-1] = legacyAppendTime
		}
		dst = binary.BigEndian.AppendUint64(dst, uint64(timestampMs))
	}
	dst = appendNullable32(appendNullable32(dst, rec.Key), rec.Value)
	binary.BigEndian.PutUint32(dst[at+legacyHead:], crc32.ChecksumIEEE(dst[at+legacyHead+4:]))
	return dst
}

func appendNullable32(dst, v []byte) []byte {
	if v == nil {
		return append(dst, 0xff, 0xff, 0xff, 0xff)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
}

// Measure is a Walker that looks at nothing: Walk then says how long it is what is packed.
type Measure struct{}

// Records implements Walker.
func (Measure) Records(b []byte) (used int, err error) { return len(b), nil }

// Enough implements Walker.
func (Measure) Enough() bool { return false }

// Long implements Walker. There are none.
func (Measure) Long(*Stretch) error { return nil }

// End implements Walker.
func (Measure) End(int) error { return nil }
