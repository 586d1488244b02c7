package process

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Producer is what the header of a batch says of its producer.
type Producer struct {
	ID            int64
	Epoch         int16
	Sequence      int32
	Transactional bool
}

// Nobody is the producer of a batch that has none.
var Nobody = Producer{ID: -1, Epoch: -1, Sequence: -1}

// TransactionalBit marks a batch of a transaction in its attributes.
const TransactionalBit = 1 << 4

// Batch is a record batch of one record without a key.
func Batch(of Producer, value []byte) []byte {
	r := []byte{0, 0, 0} // attributes, timestamp and offset
	r = binary.AppendVarint(r, -1)
	r = binary.AppendVarint(r, int64(len(value)))
	r = append(append(r, value...), 0)
	r = append(binary.AppendVarint(nil, int64(len(r))), r...)
	b := []byte{0, 0}
	if of.Transactional {
		b[1] = TransactionalBit
	}
	b = binary.BigEndian.AppendUint32(b, 0)
	now := uint64(time.Now().UnixMilli())
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, now), now)
	b = binary.BigEndian.AppendUint64(b, uint64(of.ID))
	b = binary.BigEndian.AppendUint16(b, uint16(of.Epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(of.Sequence))
	b = append(binary.BigEndian.AppendUint32(b, 1), r...)
	head := binary.BigEndian.AppendUint64(nil, 0)
	head = binary.BigEndian.AppendUint32(head, uint32(4+1+4+len(b)))
	head = append(binary.BigEndian.AppendUint32(head, 0), 2)
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return append(head, b...)
}
