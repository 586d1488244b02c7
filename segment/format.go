package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

const (
	// HeaderBytes is the size of the file header: the first batch stands there.
	HeaderBytes = 128

	// LogSuffix and IndexSuffix end the names of a segment's two files.
	LogSuffix   = ".log"
	IndexSuffix = ".idx"
	// DamagedSuffix is added to the name of a file that recovery set aside.
	DamagedSuffix = ".damaged"

	version       = 1
	mergedVersion = 2 // of one that takes the place of several; earlier releases must not read it
	magic         = "LVSEGMT\n"
)

// Errors of DecodeHeader.
var (
	ErrNotSegment = errors.New("not a segment file")
	ErrVersion    = errors.New("segment file of an unknown version")
	ErrHeader     = errors.New("segment header is damaged")
)

// Header is the start of a segment file.
type Header struct {
	Generation     uint64 // random for each life of the file, never 0
	BaseOffset     int64  // number of the first record
	CreatedMs      int64  // when this life began, ms since 1970
	AllocatedBytes int64  // size of the file at that time
	// Covers, if not 0, says that the file took the place of several: files that begin
	// behind BaseOffset and before Covers are left over. It makes the version 2.
	Covers int64
}

func (h Header) version() uint16 {
	if h.Covers > 0 {
		return mergedVersion
	}
	return version
}

// Put writes the header's HeaderBytes bytes over b.
func (h Header) Put(b []byte) {
	clear(b[:HeaderBytes])
	copy(b, magic)
	binary.BigEndian.PutUint16(b[8:], h.version())
	binary.BigEndian.PutUint32(b[12:], HeaderBytes)
	binary.BigEndian.PutUint64(b[16:], h.Generation)
	binary.BigEndian.PutUint64(b[24:], uint64(h.BaseOffset))
	binary.BigEndian.PutUint64(b[32:], uint64(h.CreatedMs))
	binary.BigEndian.PutUint64(b[40:], uint64(h.AllocatedBytes))
	binary.BigEndian.PutUint64(b[48:], uint64(h.Covers))
	binary.BigEndian.PutUint64(b[120:], xxhash.Sum64(b[:120]))
}

// DecodeHeader reads a segment file's first bytes.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes || string(b[:8]) != magic {
		return Header{}, ErrNotSegment
	}
	// A header of another length is another version's, whose checksum stands elsewhere.
	v, length := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint32(b[12:])
	if length == HeaderBytes && xxhash.Sum64(b[:120]) != binary.BigEndian.Uint64(b[120:]) {
		return Header{}, ErrHeader
	}
	if v != version && v != mergedVersion {
		return Header{}, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	if length != HeaderBytes {
		return Header{}, ErrHeader
	}
	h := Header{
		Generation:     binary.BigEndian.Uint64(b[16:]),
		BaseOffset:     int64(binary.BigEndian.Uint64(b[24:])),
		CreatedMs:      int64(binary.BigEndian.Uint64(b[32:])),
		AllocatedBytes: int64(binary.BigEndian.Uint64(b[40:])),
	}
	if v == mergedVersion {
		if h.Covers = int64(binary.BigEndian.Uint64(b[48:])); h.Covers <= h.BaseOffset {
			return Header{}, ErrHeader
		}
	}
	return h, nil
}

// FileName is the name of the segment whose first record is base.
func FileName(base int64) string { return fmt.Sprintf("%020d%s", base, LogSuffix) }

// ParseName returns the base offset in a segment file's name.
func ParseName(name string) (base int64, ok bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), LogSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return base, err == nil && base >= 0
}

// IndexName is the name of the index file beside a segment file.
func IndexName(name string) string { return strings.TrimSuffix(name, LogSuffix) + IndexSuffix }
