// Package batch reads and patches the header of a Kafka RecordBatch v2, the one
// unit that every log stores (Kafka protocol guide, "Record Batch").
//
// It owns nothing and knows bytes only: no records, no compression, no I/O. A
// Batch is a borrowed slice that holds exactly one batch.
//
//	 0       8      12     16 17    21    23     27        35
//	┌───────┬──────┬──────┬──┬─────┬─────┬──────┬─────────┬─────────┐
//	│ base  │length│leader│m │ CRC │attr.│ last │ base    │ max     │
//	│ offset│ of   │epoch │=2│ 32C │     │offset│timestamp│timestamp│
//	│       │ rest │      │  │     │     │delta │         │         │
//	└───────┴──────┴──────┴──┴─────┴─────┴──────┴─────────┴─────────┘
//	 43        51      53       57     61
//	┌─────────┬───────┬────────┬──────┬───────────────┐
//	│producer │prod.  │ base   │record│ records,      │
//	│id       │epoch  │sequence│count │ maybe packed  │
//	└─────────┴───────┴────────┴──────┴───────────────┘
//
// All integers are big endian. The CRC covers bytes 21 to the end, so base
// offset, leader epoch and magic can be written without recomputing it.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Sizes and positions of the header's fields, in bytes.
const (
	HeaderBytes = 61 // the whole header
	frameBytes  = 12 // base offset and length, which the length leaves out
	crcFrom     = 21 // first byte under the CRC

	posBaseOffset      = 0
	posLength          = 8
	posEpoch           = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// Magic is the only record format version that is accepted.
const Magic = 2

// Bits of the attributes field.
const (
	CodecMask     = 0x07
	LogAppendTime = 0x08
	Transactional = 0x10
	Control       = 0x20
	// HasDeleteHorizon says that the base timestamp is when those records of a compacted topic may go that end their keys,
	// or an end of a transaction (KIP-534). The others' times count from it as ever.
	HasDeleteHorizon = 0x40
	NoProducer       = int64(-1)
	NoSequence       = int32(-1)
	NoProducerEpoch  = int16(-1)
)

// Errors of Check and Next. ErrShort says that more bytes are needed, which at
// the end of a file is a torn tail; the others say that the bytes are wrong.
var (
	ErrShort  = errors.New("record batch cut short")
	ErrLength = errors.New("record batch length out of range")
	ErrMagic  = errors.New("record batch magic is not 2")
	ErrCRC    = errors.New("record batch checksum does not match")
	ErrCount  = errors.New("record batch count does not fit its last offset")
)

// Wrong reports whether an error says that bytes are no record batch, or not the one
// that they were.
func Wrong(err error) bool {
	for _, e := range [...]error{ErrShort, ErrLength, ErrMagic, ErrCRC, ErrCount} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is one whole record batch: its header and its records. Methods panic
// when the slice is shorter than HeaderBytes, so make one with Next, or Check first.
type Batch []byte

// BaseOffset is the offset of the first record.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[posBaseOffset:])) }

// SizeBytes is the size of the whole batch as its length field says.
func (b Batch) SizeBytes() int {
	return int(int32(binary.BigEndian.Uint32(b[posLength:]))) + frameBytes
}

// Epoch is the partition leader epoch.
func (b Batch) Epoch() int32 { return int32(binary.BigEndian.Uint32(b[posEpoch:])) }

// Magic is the format version; only 2 is known.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC is the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes holds the codec and the flags.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[posAttributes:])) }

// Codec is the compression of the records: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
func (b Batch) Codec() int { return int(b.Attributes() & CodecMask) }

// IsControl says that the batch holds a marker and no user's record.
func (b Batch) IsControl() bool { return b.Attributes()&Control != 0 }

// IsTransactional says that the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&Transactional != 0 }

// LastOffsetDelta is the offset of the last record relative to the base.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:]))
}

// LastOffset is the offset of the last record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// BaseTimestamp is the first record's time in milliseconds since 1970.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])) }

// DeleteHorizon is the time in milliseconds since 1970 that HasDeleteHorizon tells of.
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	return b.BaseTimestamp(), b.Attributes()&HasDeleteHorizon != 0
}

// MaxTimestamp is the latest time of any record in milliseconds since 1970.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])) }

// ProducerID is the idempotent producer's id, or NoProducer.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[posProducerID:])) }

