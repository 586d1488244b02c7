package message

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// ErrMemory says that a batch can't be inspected with the memory that was allowed.
var ErrMemory = errors.New("the compressed batch takes more memory to look into")

const (
	// OrdinaryBytes is what an inspection may take of memory that is there anyway:
	// longer blocks want more.
	OrdinaryBytes = 1 << 20
	// pieceBytes is how much is unpacked at a time.
	pieceBytes = 64 << 10
	// ordinaryWindow is the largest window of a zstd stream that is there anyway. It
	// is what the format asks of every decoder (RFC 8878, 3.1.1.1.2).
	ordinaryWindow = 8 << 20
)

// inspectors are the decoders that look into batches, as many as processors: more at
// a time would be no quicker, and each keeps up to some 10 MiB.
var inspectors = func() chan *inspector {
	all := make(chan *inspector, runtime.GOMAXPROCS(0))
	for range cap(all) {
		all <- new(inspector)
	}
	return all
}()

// wideZstd keeps the decoder of a wide inspection with its memory until the collector runs.
var wideZstd sync.Pool

// inspector is the memory of one inspection at a time. Its parts are made when
// they are first needed.
type inspector struct {
	buf     []byte // OrdinaryBytes
	src     bytes.Reader
	gzip    *gzip.Reader
	lz4     *lz4.Reader
	snappy  snappyReader
	stretch Stretch
	whole   *zstd.Decoder // into buf
	stream  *zstd.Decoder
}

// Walker looks at the records of a batch, which come piece by piece.
type Walker interface {
	// Records walks the records that are whole in b and returns how many bytes they take.
	Records(b []byte) (used int, err error)
	// Enough reports whether nothing more is wanted.
	Enough() bool
	// Long walks one record that is too long to be seen as a whole.
	Long(s *Stretch) error
	// End is the verdict when rest bytes were left over at the end, or when it was enough.
	End(rest int) error
}

// Walk unpacks the records of a batch piece by piece for w, and returns how many bytes
// they are. Nothing of them is kept. ErrUnpacked says that they are more than limit;
// ErrMemory that a block or a window of the compression needs more memory at once than
// allowed, which may be had for another try, with a new Walker: the caller sees to how
// many at a time have it.
func Walk(w Walker, codec int, packed []byte, limit, allowed int) (unpacked int, err error) {
	in := <-inspectors
	defer func() {
		in.src.Reset(nil)
		in.stretch = Stretch{}
		inspectors <- in
	}()
	if in.buf == nil {
		in.buf = make([]byte, OrdinaryBytes)
	}
	in.src.Reset(packed)
	switch codec {
	case CodecNone:
		return in.walk(w, &in.src, limit)
	case CodecGzip:
		if in.gzip == nil {
			in.gzip = new(gzip.Reader)
		}
		if err := in.gzip.Reset(&in.src); err != nil {
			return 0, fmt.Errorf("gzip: %w", err)
		}
		in.gzip.Multistream(false) // not every reader goes on behind the first
		return in.walk(w, (*gzipReader)(in), limit)
	case CodecSnappy:
		in.snappy.reset(packed, min(limit, max(allowed, OrdinaryBytes)))
		defer in.snappy.reset(nil, 0)
		return in.walk(w, &in.snappy, limit)
	case CodecLZ4:
		if in.lz4 == nil {
			in.lz4 = lz4.NewReader(nil)
		}
		if err := oneLZ4Frame(packed); err != nil {
			return 0, err
		}
		in.lz4.Reset(&in.src)
		return in.walk(w, in.lz4, limit)
	case CodecZstd:
		return in.zstd(w, packed, limit, allowed)
	}
	return 0, fmt.Errorf("%w: %d", ErrCodec, codec)
}

// gzipReader reads an inspector's one gzip member, behind which nothing may follow.
type gzipReader inspector

// Read implements io.Reader.
func (r *gzipReader) Read(p []byte) (n int, err error) {
	n, err = r.gzip.Read(p)
	if err == io.EOF && r.src.Len() > 0 {
		err = fmt.Errorf("gzip: %w", errBehind)
	}
	return n, err
}

var errBehind = errors.New("bytes follow the compressed records")

// Bits of an LZ4 frame's first byte behind the magic number (LZ4 frame format 1.6).
const (
	lz4Magic       = 0x184D2204
	lz4Dictionary  = 0x01
	lz4Sum         = 0x04
	lz4Size        = 0x08
	lz4BlockSums   = 0x10
	lz4Independent = 0x20
)

// oneLZ4Frame checks what Java's reader insists on beyond the format: one frame of
// independent blocks, without a dictionary, and nothing behind it.
func oneLZ4Frame(b []byte) error {
	if len(b) < 7 || binary.LittleEndian.Uint32(b) != lz4Magic {
		return errors.New("lz4: not a frame")
	}
	flags, at := b[4], 7
	if flags&lz4Independent == 0 || flags&lz4Dictionary != 0 {
		return errors.New("lz4: blocks that depend on others")
	}
	if flags&lz4Size != 0 {
		at += 8
	}
	for size := uint32(1); size > 0; {
		if at+4 > len(b) {
			return fmt.Errorf("lz4: %w", io.ErrUnexpectedEOF)
		}
		size = binary.LittleEndian.Uint32(b[at:]) &^ (1 << 31) // the bit is for blocks that are not packed
		if size > uint32(len(b)) {
			return fmt.Errorf("lz4: %w", io.ErrUnexpectedEOF)
		}
		at += 4 + int(size)
		if flags&lz4BlockSums != 0 && size > 0 {
			at += 4
		}
	}
	if flags&lz4Sum != 0 {
		at += 4
	}
	if at < len(b) {
		return fmt.Errorf("lz4: %w", errBehind)
	}
	return nil // what is missing is seen when it is unpacked
}

