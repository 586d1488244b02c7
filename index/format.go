package index

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Sizes of the file's parts, in bytes.
const (
	HeaderBytes = 48
	EntryBytes  = 16

	blockHeadBytes = 48
	blockSumBytes  = 8

	version = 1
	magic   = "LVINDEX\n"
)

// Kinds of blocks. Zero is none, so that an empty page is not a block.
const (
	kindCheckpoint = 1
	kindSeal       = 2
)

// Errors of Decode. A torn block is not one: it ends the file.
var (
	ErrNotIndex = errors.New("not an index file")
	ErrVersion  = errors.New("index file of an unknown version")
	ErrCorrupt  = errors.New("index file header is damaged")
)

// Header names the segment that an index file belongs to.
type Header struct {
	Generation uint64 // the segment's life
	BaseOffset int64  // its first record's number
}

// Summary is the state of a segment at a checkpoint.
type Summary struct {
	EndPosition int64 // bytes of the file that are whole
	NextOffset  int64 // number of the record that comes next
	Records     int64 // records in the segment
	MaxTime     int64 // their latest time, ms; NoTime without any
	Sealed      bool  // nothing will follow
}

// AppendHeader appends the bytes of a file header.
func AppendHeader(buf []byte, h Header) []byte {
	start := len(buf)
	buf = append(buf, magic...)
	buf = binary.BigEndian.AppendUint16(buf, version)
	buf = binary.BigEndian.AppendUint16(buf, 0)
	buf = binary.BigEndian.AppendUint32(buf, HeaderBytes)
	buf = binary.BigEndian.AppendUint64(buf, h.Generation)
	buf = binary.BigEndian.AppendUint64(buf, uint64(h.BaseOffset))
	buf = binary.BigEndian.AppendUint64(buf, 0)
	return binary.BigEndian.AppendUint64(buf, xxhash.Sum64(buf[start:]))
}

// DecodeHeader reads a file header.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes || string(b[:8]) != magic {
		return Header{}, ErrNotIndex
	}
	// A header of another length is another version's, whose checksum stands elsewhere.
	v, length := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint32(b[12:])
	if length == HeaderBytes && xxhash.Sum64(b[:40]) != binary.BigEndian.Uint64(b[40:]) {
		return Header{}, ErrCorrupt
	}
	if v != version {
		return Header{}, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	if length != HeaderBytes {
		return Header{}, ErrCorrupt
	}
	return Header{
		Generation: binary.BigEndian.Uint64(b[16:]),
		BaseOffset: int64(binary.BigEndian.Uint64(b[24:])),
	}, nil
}

// AppendBlock appends the bytes of a checkpoint or, when s is sealed, of a seal.
// entries are those since the block before.
func AppendBlock(buf []byte, generation uint64, s Summary, entries []Entry) []byte {
	start := len(buf)
	kind := uint32(kindCheckpoint)
	if s.Sealed {
		kind = kindSeal
	}
	buf = binary.BigEndian.AppendUint32(buf, kind)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(entries)))
	buf = binary.BigEndian.AppendUint64(buf, uint64(s.EndPosition))
	buf = binary.BigEndian.AppendUint64(buf, uint64(s.NextOffset))
	buf = binary.BigEndian.AppendUint64(buf, uint64(s.Records))
	buf = binary.BigEndian.AppendUint64(buf, uint64(s.MaxTime))
	buf = binary.BigEndian.AppendUint64(buf, 0)
	for _, e := range entries {
		buf = binary.BigEndian.AppendUint32(buf, e.Relative)
		buf = binary.BigEndian.AppendUint32(buf, e.Position)
		buf = binary.BigEndian.AppendUint64(buf, uint64(e.TimeBefore))
	}
	return binary.BigEndian.AppendUint64(buf, xxhash.Sum64(buf[start:])^generation)
}

