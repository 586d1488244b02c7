package kafkaload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Positions in a record batch, and the sizes of its header and its renumbered end.
const (
	batchHeaderBytes = 61
	batchFrameBytes  = 12 // base offset and length, which the length leaves out
	tailBytes        = 9
	posLength        = 8
	posMagic         = 16
	posCRC           = 17
	crcFrom          = 21
	posLastDelta     = 23
	posCount         = 57
	noTimestampDelta = 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Template is one uncompressed record batch that can be numbered.
type Template struct {
	Bytes   []byte // the batch; Number and Stamp change it
	Records int
	before  uint32 // checksum up to the tail
	values  []int  // where in Bytes each value begins
}

// NewTemplate fills a batch of at most batchBytes, and at least one record, with records
// of valueBytes each, at least measure.StampBytes, and no keys. Their time is timestampMs.
func NewTemplate(valueBytes, batchBytes int, timestampMs int64) (*Template, error) {
	if valueBytes < measure.StampBytes {
		return nil, fmt.Errorf("a value of %d bytes cannot hold its stamp (%d)", valueBytes, measure.StampBytes)
	}
	value := filler(valueBytes)
	b := make([]byte, batchHeaderBytes, batchBytes+valueBytes)
	records := 0
	var values []int
	for {
		size := recordBytes(records, valueBytes)
		if records > 0 && len(b)+size > batchBytes {
			break
		}
		binary.LittleEndian.PutUint64(value, uint64(records))
		b = appendRecord(b, records, value)
		values = append(values, len(b)-1-valueBytes)
		records++
	}
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-batchFrameBytes))
	binary.BigEndian.PutUint32(b[12:], 0xffffffff) // leader epoch: unknown
	b[posMagic] = 2
	binary.BigEndian.PutUint32(b[posLastDelta:], uint32(records-1))
	binary.BigEndian.PutUint64(b[27:], uint64(timestampMs))
	binary.BigEndian.PutUint64(b[35:], uint64(timestampMs))
	for i := 43; i < posCount; i++ { // no producer id, epoch, sequence
		b[i] = 0xff
	}
	binary.BigEndian.PutUint32(b[posCount:], uint32(records))
	t := &Template{Bytes: b, Records: records, before: crc32.Checksum(b[crcFrom:len(b)-tailBytes], castagnoli), values: values}
	t.Number(0, 0)
	return t, nil
}

// Number writes the batch's number, when it was written, and its checksum.
func (t *Template) Number(n, micros uint32) {
	tail := t.Bytes[len(t.Bytes)-tailBytes:]
	binary.LittleEndian.PutUint32(tail, n)
	binary.LittleEndian.PutUint32(tail[4:], micros)
	binary.BigEndian.PutUint32(t.Bytes[posCRC:], crc32.Update(t.before, castagnoli, tail))
}

// Stamp gives the batch's records the sequences from first on and one time, and writes the
// checksum. A batch that is stamped is not numbered.
func (t *Template) Stamp(first uint64, micros uint32) {
	for i, at := range t.values {
		measure.PutStamp(t.Bytes[at:], first+uint64(i), micros)
	}
	binary.BigEndian.PutUint32(t.Bytes[posCRC:], crc32.Checksum(t.Bytes[crcFrom:], castagnoli))
}

// appendRecord encodes record i: attributes, time delta, offset delta, no key, the value,
// no headers, and before all that its length.
func appendRecord(b []byte, i int, value []byte) []byte {
	b = binary.AppendVarint(b, int64(recordBody(i, len(value))))
	b = append(b, 0)
	b = binary.AppendVarint(b, noTimestampDelta)
	b = binary.AppendVarint(b, int64(i))
	b = binary.AppendVarint(b, -1)
	b = binary.AppendVarint(b, int64(len(value)))
	b = append(b, value...)
	return append(b, 0)
}

func recordBody(i, valueBytes int) int {
	return 1 + 1 + varintBytes(int64(i)) + 1 + varintBytes(int64(valueBytes)) + valueBytes + 1
}

func recordBytes(i, valueBytes int) int {
	n := recordBody(i, valueBytes)
	return varintBytes(int64(n)) + n
}

func varintBytes(v int64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutVarint(b[:], v)
}

func filler(n int) []byte {
	const pattern = `10.3.207.41 - - [23/Nov/2026:05:17:09 +0000] "GET /api/v1/items?id=482913 HTTP/1.1" 200 18734 "-" "curl/8.5" `
	b := make([]byte, n)
	for i := 0; i < n; {
		i += copy(b[i:], pattern)
	}
	return b
}

var errRecord = errors.New("record cut short")

// eachValue calls with the value of every record of an uncompressed batch.
func eachValue(batch []byte, with func(value []byte) error) error {
	b := batch[batchHeaderBytes:]
	for range int(int32(binary.BigEndian.Uint32(batch[posCount:]))) {
		size, n := binary.Varint(b)
		if n <= 0 || size < 0 || size > int64(len(b)-n) {
			return errRecord
		}
		value, err := valueOf(b[n : n+int(size)])
		if err != nil {
			return err
		}
		if err := with(value); err != nil {
			return err
		}
		b = b[n+int(size):]
	}
	return nil
}

// valueOf finds the value in a record's body.
func valueOf(r []byte) ([]byte, error) {
	if len(r) < 1 {
		return nil, errRecord
	}
	r = r[1:]
	for range 2 { // time delta, offset delta
		_, n := binary.Varint(r)
		if n <= 0 {
			return nil, errRecord
		}
		r = r[n:]
	}
	_, r, err := lengthPrefixed(r) // the key
	if err != nil {
		return nil, err
	}
	value, _, err := lengthPrefixed(r)
	return value, err
}

func lengthPrefixed(r []byte) (field, rest []byte, err error) {
	size, n := binary.Varint(r)
	if n <= 0 || size > int64(len(r)-n) {
		return nil, nil, errRecord
	}
	if size < 0 {
		return nil, r[n:], nil
	}
	return r[n : n+int(size)], r[n+int(size):], nil
}