// zstd unpacks at once what fits the buffer, which is quicker, and the rest as a stream.
func (in *inspector) zstd(w Walker, packed []byte, limit, allowed int) (unpacked int, err error) {
	if in.whole == nil {
		if in.whole, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return 0, fmt.Errorf("zstd: %w", err)
		}
	}
	raw, err := in.whole.DecodeAll(packed, in.buf[:0:min(limit, len(in.buf))])
	if err == nil {
		used, err := w.Records(raw)
		if err == nil {
			err = w.End(len(raw) - used)
		}
		return len(raw), err
	}
	// Mostly because the buffer is too small, which it says in several ways.
	z, err := in.zstdStream(allowed)
	if err != nil {
		return 0, fmt.Errorf("zstd: %w", err)
	}
	if err = z.Reset(&in.src); err == nil {
		unpacked, err = in.walk(w, z, limit)
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = ErrMemory
	}
	_ = z.Reset(nil) // it would keep the batch
	if z != in.stream {
		wideZstd.Put(z)
	}
	return unpacked, err
}

// zstdStream is a decoder for what is unpacked piece by piece. One for a window beyond
// the ordinary, which is rare, is not the inspector's own.
func (in *inspector) zstdStream(allowed int) (z *zstd.Decoder, err error) {
	if allowed <= ordinaryWindow {
		if in.stream == nil {
			in.stream, err = newZstdStream(ordinaryWindow)
		}
		return in.stream, err
	}
	if z, _ := wideZstd.Get().(*zstd.Decoder); z != nil {
		return z, nil
	}
	return newZstdStream(MaxUnpackedBytes)
}

func newZstdStream(window int) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(window)))
}

// walk has w look at what comes out of r, a piece at a time.
func (in *inspector) walk(w Walker, r io.Reader, limit int) (total int, err error) {
	s := &in.stretch
	*s = Stretch{from: r, limit: limit}
	piece := in.buf[:min(pieceBytes, len(in.buf))]
	for {
		err := s.fill(piece)
		used, bad := w.Records(s.piece)
		s.drop(used)
		if bad != nil || w.Enough() && len(s.piece) > 0 {
			return s.total, cmp.Or(bad, w.End(len(s.piece)))
		}
		switch {
		case err == io.EOF:
			return s.total, w.End(len(s.piece))
		case err != nil:
			return s.total, err
		case len(s.piece) < len(piece):
		case len(piece) < len(in.buf):
			piece = in.buf // which begins with what was read
		default:
			if err := w.Long(s); err != nil {
				return s.total, err
			}
		}
	}
}

// snappyReader unpacks the blocks of a snappy batch, one at a time.
type snappyReader struct {
	rest     []byte // packed blocks
	framed   bool   // each stands behind its length
	err      error
	allowed  int    // bytes that a block may unpack to
	block    []byte // memory
	unpacked []byte // of block, what was not read yet
}

func (s *snappyReader) reset(packed []byte, allowed int) {
	s.rest, s.framed, s.err, s.allowed, s.unpacked = packed, false, nil, allowed, nil
	if len(s.block) > OrdinaryBytes {
		s.block = nil
	}
	if bytes.HasPrefix(packed, xerial) {
		s.framed = true
		s.rest = packed[min(xerialHeaderBytes, len(packed)):]
		if len(packed) < xerialHeaderBytes {
			s.err = io.ErrUnexpectedEOF
		}
	}
}

// Read implements io.Reader.
func (s *snappyReader) Read(p []byte) (n int, err error) {
	for len(s.unpacked) == 0 {
		if s.err == nil {
			s.err = s.next()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n = copy(p, s.unpacked)
	s.unpacked = s.unpacked[n:]
	return n, nil
}

// next unpacks a block.
func (s *snappyReader) next() error {
	if len(s.rest) == 0 {
		return io.EOF
	}
	packed := s.rest
	if s.framed {
		if len(packed) < 4 {
			return fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
		}
		n := binary.BigEndian.Uint32(packed)
		if packed = packed[4:]; uint64(n) > uint64(len(packed)) {
			return fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
		}
		packed, s.rest = packed[:n], packed[n:]
	} else {
		s.rest = nil
	}
	n, err := snappyBytes(packed)
	if err != nil {
		return err
	}
	if n > s.allowed {
		return ErrMemory
	}
	if n > len(s.block) {
		s.block = make([]byte, max(n, pieceBytes))
	}
	// Not s2, which reads a superset that other readers do not.
	if _, err := snappy.Decode(s.block[:n], packed); err != nil {
		return fmt.Errorf("snappy: %w", err)
	}
	s.unpacked = s.block[:n]
	return nil
}
