package local

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// A table file is the common header and then records, each at a multiple of 8 bytes:
//
//	0        8        12     13     14     16      20       24         32
//	┌────────┬────────┬──────┬──────┬──────┬───────┬────────┬──────────┬──────┬───────┬──────┐
//	│ hash   │ mark   │ kind │ flag │ zero │ key   │ value  │ revision │ key  │ value │ zero │
//	│ u64    │ "LVtr" │ u8   │ u8   │ u16  │ u32   │ u32    │ u64      │      │       │ to 8 │
//	└────────┴────────┴──────┴──────┴──────┴───────┴────────┴──────────┴──────┴───────┴──────┘
//
// The hash covers everything after it up to the end of the value. Kind 1 sets the
// key, kind 2 removes it; zero is no kind. The records of one write are linked:
// flag bit 0 marks its first, bit 1 its last, and they count only when all of
// them are there, so that a write is whole or absent. The mark makes it possible
// to find the next good record after a damaged range.
//
// What a crash may cost: kill -9 nothing that Put returned for; a power cut in
// the modes group and always the same, in mode os up to a second of writes.
const (
	recordBytes       = 32
	recordMark        = "LVtr"
	recordUpsert      = 1
	recordTombstone   = 2
	recordFirst       = 1 << 0
	recordLast        = 1 << 1
	tableMaxKeyBytes  = 64 << 10
	tableMaxValueByte = 64 << 20
)

// record is one decoded record of a table file. Key and Value point into the input.
type record struct {
	Kind     uint8
	Flags    uint8
	Revision uint64
	Key      []byte
	Value    []byte
}

// recordSize is how many bytes a record takes in the file.
func recordSize(keyBytes, valueBytes int) int {
	return (recordBytes + keyBytes + valueBytes + 7) &^ 7
}

// appendRecord appends one record with its padding. buf must be at a multiple of 8.
func appendRecord(buf []byte, kind, flags uint8, revision uint64, key string, value []byte) []byte {
	at := len(buf)
	buf = append(buf, 0, 0, 0, 0, 0, 0, 0, 0)
	buf = append(buf, recordMark...)
	buf = append(buf, kind, flags, 0, 0)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(key)))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(value)))
	buf = binary.LittleEndian.AppendUint64(buf, revision)
	buf = append(buf, key...)
	buf = append(buf, value...)
	binary.LittleEndian.PutUint64(buf[at:], xxhash.Sum64(buf[at+8:]))
	for (len(buf)-at)%8 != 0 {
		buf = append(buf, 0)
	}
	return buf
}

// decodeRecord reads the record at the start of data and says how many bytes it
// takes. Any error is ErrCorrupt.
func decodeRecord(data []byte) (record, int, error) {
	if len(data) < recordBytes || string(data[8:12]) != recordMark {
		return record{}, 0, fmt.Errorf("no record mark: %w", ErrCorrupt)
	}
	keyBytes := int(binary.LittleEndian.Uint32(data[16:]))
	valueBytes := int(binary.LittleEndian.Uint32(data[20:]))
	if keyBytes > tableMaxKeyBytes || valueBytes > tableMaxValueByte {
		return record{}, 0, fmt.Errorf("record of %d and %d bytes: %w", keyBytes, valueBytes, ErrCorrupt)
	}
	end := recordBytes + keyBytes + valueBytes
	if end > len(data) {
		return record{}, 0, fmt.Errorf("record ends at %d of %d bytes: %w", end, len(data), ErrCorrupt)
	}
	if binary.LittleEndian.Uint64(data) != xxhash.Sum64(data[8:end]) {
		return record{}, 0, fmt.Errorf("record hash differs: %w", ErrCorrupt)
	}
	r := record{
		Kind:     data[12],
		Flags:    data[13],
		Revision: binary.LittleEndian.Uint64(data[24:]),
		Key:      data[recordBytes : recordBytes+keyBytes],
		Value:    data[recordBytes+keyBytes : end],
	}
	if r.Kind != recordUpsert && r.Kind != recordTombstone {
		return record{}, 0, fmt.Errorf("record of kind %d: %w", r.Kind, ErrCorrupt)
	}
	return r, min(recordSize(keyBytes, valueBytes), len(data)), nil
}
