package message

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codecs of a record batch, as its attributes number them.
const (
	CodecNone = iota
	CodecGzip
	CodecSnappy
	CodecLZ4
	CodecZstd
)

// MaxUnpackedBytes bounds what one compressed batch may grow to, so that a small
// hostile batch can't ask for all memory. Java's own producer stays below 1 MiB.
const MaxUnpackedBytes = 256 << 20

// Errors of Unpack.
var (
	ErrCodec    = errors.New("unknown compression codec")
	ErrUnpacked = errors.New("compressed batch grows beyond its limit")
)

var (
	gzipReaders sync.Pool
	lz4Readers  sync.Pool
	zstdReaders sync.Pool
	// smallZstdReaders stop at OrdinaryBytes.
	smallZstdReaders sync.Pool
)

// keepDecodedBytes is the output from which on a zstd decoder is not used again:
// it refers to what it decoded last, which would stay in memory with it.
const keepDecodedBytes = 1 << 20

// Unpack decompresses the records of a batch behind dst and returns the longer
// slice. For CodecNone it copies. ErrUnpacked says that they are more than limit bytes,
// which is OrdinaryBytes or MaxUnpackedBytes.
func Unpack(dst []byte, codec int, src []byte, limit int) ([]byte, error) {
	switch codec {
	case CodecNone:
		return append(dst, src...), nil
	case CodecGzip:
		return unpackGzip(dst, src, limit)
	case CodecSnappy:
		return unpackSnappy(dst, src, limit)
	case CodecLZ4:
		r, _ := lz4Readers.Get().(*lz4.Reader)
		if r == nil {
			r = lz4.NewReader(nil)
		}
		defer lz4Readers.Put(r)
		r.Reset(bytes.NewReader(src))
		return readBounded(dst, r, limit)
	case CodecZstd:
		return unpackZstd(dst, src, limit)
	}
	return dst, fmt.Errorf("%w: %d", ErrCodec, codec)
}

func unpackZstd(dst, src []byte, limit int) ([]byte, error) {
	if limit < MaxUnpackedBytes {
		return unpackSmallZstd(dst, src)
	}
	z, _ := zstdReaders.Get().(*zstd.Decoder)
	if z == nil {
		var err error
		// Without a stream and with one decoder it has no goroutine, so it needs no Close.
		if z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxUnpackedBytes)); err != nil {
			return dst, fmt.Errorf("zstd: %w", err)
		}
	}
	out, err := z.DecodeAll(src, dst)
	if len(out) <= keepDecodedBytes {
		zstdReaders.Put(z)
	}
	if err == nil && len(out)-len(dst) > MaxUnpackedBytes {
		err = ErrUnpacked
	}
	return out, err
}

// smallZstd is a decoder of what fits its buffer, whatever window it claims to need.
type smallZstd struct {
	decoder *zstd.Decoder
	buf     [OrdinaryBytes]byte
}

// unpackSmallZstd takes what does not fit for too large, which the decoder says in
// several ways.
func unpackSmallZstd(dst, src []byte) ([]byte, error) {
	z, _ := smallZstdReaders.Get().(*smallZstd)
	if z == nil {
		z = new(smallZstd)
		var err error
		if z.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return dst, fmt.Errorf("zstd: %w", err)
		}
	}
	defer smallZstdReaders.Put(z)
	out, err := z.decoder.DecodeAll(src, z.buf[:0])
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrUnpacked, err)
	}
	return append(dst, out...), nil
}

func unpackGzip(dst, src []byte, limit int) ([]byte, error) {
	r, _ := gzipReaders.Get().(*gzip.Reader)
	if r == nil {
		r = new(gzip.Reader)
	}
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return dst, fmt.Errorf("gzip: %w", err)
	}
	return readBounded(dst, r, limit)
}

// xerial is the framing that Java's snappy stream writes around its blocks:
// magic, two versions, then blocks each behind its length (snappy-java, SnappyOutputStream).
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderBytes = 16

func unpackSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerial) {
		return unpackBlock(dst, src, limit)
	}
	if len(src) < xerialHeaderBytes {
		return dst, fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
	}
	src = src[xerialHeaderBytes:]
	start := len(dst)
	for len(src) > 0 {
		if len(src) < 4 {
			return dst, fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
		}
		n := binary.BigEndian.Uint32(src)
		if uint64(n) > uint64(len(src)-4) {
			return dst, fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
		}
		var err error
		if dst, err = unpackBlock(dst, src[4:4+n], limit); err != nil {
			return dst, err
		}
		if len(dst)-start > limit {
			return dst, ErrUnpacked
		}
		src = src[4+n:]
	}
	return dst, nil
}

// snappyBytes is what a block says that it unpacks to.
func snappyBytes(src []byte) (int, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return 0, fmt.Errorf("snappy: %w", err)
	}
	// A block can't grow more than its two-byte copies allow, so a claimed length
	// beyond 64 times the input is a lie and is not allocated for.
	if n > 64*len(src)+64 {
		return 0, fmt.Errorf("snappy: a block of %d bytes can't hold %d", len(src), n)
	}
	return n, nil
}

func unpackBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := snappyBytes(src)
	if err != nil {
		return dst, err
	}
	if n > limit {
		return dst, ErrUnpacked
	}
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := s2.Decode(dst[at:], src); err != nil {
		return dst[:at], fmt.Errorf("snappy: %w", err)
	}
	return dst, nil
}

// readBounded appends all of r to dst, up to limit bytes.
func readBounded(dst []byte, r io.Reader, limit int) ([]byte, error) {
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-start > limit {
			return dst, ErrUnpacked
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}