// Decoded is what an index file says.
type Decoded struct {
	Header  Header
	Last    Summary // the last whole block; zero without one
	Blocks  int     // whole blocks
	Bytes   int     // length of the header and the whole blocks
	Entries []Entry
}

// Decode reads an index file up to its last whole block. An error means that
// the header is none; a torn, damaged or disordered block just ends the file.
func Decode(b []byte) (Decoded, error) {
	h, err := DecodeHeader(b)
	if err != nil {
		return Decoded{}, err
	}
	d := Decoded{Header: h, Bytes: HeaderBytes}
	for !d.Last.Sealed {
		size, s, ok := checkBlock(b[d.Bytes:], h.Generation)
		if !ok || !d.takes(s) {
			break
		}
		entries, ok := appendEntries(d.Entries, b[d.Bytes+blockHeadBytes:d.Bytes+size-blockSumBytes], s.EndPosition)
		if !ok {
			break
		}
		d.Entries, d.Last = entries, s
		d.Blocks++
		d.Bytes += size
	}
	return d, nil
}

// takes says whether a block may follow those read so far: totals never shrink.
func (d *Decoded) takes(s Summary) bool {
	if s.EndPosition < 0 || s.NextOffset < d.Header.BaseOffset || s.Records < 0 {
		return false
	}
	return d.Blocks == 0 || s.EndPosition >= d.Last.EndPosition && s.NextOffset >= d.Last.NextOffset &&
		s.Records >= d.Last.Records && s.MaxTime >= d.Last.MaxTime
}

// checkBlock reads the block at the front of b; the checksum holds when ok.
func checkBlock(b []byte, generation uint64) (size int, s Summary, ok bool) {
	if len(b) < blockHeadBytes+blockSumBytes {
		return 0, s, false
	}
	kind, n := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	room := (len(b) - blockHeadBytes - blockSumBytes) / EntryBytes
	if kind != kindCheckpoint && kind != kindSeal || int64(n) > int64(room) {
		return 0, s, false
	}
	body := blockHeadBytes + int(n)*EntryBytes
	if xxhash.Sum64(b[:body])^generation != binary.BigEndian.Uint64(b[body:]) {
		return 0, s, false
	}
	s = Summary{
		EndPosition: int64(binary.BigEndian.Uint64(b[8:])),
		NextOffset:  int64(binary.BigEndian.Uint64(b[16:])),
		Records:     int64(binary.BigEndian.Uint64(b[24:])),
		MaxTime:     int64(binary.BigEndian.Uint64(b[32:])),
		Sealed:      kind == kindSeal,
	}
	return body + blockSumBytes, s, true
}

// appendEntries reads a block's entries; they must rise and lie before end.
func appendEntries(into []Entry, b []byte, end int64) ([]Entry, bool) {
	for ; len(b) > 0; b = b[EntryBytes:] {
		e := Entry{
			Relative:   binary.BigEndian.Uint32(b),
			Position:   binary.BigEndian.Uint32(b[4:]),
			TimeBefore: int64(binary.BigEndian.Uint64(b[8:])),
		}
		if int64(e.Position) >= end {
			return nil, false
		}
		if n := len(into); n > 0 {
			p := into[n-1]
			if e.Position <= p.Position || e.Relative <= p.Relative || e.TimeBefore < p.TimeBefore {
				return nil, false
			}
		}
		into = append(into, e)
	}
	return into, true
}

// SealBytes is the size of a seal without entries, which ends the file of a
// sealed segment.
const SealBytes = blockHeadBytes + blockSumBytes

// DecodeSeal reads the last SealBytes of a file: the state of a sealed segment
// without its entries.
func DecodeSeal(b []byte, h Header) (Summary, error) {
	size, s, ok := checkBlock(b, h.Generation)
	if !ok || size != len(b) || !s.Sealed || s.EndPosition < 0 || s.NextOffset < h.BaseOffset || s.Records < 0 {
		return Summary{}, fmt.Errorf("%w: no seal at its end", ErrCorrupt)
	}
	return s, nil
}
