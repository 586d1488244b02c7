package field

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Property flags, in the order in which the properties follow them. A property is there only if its flag is set.
const (
	FlagContentType     = 1 << 15
	FlagContentEncoding = 1 << 14
	FlagHeaders         = 1 << 13
	FlagDeliveryMode    = 1 << 12
	FlagPriority        = 1 << 11
	FlagCorrelationID   = 1 << 10
	FlagReplyTo         = 1 << 9
	FlagExpiration      = 1 << 8
	FlagMessageID       = 1 << 7
	FlagTimestamp       = 1 << 6
	FlagType            = 1 << 5
	FlagUserID          = 1 << 4
	FlagAppID           = 1 << 3
	FlagClusterID       = 1 << 2

	// unusedFlags would announce a second flag word or a fifteenth property; 0-9-1 has neither.
	unusedFlags = 3
)

// ErrProperties says that a content header's properties are malformed (502 SYNTAX_ERROR).
var ErrProperties = errors.New("malformed properties")

// RawProperties is a content header's payload after body size: the flag word and the property list,
// exactly as published. It is what is stored and what is delivered; nothing in between decodes it.
type RawProperties []byte

// NoProperties is the flag word of a message without properties.
var NoProperties = RawProperties{0, 0}

// Priority is the message's priority, 0 where there is none or the list is malformed.
func (p RawProperties) Priority() uint8 {
	if len(p) < 2 {
		return 0
	}
	flags := binary.BigEndian.Uint16(p)
	if flags&FlagPriority == 0 {
		return 0
	}
	at := 2
	for _, short := range []uint16{FlagContentType, FlagContentEncoding} {
		if flags&short != 0 && at < len(p) {
			at += 1 + int(p[at])
		}
	}
	if flags&FlagHeaders != 0 && at+4 <= len(p) {
		at += 4 + int(binary.BigEndian.Uint32(p[at:]))
	}
	if flags&FlagDeliveryMode != 0 {
		at++
	}
	if at >= len(p) {
		return 0
	}
	return p[at]
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

// Parse decodes and checks the whole list into props, with its headers table, without allocating.
func (p RawProperties) Parse(props *Properties) error {
	if err := props.Parse(p); err != nil {
		return err
	}
	if props.Headers != nil {
		if err := props.Headers.Check(); err != nil {
			return fmt.Errorf("%w: headers: %w", ErrProperties, err)
		}
	}
	return nil
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

// AppendTo is Append of all that is set, whatever Flags says of it: for tests and clients.
func (props *Properties) AppendTo(buf []byte) []byte {
	all := *props
	set := func(flag uint16, there bool) {
		if there {
			all.Flags |= flag
		}
	}
	set(FlagContentType, props.ContentType != nil)
	set(FlagContentEncoding, props.ContentEncoding != nil)
	set(FlagHeaders, props.Headers != nil)
	set(FlagDeliveryMode, props.DeliveryMode != 0)
	set(FlagPriority, props.Priority != 0)
	set(FlagCorrelationID, props.CorrelationID != nil)
	set(FlagReplyTo, props.ReplyTo != nil)
	set(FlagExpiration, props.Expiration != nil)
	set(FlagMessageID, props.MessageID != nil)
	set(FlagTimestamp, props.Timestamp != 0)
	set(FlagType, props.Type != nil)
	set(FlagUserID, props.UserID != nil)
	set(FlagAppID, props.AppID != nil)
	set(FlagClusterID, props.ClusterID != nil)
	return all.Append(buf)
}

// Parse reads flags and list, all of raw, without a look into the headers table. Slices alias raw.
func (p *Properties) Parse(raw []byte) error {
	if len(raw) < 2 {
		return fmt.Errorf("%w: no flags", ErrProperties)
	}
	f := binary.BigEndian.Uint16(raw)
	*p = Properties{Flags: f}
	if f&unusedFlags != 0 {
		return fmt.Errorf("%w: unknown flags %#04x", ErrProperties, f)
	}
	r := propertyDecoder{raw[2:], true}
	if f == 0 {
		return r.end()
	}
	r.short(f&FlagContentType, &p.ContentType)
	r.short(f&FlagContentEncoding, &p.ContentEncoding)
	if f&FlagHeaders != 0 {
		p.headersAt = len(raw) - len(r.b)
		p.Headers = r.long()
		p.headersEnd = len(raw) - len(r.b)
	}
	if f&FlagDeliveryMode != 0 {
		p.DeliveryMode = r.octet()
	}
	if f&FlagPriority != 0 {
		p.Priority = r.octet()
	}
	r.short(f&FlagCorrelationID, &p.CorrelationID)
	r.short(f&FlagReplyTo, &p.ReplyTo)
	r.short(f&FlagExpiration, &p.Expiration)
	r.short(f&FlagMessageID, &p.MessageID)
	if f&FlagTimestamp != 0 {
		p.Timestamp = r.u64()
	}
	r.short(f&FlagType, &p.Type)
	r.short(f&FlagUserID, &p.UserID)
	r.short(f&FlagAppID, &p.AppID)
	r.short(f&FlagClusterID, &p.ClusterID)
	return r.end()
}

// Append writes the properties as flags and list. Only those with a flag are written.
func (p *Properties) Append(dst []byte) []byte {
	f := p.Flags &^ unusedFlags
	dst = binary.BigEndian.AppendUint16(dst, f)
	short := func(flag uint16, v []byte) {
		if f&flag != 0 {
			v = v[:min(len(v), 255)]
			dst = append(append(dst, byte(len(v))), v...)
		}
	}
	short(FlagContentType, p.ContentType)
	short(FlagContentEncoding, p.ContentEncoding)
	if f&FlagHeaders != 0 {
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(p.Headers))), p.Headers...)
	}
	if f&FlagDeliveryMode != 0 {
		dst = append(dst, p.DeliveryMode)
	}
	if f&FlagPriority != 0 {
		dst = append(dst, p.Priority)
	}
	short(FlagCorrelationID, p.CorrelationID)
	short(FlagReplyTo, p.ReplyTo)
	short(FlagExpiration, p.Expiration)
	short(FlagMessageID, p.MessageID)
	if f&FlagTimestamp != 0 {
		dst = binary.BigEndian.AppendUint64(dst, p.Timestamp)
	}
	short(FlagType, p.Type)
	short(FlagUserID, p.UserID)
	short(FlagAppID, p.AppID)
	short(FlagClusterID, p.ClusterID)
	return dst
}
