package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Limits of one request frame, in bytes without the size field itself.
const (
	// MaxFrameBytes is Kafka's socket.request.max.bytes.
	MaxFrameBytes = 100 << 20
	// MaxUnauthenticatedBytes bounds what a stranger may send on a listener
	// that asks for SASL.
	MaxUnauthenticatedBytes = 64 << 10
	// MaxPlainBytes bounds every other request: what Kafka takes is bounded by
	// memory alone, but these are lists of names.
	MaxPlainBytes = 16 << 20
	// MaxPartitions bounds the topics and the partitions named in one Produce
	// or Fetch request.
	MaxPartitions = 100_000
	// HeadBytes is how much of a frame, size included, says what it is.
	HeadBytes = 12
)

// Header is what stands in front of every request.
type Header struct {
	Key         Key
	Version     int16
	Correlation int32
	// ClientID aliases the frame; nil when the client sent none.
	ClientID []byte
}

// FrameBytes reads a frame's size field and holds it against limit. The error
// says the size; there is no answer to it but closing the connection.
func FrameBytes(field []byte, limit int) (int, error) {
	n := int(int32(binary.BigEndian.Uint32(field)))
	if n < HeadBytes-4 {
		return 0, fmt.Errorf("frame of %d bytes: %w", n, ErrMalformed)
	}
	if n > limit {
		return 0, fmt.Errorf("frame of %d bytes is larger than the limit of %d", n, limit)
	}
	return n, nil
}

// LimitOf returns how large a frame of a key may be on an authenticated
// connection. Unknown keys get the smallest limit: they are refused anyway.
func LimitOf(k Key) int {
	if k == Produce {
		return MaxFrameBytes
	}
	return MaxPlainBytes
}

// ParseHeader reads the header of a frame (without its size field) and returns
// the request's body. For a version that is not served only Key, Version and
// Correlation are meaningful and the error is Refused: the shape of what
// follows is unknown.
func ParseHeader(frame []byte) (h Header, body []byte, err error) {
	r := decoder{src: frame}
	h.Key, h.Version, h.Correlation = Key(r.int16()), r.int16(), r.int32()
	if r.bad {
		return h, nil, ErrMalformed
	}
	s := Lookup(h.Key)
	if s == nil || !s.Serves(h.Version) {
		return h, nil, &Refused{h.Key, h.Version}
	}
	h.ClientID, _ = r.str(false)
	r.tags(s.IsFlexible(h.Version))
	return h, r.src, r.done()
}

// Bounds of what may be a request of a Kafka that is newer than this, and is no garbage.
const (
	maxKey     = 999
	maxVersion = 99
)

// Plausible says whether a frame with this header may be a request of Kafka's protocol, of a key or version that is not served.
// Other protocols' bytes are no answer's worth.
func (h Header) Plausible() bool {
	return h.Key >= 0 && h.Key <= maxKey && h.Version >= 0 && h.Version <= maxVersion
}

// ParseAsNewest is ParseHeader for a version beyond those that are served, which is taken for the newest of them. It changes the
// frame.
func ParseAsNewest(frame []byte) (h Header, body []byte, err error) {
	if s := Lookup(Key(binary.BigEndian.Uint16(frame))); s != nil {
		binary.BigEndian.PutUint16(frame[2:], uint16(s.Max))
	}
	return ParseHeader(frame)
}

// Refused says that a key or version is not served.
type Refused struct {
	Key     Key
	Version int16
}

func (e *Refused) Error() string {
	return fmt.Sprintf("request key %d version %d is not served", e.Key, e.Version)
}

// AppendResponseHeader appends a response's header behind four bytes left free
// for the frame's size, which Finish fills in.
func AppendResponseHeader(dst []byte, h Header) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = appendInt32(dst, h.Correlation)
	if h.Key == APIVersions {
		return dst
	}
	return appendTags(dst, flexible(h))
}

// flexible says whether a request is of a flexible version, served or not.
func flexible(h Header) bool {
	if s := Lookup(h.Key); s != nil {
		return s.IsFlexible(h.Version)
	}
	req := kmsg.RequestForKey(int16(h.Key))
	if req == nil {
		return false
	}
	req.SetVersion(h.Version)
	return req.IsFlexible()
}

// Malformed says of an error which request it was.
func (h Header) Malformed(err error) error {
	return fmt.Errorf("%s version %d: %w", h.Key, h.Version, err)
}

// Finish writes the size of the frame that begins at dst[start:] into its
// first four bytes; more is the number of bytes that follow outside dst.
func Finish(dst []byte, start, more int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4+more))
	return dst
}
