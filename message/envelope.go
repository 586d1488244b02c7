package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// EnvelopeName is the header that carries what a publish had beside key and body.
// It is the first header of each record that did not come from a Kafka producer.
//
//	 0        1        2            2+n
//	┌────────┬────────┬────────────┬───────────────────────────────────────────┐
//	│version │ n: u8  │ exchange   │ AMQP property flags and property list,     │
//	│ = 1    │        │ (n bytes)  │ byte for byte what the publisher sent      │
//	└────────┴────────┴────────────┴───────────────────────────────────────────┘
//
// The last part is the AMQP 0-9-1 content header after its body size (§4.2.6.1
// of the specification), so that a delivery copies it and decodes nothing.
const EnvelopeName = "lv.a"

const envelopeVersion = 1

// ErrEnvelope says that an lv.a header is not one of ours, or damaged.
var ErrEnvelope = errors.New("malformed lv.a header")

// Envelope is the content of an lv.a header; its slices alias the input.
type Envelope struct {
	Exchange   []byte
	Properties []byte // flags and list; never empty
}

// ParseEnvelope splits the value of an lv.a header and checks every length in
// it, since any Kafka producer can write one.
func ParseEnvelope(v []byte) (Envelope, error) {
	if len(v) < 2 || v[0] != envelopeVersion {
		return Envelope{}, fmt.Errorf("%w: version", ErrEnvelope)
	}
	n := int(v[1])
	if len(v) < 2+n+2 {
		return Envelope{}, fmt.Errorf("%w: %d bytes", ErrEnvelope, len(v))
	}
	e := Envelope{Exchange: v[2 : 2+n], Properties: v[2+n:]}
	if !CheckProperties(e.Properties) {
		return Envelope{}, fmt.Errorf("%w: %w", ErrEnvelope, ErrProperties)
	}
	return e, nil
}

// Envelope returns the record's lv.a header; ok is false for a Kafka producer's
// record and for one whose lv.a is malformed, which then is an ordinary header.
func (rec *Record) Envelope() (Envelope, bool) {
	h := rec.Headers
	if h.Count == 0 || len(h.Raw) < 6 || h.Raw[0] != 2*byte(len(EnvelopeName)) || string(h.Raw[1:5]) != EnvelopeName {
		return Envelope{}, false
	}
	_, v, ok := h.Next()
	if !ok {
		return Envelope{}, false
	}
	e, err := ParseEnvelope(v)
	return e, err == nil
}

// Property flags, from bit 15 down (AMQP 0-9-1 §4.2.6.1).
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
	flagsKnown          = 0xFFFC
)

// ErrProperties says that AMQP property bytes contradict their flags.
var ErrProperties = errors.New("malformed message properties")

// Properties are the AMQP basic properties, parsed without copying. A property
// is there if its flag is set.
type Properties struct {
	Flags           uint16
	ContentType     []byte
	ContentEncoding []byte
	Headers         []byte // the field table's bytes, without its length
	DeliveryMode    uint8
	Priority        uint8
	CorrelationID   []byte
	ReplyTo         []byte
	Expiration      []byte
	MessageID       []byte
	Timestamp       uint64 // seconds since 1970
	Type            []byte
	UserID          []byte
	AppID           []byte
	ClusterID       []byte
}

// NoProperties are the bytes of a message without any property.
var NoProperties = []byte{0, 0}

// Parse reads flags and list; all of raw must be used up.
func (p *Properties) Parse(raw []byte) error {
	if len(raw) < 2 {
		return fmt.Errorf("%w: no flags", ErrProperties)
	}
	f := binary.BigEndian.Uint16(raw)
	*p = Properties{Flags: f}
	if f&^flagsKnown != 0 {
		return fmt.Errorf("%w: unknown flags %#04x", ErrProperties, f)
	}
	r := propertyReader{raw[2:], true}
	if f == 0 {
		return r.end()
	}
	r.short(f&FlagContentType, &p.ContentType)
	r.short(f&FlagContentEncoding, &p.ContentEncoding)
	if f&FlagHeaders != 0 {
		p.Headers = r.long()
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

// CheckProperties reports whether Parse would take raw. It is what every delivery
// does, so it walks the set flags and keeps nothing
// (BenchmarkRecords measures it in place).
func CheckProperties(raw []byte) bool {
	if len(raw) < 2 {
		return false
	}
	f := binary.BigEndian.Uint16(raw)
	if f&^flagsKnown != 0 {
		return false
	}
	raw = raw[2:]
	for ; f != 0; f &= 1<<(15-bits.LeadingZeros16(f)) - 1 {
		n := 1
		switch top := uint16(1) << (15 - bits.LeadingZeros16(f)); top {
		case FlagDeliveryMode, FlagPriority:
		case FlagTimestamp:
			n = 8
		case FlagHeaders:
			if len(raw) < 4 || uint64(binary.BigEndian.Uint32(raw)) > uint64(len(raw)-4) {
				return false
			}
			n = 4 + int(binary.BigEndian.Uint32(raw))
		default:
			if len(raw) > 0 {
				n = 1 + int(raw[0])
			}
		}
		if n > len(raw) {
			return false
		}
		raw = raw[n:]
	}
	return len(raw) == 0
}

// propertyReader reads fields one by one; after a short read it yields nothing.
type propertyReader struct {
	b  []byte
	ok bool
}

func (r *propertyReader) take(n int) []byte {
	if !r.ok || n > len(r.b) {
		r.ok = false
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *propertyReader) octet() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *propertyReader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *propertyReader) short(flag uint16, into *[]byte) {
	if flag != 0 {
		*into = r.take(int(r.octet()))
	}
}

func (r *propertyReader) long() []byte {
	n := r.take(4)
	if n == nil {
		return nil
	}
	size := binary.BigEndian.Uint32(n)
	if uint64(size) > uint64(len(r.b)) {
		r.ok = false
		return nil
	}
	return r.take(int(size))
}

func (r *propertyReader) end() error {
	if !r.ok || len(r.b) != 0 {
		return fmt.Errorf("%w: list does not fit its flags", ErrProperties)
	}
	return nil
}

// AppendWithHeader appends properties with one header set: name to a tagged value, as
// AppendInt and its like make them. props have been checked.
func AppendWithHeader(dst, props []byte, name string, value []byte) []byte {
	var p Properties
	if p.Parse(props) != nil {
		return append(dst, props...)
	}
	headers := make([]byte, 0, len(p.Headers)+1+len(name)+len(value))
	headers = append(AppendName(headers, name), value...)
	for t := NewTableReader(p.Headers); len(t.rest) > 0; {
		rest := t.rest
		if !t.Next() {
			headers = append(headers, rest...) // a damaged table stays what it is
			break
		}
		if string(t.Name()) != name {
			headers = append(headers, rest[:len(rest)-len(t.rest)]...)
		}
	}
	p.Headers = headers
	p.Flags |= FlagHeaders
	return p.Append(dst)
}

// Append writes the properties as flags and list. Only those with a flag are written.
func (p *Properties) Append(dst []byte) []byte {
	f := p.Flags & flagsKnown
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
