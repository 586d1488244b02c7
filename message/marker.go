package message

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/internal/batch"
)

// A transaction ends in each partition with a marker, a control batch of one record (Kafka protocol guide, "Control
// Batches" and "EndTxnMarker"; big endian):
//
//	key    version i16 = 0 │ type i16: 0 abort, 1 commit
//	value  version i16 = 0 │ coordinator epoch i32
const (
	markerAbort  = 0
	markerCommit = 1
)

// ErrMarker says that a control batch is no transaction's end.
var ErrMarker = errors.New("malformed control record")

// Marker builds the batch that ends a producer's transaction in a partition.
func Marker(id int64, epoch int16, commit bool, ms int64) batch.Batch {
	var key [4]byte
	if commit {
		key[3] = markerCommit
	}
	var b Builder
	b.AddRecord(&Record{Key: key[:], Value: make([]byte, 6)}, ms)
	batch.Batch(b.buf).Seal(batch.Header{
		Attributes: batch.Transactional | batch.Control, BaseTimestamp: ms, MaxTimestamp: ms,
		ProducerID: id, ProducerEpoch: epoch, BaseSequence: batch.NoSequence, Count: 1,
	})
	return b.buf
}

// ParseMarker says how a control batch ends its producer's transaction. Other control records than
// Kafka's ends of transactions are an error.
func ParseMarker(b batch.Batch) (commit bool, err error) {
	if !b.IsControl() || !b.IsTransactional() || b.Codec() != CodecNone {
		return false, fmt.Errorf("%w: attributes %#x", ErrMarker, b.Attributes())
	}
	records := NewRecords(b.Records())
	var rec Record
	more, err := records.Next(&rec)
	if err != nil {
		return false, err
	}
	if !more || len(rec.Key) < 4 {
		return false, fmt.Errorf("%w: a key of %d bytes", ErrMarker, len(rec.Key))
	}
	switch kind := binary.BigEndian.Uint16(rec.Key[2:]); kind {
	case markerAbort, markerCommit:
		return kind == markerCommit, nil
	default:
		return false, fmt.Errorf("%w: type %d", ErrMarker, kind)
	}
}
