package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Property flags, in the order in which the properties follow them. A property is there only if its flag is set.
const (
	FlagContentType     uint16 = 1 << 15
	FlagContentEncoding uint16 = 1 << 14
	FlagHeaders         uint16 = 1 << 13
	FlagDeliveryMode    uint16 = 1 << 12
	FlagPriority        uint16 = 1 << 11
	FlagCorrelationID   uint16 = 1 << 10
	FlagReplyTo         uint16 = 1 << 9
	FlagExpiration      uint16 = 1 << 8
	FlagMessageID       uint16 = 1 << 7
	FlagTimestamp       uint16 = 1 << 6
	FlagType            uint16 = 1 << 5
	FlagUserID          uint16 = 1 << 4
	FlagAppID           uint16 = 1 << 3
	FlagClusterID       uint16 = 1 << 2

	// unusedFlags would announce a second flag word or a fifteenth property; 0-9-1 has neither.
	unusedFlags uint16 = 3
)

// ErrProperties says that a content header's properties are malformed (502 SYNTAX_ERROR).
var ErrProperties = errors.New("malformed properties")

// RawProperties is a content header's payload after body size: the flag word and the property list,
// exactly as published. It is what is stored and what is delivered; nothing in between decodes it.
type RawProperties []byte

// NoProperties is the flag word of a message without properties.
var NoProperties = RawProperties{0, 0}

// Flags is the flag word; 0 where there is none.
func (p RawProperties) Flags() uint16 {
	if len(p) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(p)
}

// Properties is the decoded list. Slices alias the raw bytes; a property whose flag is not set is zero.
type Properties struct {
	Flags           uint16
	DeliveryMode    uint8
	Priority        uint8
	Timestamp       uint64 // seconds since 1970
	ContentType     []byte
	ContentEncoding []byte
	Headers         Table
	CorrelationID   []byte
	ReplyTo         []byte
	Expiration      []byte // decimal milliseconds, unless the publisher is wrong
	MessageID       []byte
	Type            []byte
	UserID          []byte
	AppID           []byte
	ClusterID       []byte

	// headersAt and headersEnd are where the headers table lies in the raw bytes, its length included.
	headersAt, headersEnd int
}

// Parse decodes and checks the whole list into props without allocating.
func (p RawProperties) Parse(props *Properties) error {
	*props = Properties{}
	if len(p) < 2 {
		return fmt.Errorf("%w: no flags", ErrProperties)
	}
	r := reader{buf: p[2:]}
	flags := binary.BigEndian.Uint16(p)
	props.Flags = flags
	if flags&unusedFlags != 0 {
		return fmt.Errorf("%w: flags %#04x", ErrProperties, flags)
	}
	if flags&FlagContentType != 0 {
		props.ContentType = r.shortBytes()
	}
	if flags&FlagContentEncoding != 0 {
		props.ContentEncoding = r.shortBytes()
	}
	if flags&FlagHeaders != 0 {
		props.headersAt = len(p) - len(r.buf)
		props.Headers = r.table()
		props.headersEnd = len(p) - len(r.buf)
	}
	if flags&FlagDeliveryMode != 0 {
		props.DeliveryMode = r.u8()
	}
	if flags&FlagPriority != 0 {
		props.Priority = r.u8()
	}
	if flags&^(FlagContentType|FlagContentEncoding|FlagHeaders|FlagDeliveryMode|FlagPriority) != 0 {
		props.parseRest(&r)
	}
	if r.deep {
		return fmt.Errorf("%w: %w", ErrProperties, ErrTableDepth)
	}
	if r.bad || len(r.buf) != 0 {
		return fmt.Errorf("%w: list does not fit flags %#04x", ErrProperties, flags)
	}
	return nil
}

func (props *Properties) parseRest(r *reader) {
	if props.Flags&FlagCorrelationID != 0 {
		props.CorrelationID = r.shortBytes()
	}
	if props.Flags&FlagReplyTo != 0 {
		props.ReplyTo = r.shortBytes()
	}
	if props.Flags&FlagExpiration != 0 {
		props.Expiration = r.shortBytes()
	}
	if props.Flags&FlagMessageID != 0 {
		props.MessageID = r.shortBytes()
	}
	if props.Flags&FlagTimestamp != 0 {
		props.Timestamp = r.u64()
	}
	if props.Flags&FlagType != 0 {
		props.Type = r.shortBytes()
	}
	if props.Flags&FlagUserID != 0 {
		props.UserID = r.shortBytes()
	}
	if props.Flags&FlagAppID != 0 {
		props.AppID = r.shortBytes()
	}
	if props.Flags&FlagClusterID != 0 {
		props.ClusterID = r.shortBytes()
	}
}

// Check tells whether the list is well formed, which a message must be before it is stored. The lists
// that most publishers send, none or a delivery mode alone, are recognised by their length.
func (p RawProperties) Check() error {
	switch {
	case len(p) == 2 && p[0] == 0 && p[1] == 0:
		return nil
	case len(p) == 3 && p[0] == byte(FlagDeliveryMode>>8) && p[1] == 0:
		return nil
	}
	var props Properties
	return p.Parse(&props)
}

// HeadersOf is the headers table in p, a copy of what props was parsed from; it must have had a table.
func (p RawProperties) HeadersOf(props *Properties) Table {
	return Table(p[props.headersEnd-len(props.Headers) : props.headersEnd])
}

// AppendWithHeaders appends p with its headers table replaced; props is p parsed, and must have had a table.
func (p RawProperties) AppendWithHeaders(buf []byte, props *Properties, headers Table) []byte {
	buf = append(buf, p[:props.headersAt]...)
	buf = appendLong(buf, headers)
	return append(buf, p[props.headersEnd:]...)
}

// AppendTo appends the raw form of props: the way back from Parse, for tests and clients.
func (props *Properties) AppendTo(buf []byte) []byte {
	start := len(buf)
	buf = append(buf, 0, 0)
	var flags uint16
	short := func(flag uint16, v []byte) {
		if v != nil {
			flags |= flag
			buf = appendShort(buf, string(v))
		}
	}
	short(FlagContentType, props.ContentType)
	short(FlagContentEncoding, props.ContentEncoding)
	if props.Headers != nil {
		flags |= FlagHeaders
		buf = appendLong(buf, props.Headers)
	}
	if props.DeliveryMode != 0 {
		flags |= FlagDeliveryMode
		buf = append(buf, props.DeliveryMode)
	}
	if props.Priority != 0 || props.Flags&FlagPriority != 0 {
		flags |= FlagPriority
		buf = append(buf, props.Priority)
	}
	short(FlagCorrelationID, props.CorrelationID)
	short(FlagReplyTo, props.ReplyTo)
	short(FlagExpiration, props.Expiration)
	short(FlagMessageID, props.MessageID)
	if props.Timestamp != 0 || props.Flags&FlagTimestamp != 0 {
		flags |= FlagTimestamp
		buf = appendU64(buf, props.Timestamp)
	}
	short(FlagType, props.Type)
	short(FlagUserID, props.UserID)
	short(FlagAppID, props.AppID)
	short(FlagClusterID, props.ClusterID)
	binary.BigEndian.PutUint16(buf[start:], flags)
	return buf
}

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
