package local

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/store"
)

// A meta file tells people and tools whose directory this is. It is written when
// the directory is made and when the options change, by a temporary file and a rename.
//
//	0         32     36     37     38     40            48      56       64     68
//	┌─────────┬──────┬──────┬──────┬──────┬─────────────┬───────┬────────┬──────┬──────┬────────┬────────┐
//	│ header  │ body │ mode │ flag │ zero │ segment     │ age   │ bytes  │ name │ name │ defi-  │ hash   │
//	│ tag=id  │ u32  │ u8   │ u8   │ u16  │ bytes i64   │ i64 ns│ i64    │ u32  │ text │ nition │ u64    │
//	└─────────┴──────┴──────┴──────┴──────┴─────────────┴───────┴────────┴──────┴──────┴────────┴────────┘
//
// body counts the bytes from mode to the end of the definition; the hash covers [0, end).
// Flags: bit 0 transient, bit 1 consumed. The definition is the owner's, kept here for
// the day on which the table of definitions is lost. Version 1 ends with the name.
const (
	metaVersion            = 2
	metaFixedBytes         = 32 // of the body, before the name
	metaMaxNameBytes       = 64 << 10
	metaMaxDefinitionBytes = 1 << 20
	metaTransient          = 1 << 0
	metaConsumed           = 1 << 1
)

// Meta is what a meta file holds.
type Meta struct {
	ID      LogNumber
	Created time.Time        // to the millisecond
	Options store.LogOptions // without the owner

	Definition string // the owner's
}

// encodeMeta is the content of the meta file. A name that is too long is cut, a
// definition left out.
func encodeMeta(m Meta) []byte {
	name, definition := m.Options.Name, m.Definition
	if len(name) > metaMaxNameBytes {
		name = name[:metaMaxNameBytes]
	}
	if len(definition) > metaMaxDefinitionBytes {
		definition = ""
	}
	var flags byte
	if m.Options.Transient {
		flags |= metaTransient
	}
	if m.Options.Retention.Consumed {
		flags |= metaConsumed
	}
	buf := header{Magic: magicMeta, Tag: uint64(m.ID), CreatedMs: m.Created.UnixMilli()}.appendTo(nil)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(metaFixedBytes+len(name)+len(definition)))
	buf = append(buf, byte(m.Options.Mode), flags, 0, 0)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(m.Options.SegmentBytes))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(m.Options.Retention.Age))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(m.Options.Retention.Bytes))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(name)))
	buf = append(buf, name...)
	buf = append(buf, definition...)
	return binary.LittleEndian.AppendUint64(buf, xxhash.Sum64(buf))
}

// decodeMeta reads a meta file.
func decodeMeta(data []byte) (Meta, error) {
	h, err := decodeHeader(data, magicMeta)
	if err != nil {
		return Meta{}, fmt.Errorf("meta: %w", err)
	}
	if len(data) < headerBytes+4+metaFixedBytes+8 {
		return Meta{}, fmt.Errorf("meta has %d bytes: %w", len(data), ErrCorrupt)
	}
	body := int(binary.LittleEndian.Uint32(data[headerBytes:]))
	end := headerBytes + 4 + body
	if body < metaFixedBytes || body > metaFixedBytes+metaMaxNameBytes+metaMaxDefinitionBytes || len(data) != end+8 {
		return Meta{}, fmt.Errorf("meta body says %d bytes of a file of %d: %w", body, len(data), ErrCorrupt)
	}
	if binary.LittleEndian.Uint64(data[end:]) != xxhash.Sum64(data[:end]) {
		return Meta{}, fmt.Errorf("meta hash differs: %w", ErrCorrupt)
	}
	b := data[headerBytes+4 : end]
	n := int(binary.LittleEndian.Uint32(b[28:]))
	if n > min(body-metaFixedBytes, metaMaxNameBytes) || h.Version == 1 && n < body-metaFixedBytes {
		return Meta{}, fmt.Errorf("meta name says %d bytes of %d: %w", n, body-metaFixedBytes, ErrCorrupt)
	}
	return Meta{
		ID:      LogNumber(h.Tag),
		Created: time.UnixMilli(h.CreatedMs),

		Definition: string(b[metaFixedBytes+n:]),
		Options: store.LogOptions{
			Name:         string(b[metaFixedBytes : metaFixedBytes+n]),
			Mode:         store.Mode(b[0]),
			Transient:    b[1]&metaTransient != 0,
			SegmentBytes: int64(binary.LittleEndian.Uint64(b[4:])),
			Retention: store.Retention{
				Consumed: b[1]&metaConsumed != 0,
				Age:      time.Duration(binary.LittleEndian.Uint64(b[12:])),
				Bytes:    int64(binary.LittleEndian.Uint64(b[20:])),
			},
		},
	}, nil
}