// ProducerEpoch is the producer's epoch, or NoProducerEpoch.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[posProducerEpoch:])) }

// BaseSequence is the first record's sequence number, or NoSequence.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[posBaseSequence:])) }

// Count is the number of records.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[posCount:])) }

// Messages is the number of records that are users': a control batch has none.
func (b Batch) Messages() int32 {
	if b.IsControl() {
		return 0
	}
	return b.Count()
}

// Records is the bytes after the header, packed with Codec.
func (b Batch) Records() []byte { return b[HeaderBytes:] }

// SetBaseOffset numbers the records; it lies outside the CRC.
func (b Batch) SetBaseOffset(o int64) { binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(o)) }

// SetEpoch writes the leader epoch; it lies outside the CRC.
func (b Batch) SetEpoch(e int32) { binary.BigEndian.PutUint32(b[posEpoch:], uint32(e)) }

// Header is what Seal writes.
type Header struct {
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms
	MaxTimestamp    int64 // ms
	ProducerID      int64
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32
}

// Seal writes the whole header over b[:HeaderBytes], base offset and epoch 0,
// and the checksum of what follows. The records are already in place.
func (b Batch) Seal(h Header) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], 0)
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-frameBytes))
	binary.BigEndian.PutUint32(b[posEpoch:], 0)
	b[posMagic] = Magic
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(h.Attributes))
	binary.BigEndian.PutUint32(b[posLastOffsetDelta:], uint32(h.LastOffsetDelta))
	binary.BigEndian.PutUint64(b[posBaseTimestamp:], uint64(h.BaseTimestamp))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(h.MaxTimestamp))
	binary.BigEndian.PutUint64(b[posProducerID:], uint64(h.ProducerID))
	binary.BigEndian.PutUint16(b[posProducerEpoch:], uint16(h.ProducerEpoch))
	binary.BigEndian.PutUint32(b[posBaseSequence:], uint32(h.BaseSequence))
	binary.BigEndian.PutUint32(b[posCount:], uint32(h.Count))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[crcFrom:], castagnoli))
}

// Next cuts the first batch off buf by its length field and checks no more than
// that the length is possible. ErrShort says that buf ends inside the batch.
func Next(buf []byte) (b Batch, rest []byte, err error) {
	if len(buf) < HeaderBytes {
		return nil, buf, ErrShort
	}
	n := int32(binary.BigEndian.Uint32(buf[posLength:]))
	if n < HeaderBytes-frameBytes {
		return nil, buf, fmt.Errorf("%w: %d", ErrLength, n)
	}
	size := int64(n) + frameBytes
	if size > int64(len(buf)) {
		return nil, buf, ErrShort
	}
	return Batch(buf[:size:size]), buf[size:], nil
}

// Check verifies length, magic, counts and checksum of exactly one batch.
func (b Batch) Check() error {
	if err := b.CheckHeader(); err != nil {
		return err
	}
	if got := crc32.Checksum(b[crcFrom:], castagnoli); got != b.CRC() {
		return fmt.Errorf("%w: stored %08x, computed %08x", ErrCRC, b.CRC(), got)
	}
	return nil
}

// SetTimes writes what a batch says of its records' times: whether they are the
// broker's (LogAppendTime), and which is the latest. A batch that says so already is
// left as it is; else the checksum is made anew.
func (b Batch) SetTimes(appendTime bool, maxTimestamp int64) {
	attributes := b.Attributes() &^ LogAppendTime
	if appendTime {
		attributes |= LogAppendTime
	}
	if attributes == b.Attributes() && maxTimestamp == b.MaxTimestamp() {
		return
	}
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(maxTimestamp))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[crcFrom:], castagnoli))
}

// CheckHeader is Check without the checksum: no byte of a record is read.
func (b Batch) CheckHeader() error {
	if len(b) < HeaderBytes {
		return ErrShort
	}
	if b.SizeBytes() != len(b) {
		return fmt.Errorf("%w: field says %d bytes, batch has %d", ErrLength, b.SizeBytes(), len(b))
	}
	if b.Magic() != Magic {
		return fmt.Errorf("%w but %d", ErrMagic, b.Magic())
	}
	if c, d := b.Count(), b.LastOffsetDelta(); d < 0 || c < 0 || int64(c) > int64(d)+1 {
		return fmt.Errorf("%w: %d records, last delta %d", ErrCount, c, d)
	}
	return nil
}
