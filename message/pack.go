package message

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Pack is the counterpart of Unpack: it appends src, packed, to dst. It takes about as much memory as its result.
func Pack(dst []byte, codec int, src []byte) ([]byte, error) {
	switch codec {
	case CodecNone:
		return append(dst, src...), nil
	case CodecGzip:
		out := bytes.NewBuffer(dst)
		w := gzip.NewWriter(out)
		_, _ = w.Write(src)
		err := w.Close()
		return out.Bytes(), err
	case CodecSnappy:
		return append(dst, snappy.Encode(nil, src)...), nil
	case CodecLZ4:
		out := bytes.NewBuffer(dst)
		w := lz4.NewWriter(out)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
			return dst, err
		}
		_, _ = w.Write(src)
		err := w.Close()
		return out.Bytes(), err
	case CodecZstd:
		z, _ := zstdWriters.Get().(*zstd.Encoder)
		if z == nil {
			var err error
			if z, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packWindow)); err != nil {
				return dst, fmt.Errorf("zstd: %w", err)
			}
		}
		defer zstdWriters.Put(z)
		return z.EncodeAll(src, dst), nil
	}
	return dst, fmt.Errorf("%w: %d", ErrCodec, codec)
}

// packWindow is how far back zstd looks for what repeats: every reader has the memory for it.
const packWindow = 1 << 20

// zstdWriters keep encoders, without goroutines of their own, until the collector runs.
var zstdWriters sync.Pool
