package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Frame types of section 4.2.3.
const (
	FrameMethod    = 1
	FrameHeader    = 2
	FrameBody      = 3
	FrameHeartbeat = 8

	// FrameEnd closes every frame.
	FrameEnd = 0xCE
)

const (
	// FrameHeaderBytes is the size of type, channel and size.
	FrameHeaderBytes = 7
	// FrameOverheadBytes is what a frame adds to its payload: header and end octet.
	FrameOverheadBytes = FrameHeaderBytes + 1
	// MinFrameMaxBytes is the smallest frame_max that a peer may ask for; every method but the tables must fit.
	MinFrameMaxBytes = 4096
)

// ProtocolHeader is what a 0-9-1 client sends first, and what a server answers to anything else.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// Frame errors. Each is a 501 FRAME_ERROR on a connection.
var (
	ErrFrameEnd   = errors.New("frame does not end with 0xCE")
	ErrFrameType  = errors.New("unknown frame type")
	ErrFrameLarge = errors.New("frame is larger than frame_max")
)

// Frame is one frame in a read buffer. Payload aliases the buffer.
type Frame struct {
	Type    byte
	Channel uint16
	Payload []byte
}

// ParseFrame takes the first frame out of buf. n is the number of bytes it used, or 0 when buf does
// not hold all of it; need is then the number of bytes that it takes at least. Frames with a payload
// above maxPayloadBytes are refused as soon as their header is there.
func ParseFrame(buf []byte, maxPayloadBytes int) (f Frame, n, need int, err error) {
	if len(buf) < FrameHeaderBytes {
		if len(buf) > 0 && !knownFrameType(buf[0]) {
			return f, 0, 0, fmt.Errorf("%w %d", ErrFrameType, buf[0])
		}
		return f, 0, FrameHeaderBytes, nil
	}
	f.Type = buf[0]
	f.Channel = binary.BigEndian.Uint16(buf[1:])
	size := binary.BigEndian.Uint32(buf[3:])
	if !knownFrameType(f.Type) {
		return f, 0, 0, fmt.Errorf("%w %d", ErrFrameType, f.Type)
	}
	if uint64(size) > uint64(maxPayloadBytes) {
		return f, 0, 0, fmt.Errorf("%w: payload of %d bytes, %d allowed", ErrFrameLarge, size, maxPayloadBytes)
	}
	n = int(size) + FrameOverheadBytes
	if len(buf) < n {
		return f, 0, n, nil
	}
	if buf[n-1] != FrameEnd {
		return f, 0, 0, ErrFrameEnd
	}
	f.Payload = buf[FrameHeaderBytes : n-1 : n-1]
	return f, n, 0, nil
}

func knownFrameType(t byte) bool {
	return t == FrameMethod || t == FrameBody || t == FrameHeader || t == FrameHeartbeat
}

// AppendFrame appends one whole frame around payload.
func AppendFrame(buf []byte, kind byte, channel uint16, payload []byte) []byte {
	buf = appendFrameHeader(buf, kind, channel, len(payload))
	buf = append(buf, payload...)
	return append(buf, FrameEnd)
}

// AppendHeartbeat appends the heartbeat frame.
func AppendHeartbeat(buf []byte) []byte {
	return append(buf, FrameHeartbeat, 0, 0, 0, 0, 0, 0, FrameEnd)
}

func appendFrameHeader(buf []byte, kind byte, channel uint16, size int) []byte {
	return append(buf, kind, byte(channel>>8), byte(channel), byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// AppendMethod appends the method frame of m on a channel. Short strings above 255 bytes are cut.
func AppendMethod(buf []byte, channel uint16, m Method) []byte {
	start := len(buf)
	id := m.ID()
	buf = appendFrameHeader(buf, FrameMethod, channel, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(id))
	a := args{encode: true, out: buf}
	m.args(&a)
	buf = a.out
	binary.BigEndian.PutUint32(buf[start+3:], uint32(len(buf)-start-FrameHeaderBytes))
	return append(buf, FrameEnd)
}

// AppendBody appends body as frames whose payloads are at most maxPayloadBytes; none for an empty body.
func AppendBody(buf []byte, channel uint16, body []byte, maxPayloadBytes int) []byte {
	for len(body) > 0 {
		n := min(len(body), maxPayloadBytes)
		buf = AppendFrame(buf, FrameBody, channel, body[:n])
		body = body[n:]
	}
	return buf
}

// CountFrames is how many whole frames stand back to back in b, which we made.
func CountFrames(b []byte) (n uint64) {
	for len(b) >= FrameOverheadBytes {
		size := int(binary.BigEndian.Uint32(b[3:])) + FrameOverheadBytes
		b = b[min(size, len(b)):]
		n++
	}
	return n
}
