package wire

import (
	"encoding/binary"
	"slices"
)

// Content is a message on its way to a client. The slices are only read.
type Content struct {
	Exchange   []byte
	Key        []byte
	Properties RawProperties
	Body       []byte
}

// DeliveryEncoder appends deliveries of one consumer. Everything that is the same in each of them is
// encoded once, when it is made.
type DeliveryEncoder struct {
	channel         [2]byte
	maxPayloadBytes int
	// prefix is the method frame up to and including the consumer tag; its size field is filled in per delivery.
	prefix []byte
}

// NewDeliveryEncoder makes the encoder of one consumer; body frames get at most frameMaxBytes - 8 bytes.
func NewDeliveryEncoder(channel uint16, consumerTag string, frameMaxBytes int) *DeliveryEncoder {
	e := &DeliveryEncoder{maxPayloadBytes: frameMaxBytes - FrameOverheadBytes}
	binary.BigEndian.PutUint16(e.channel[:], channel)
	e.prefix = appendFrameHeader(nil, FrameMethod, channel, 0)
	e.prefix = binary.BigEndian.AppendUint32(e.prefix, uint32(IDBasicDeliver))
	e.prefix = appendShort(e.prefix, consumerTag)
	return e
}

// HeadBytes is the number of bytes that AppendHead would append for c.
func (e *DeliveryEncoder) HeadBytes(c *Content) int {
	return len(e.prefix) + 12 + len(c.Exchange) + len(c.Key) + FrameOverheadBytes + 12 + max(len(c.Properties), 2)
}

// Append appends method, header and body frames of one delivery. Names above 255 bytes are cut.
func (e *DeliveryEncoder) Append(buf []byte, tag uint64, redelivered bool, c *Content) []byte {
	size := len(c.Body)
	buf = slices.Grow(buf, e.HeadBytes(c)+size+FrameOverheadBytes*(1+size/e.maxPayloadBytes))
	buf = e.AppendHead(buf, tag, redelivered, c)
	if size == 0 {
		return buf
	}
	if size <= e.maxPayloadBytes {
		buf = append(buf, FrameBody, e.channel[0], e.channel[1], byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
		buf = append(buf, c.Body...)
		return append(buf, FrameEnd)
	}
	return AppendBody(buf, binary.BigEndian.Uint16(e.channel[:]), c.Body, e.maxPayloadBytes)
}

// AppendHead appends the method and header frames of one delivery and leaves the body to the caller, who
// sends it in place, AppendBodyBorder between its parts.
func (e *DeliveryEncoder) AppendHead(buf []byte, tag uint64, redelivered bool, c *Content) []byte {
	exchange, key, props := c.Exchange, c.Key, c.Properties
	if len(exchange) > MaxShortStringBytes {
		exchange = exchange[:MaxShortStringBytes]
	}
	if len(key) > MaxShortStringBytes {
		key = key[:MaxShortStringBytes]
	}
	if len(props) < 2 {
		props = NoProperties
	}
	n := len(e.prefix) + 11 + len(exchange) + len(key)
	headerSize := 12 + len(props)
	at := len(buf)
	buf = slices.Grow(buf, n+1+FrameOverheadBytes+headerSize)
	b := buf[at : at+n+1+FrameOverheadBytes+headerSize]

	copy(b, e.prefix)
	binary.BigEndian.PutUint32(b[3:], uint32(n-FrameHeaderBytes))
	i := len(e.prefix)
	binary.BigEndian.PutUint64(b[i:], tag)
	b[i+8] = bits(redelivered)
	b[i+9] = byte(len(exchange))
	i += 10 + copy(b[i+10:], exchange)
	b[i] = byte(len(key))
	i += 1 + copy(b[i+1:], key)
	b[i] = FrameEnd

	h := b[n+1:]
	h[0], h[1], h[2] = FrameHeader, e.channel[0], e.channel[1]
	binary.BigEndian.PutUint32(h[3:], uint32(headerSize))
	binary.BigEndian.PutUint32(h[FrameHeaderBytes:], ClassBasic<<16)
	binary.BigEndian.PutUint64(h[FrameHeaderBytes+4:], uint64(len(c.Body)))
	copy(h[FrameHeaderBytes+12:], props)
	h[FrameHeaderBytes+headerSize] = FrameEnd
	return buf[:at+len(b)]
}

// AppendBodyBorder appends what stands before a part of a body: the end octet of the part before it, if
// there was one, and the header of a body frame of size bytes.
func (e *DeliveryEncoder) AppendBodyBorder(buf []byte, size int, first bool) []byte {
	if !first {
		buf = append(buf, FrameEnd)
	}
	return append(buf, FrameBody, e.channel[0], e.channel[1], byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// MaxPartBytes is the most of a body that one frame carries.
func (e *DeliveryEncoder) MaxPartBytes() int { return e.maxPayloadBytes }

// AppendContent appends a whole message behind any method that carries one: basic.return and basic.get-ok.
func AppendContent(buf []byte, channel uint16, m Method, props RawProperties, body []byte, frameMaxBytes int) []byte {
	buf = AppendMethod(buf, channel, m)
	buf = AppendContentHeader(buf, channel, uint64(len(body)), props)
	return AppendBody(buf, channel, body, frameMaxBytes-FrameOverheadBytes)
}
