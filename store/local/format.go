package local

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Every file of this package but the layout file begins with the same header.
// All numbers are little-endian; every hash is xxhash64 with seed 0.
//
//	0        4      6      8              16              24           32
//	┌────────┬──────┬──────┬──────────────┬───────────────┬────────────┐
//	│ magic  │ vers │ zero │ tag          │ created       │ hash       │
//	│ 4 text │ u16  │ u16  │ u64          │ i64 Unix ms   │ of [0,24)  │
//	└────────┴──────┴──────┴──────────────┴───────────────┴────────────┘
//
// The tag is the log's id in cursor and meta files and the number of rewrites in
// table files. A file with the right magic and a good hash but another version is
// ErrVersion: it was made by a newer program and must not be touched. Anything
// else that does not fit is ErrCorrupt.
const (
	headerBytes = 32
	magicTable  = "LVTB"
	magicCursor = "LVCU"
	magicMeta   = "LVMT"

	magicCheckpoint = "LVCP"
	magicChanged    = "LVCH"
	magicEnds       = "LVEN"
	magicState      = "LVST"

	formatVersion = 1 // of every file that is not named in latestVersion
)

// latestVersion is the version in which a file is written. Every earlier one is read.
func latestVersion(magic string) uint16 {
	if magic == magicMeta {
		return metaVersion
	}
	return formatVersion
}

// Errors of reading files; test with errors.Is.
var (
	// ErrCorrupt means that bytes are not what was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrVersion means that a newer version of the program wrote the file.
	ErrVersion = errors.New("written by a newer version")
)

// header is the decoded common header.
type header struct {
	Magic     string
	Version   uint16 // 0 is the latest
	Tag       uint64
	CreatedMs int64
}

// appendTo appends the 32 bytes.
func (h header) appendTo(buf []byte) []byte {
	at := len(buf)
	buf = append(buf, h.Magic...)
	version := h.Version
	if version == 0 {
		version = latestVersion(h.Magic)
	}
	buf = binary.LittleEndian.AppendUint16(buf, version)
	buf = binary.LittleEndian.AppendUint16(buf, 0)
	buf = binary.LittleEndian.AppendUint64(buf, h.Tag)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(h.CreatedMs))
	return binary.LittleEndian.AppendUint64(buf, xxhash.Sum64(buf[at:]))
}

// decodeHeader reads the header of a file that should have the magic want.
func decodeHeader(data []byte, want string) (header, error) {
	if len(data) < headerBytes {
		return header{}, fmt.Errorf("header has %d of %d bytes: %w", len(data), headerBytes, ErrCorrupt)
	}
	if string(data[:4]) != want {
		return header{}, fmt.Errorf("magic is %q and should be %q: %w", data[:4], want, ErrCorrupt)
	}
	if sum := binary.LittleEndian.Uint64(data[24:]); sum != xxhash.Sum64(data[:24]) {
		return header{}, fmt.Errorf("header hash differs: %w", ErrCorrupt)
	}
	v := binary.LittleEndian.Uint16(data[4:])
	if latest := latestVersion(want); v == 0 || v > latest {
		return header{}, fmt.Errorf("version is %d and this program knows %d: %w", v, latest, ErrVersion)
	}
	return header{
		Magic:     want,
		Version:   v,
		Tag:       binary.LittleEndian.Uint64(data[8:]),
		CreatedMs: int64(binary.LittleEndian.Uint64(data[16:])),
	}, nil
}
