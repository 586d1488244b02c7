package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// maxFuture is how far ahead of our clock a record's timestamp may be.
const maxFuture = time.Hour

// checkBatch holds the records of one partition of a Produce request against
// the rules, and returns the one batch they must be.
//
//	null or empty records, several batches, magic 0 or 1         87
//	count 0, count not last delta + 1, control batch             87
//	producer id without a sequence number                        87
//	uncompressed records that are not numbered 0…n               87
//	checksum wrong                                                2
//	larger than the topic's max.message.bytes                    10
//	unknown codec                                                76
//	more than an hour in the future                              32
func checkBatch(records []byte, maxBytes int, now time.Time) (batch.Batch, wire.Code, string) {
	if len(records) <= 16 || records[16] != batch.Magic {
		return nil, wire.InvalidRecord, "the records are not one batch of format 2"
	}
	b, rest, err := batch.Next(records)
	if err != nil {
		return nil, wire.CorruptMessage, err.Error()
	}
	switch {
	case len(rest) > 0:
		return nil, wire.InvalidRecord, "more than one batch for a partition"
	case len(b) > maxBytes:
		return nil, wire.MessageTooLarge, "the batch is larger than max.message.bytes"
	case b.Codec() > message.CodecZstd:
		return nil, wire.UnsupportedCompression, "unknown compression"
	}
	if b.Count() <= 0 || int64(b.Count()) != int64(b.LastOffsetDelta())+1 {
		return nil, wire.InvalidRecord, "the batch's record count does not fit its last offset"
	}
	if b.IsControl() {
		return nil, wire.InvalidRecord, "control batches are the broker's own"
	}
	if b.ProducerID() >= 0 && b.BaseSequence() < 0 {
		return nil, wire.InvalidRecord, "a producer's batch without a sequence number"
	}
	if err := b.Check(); err != nil {
		return nil, wire.CorruptMessage, err.Error()
	}
	if b.MaxTimestamp() > now.Add(maxFuture).UnixMilli() {
		return nil, wire.InvalidTimestamp, "a timestamp is more than an hour in the future"
	}
	if int64(b.Count())*minRecordBytes > message.MaxUnpackedBytes { // what is compressed is not looked into
		return nil, wire.InvalidRecord, "the batch's record count is more than a batch can hold"
	}
	if b.Codec() == message.CodecNone && !dense(b) {
		return nil, wire.InvalidRecord, "the records are not numbered from 0 on"
	}
	return b, wire.None, ""
}

// minRecordBytes is a record without anything: its length, attributes, time, number,
// null key, null value and no headers.
const minRecordBytes = 7

// dense walks an uncompressed batch: exactly count records, numbered 0, 1, 2 …
// Only the head of each record is read. One record:
//
//	length varint │ attributes i8 │ timestamp delta varlong │ offset delta varint │ …
func dense(b batch.Batch) bool {
	raw := b.Records()
	n := uint64(b.Count())
	for i := uint64(0); i < n; i++ {
		length, w := binary.Varint(raw)
		if w <= 0 || length < 0 || length > int64(len(raw)-w) {
			return false
		}
		rec := raw[w : w+int(length)]
		raw = raw[w+int(length):]
		at := 1 // behind the attributes
		for at < len(rec) && rec[at] >= 0x80 {
			at++
		}
		at++
		if at >= len(rec) {
			return false
		}
		delta, dw := uint64(rec[at]), 1
		if delta >= 0x80 {
			delta, dw = binary.Uvarint(rec[at:])
		}
		if dw <= 0 || delta != 2*i { // zigzag
			return false
		}
	}
	return len(raw) == 0
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stampAppendTime makes the batch's times the broker's own, for topics with
// message.timestamp.type=LogAppendTime: the flag and the latest timestamp
// change, and with them the checksum (Kafka protocol guide, "Record Batch").
func stampAppendTime(b batch.Batch, ms int64) {
	binary.BigEndian.PutUint16(b[21:], uint16(b.Attributes()|batch.LogAppendTime))
	binary.BigEndian.PutUint64(b[35:], uint64(ms))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
}
