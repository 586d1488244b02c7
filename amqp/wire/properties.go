package wire

import (
	"encoding/binary"
	"fmt"
)

// ContentHeader is the payload of a header frame. Properties alias it.
type ContentHeader struct {
	Class      uint16
	BodySize   uint64
	Properties RawProperties
}

// ParseContentHeader reads the payload of a header frame; the properties are not looked into.
func ParseContentHeader(payload []byte) (h ContentHeader, err error) {
	if len(payload) < 14 {
		return h, fmt.Errorf("%w: content header of %d bytes", ErrSyntax, len(payload))
	}
	h.Class = binary.BigEndian.Uint16(payload)
	h.BodySize = binary.BigEndian.Uint64(payload[4:])
	h.Properties = RawProperties(payload[12:])
	return h, nil
}

// AppendContentHeader appends the header frame of a basic message.
func AppendContentHeader(buf []byte, channel uint16, bodySize uint64, props RawProperties) []byte {
	if len(props) < 2 {
		props = NoProperties
	}
	buf = appendFrameHeader(buf, FrameHeader, channel, 12+len(props))
	buf = append(buf, 0, ClassBasic, 0, 0)
	buf = appendU64(buf, bodySize)
	buf = append(buf, props...)
	return append(buf, FrameEnd)
}
