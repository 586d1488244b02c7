package wire

import "encoding/binary"

// Publish is one whole basic.publish in a read buffer: method, header and body frames. The slices alias
// the buffer and are good until it is refilled.
type Publish struct {
	Channel    uint16
	Mandatory  bool
	Immediate  bool
	Exchange   []byte
	Key        []byte
	Properties RawProperties // not checked
	Body       []byte
}

// Outcome says what ParsePublish found at the start of the buffer.
type Outcome uint8

const (
	// Whole: a complete publish was parsed.
	Whole Outcome = iota
	// Short: a publish begins here but the buffer ends within it.
	Short
	// Other: another method, another frame in between, or something malformed; the plain way by ParseFrame sorts it out.
	Other
)

// publishPrefix is class and method number of basic.publish.
const publishPrefix = uint32(IDBasicPublish)

// smallest frames of a publish: method with two empty names, header without properties.
const (
	minPublishMethodBytes = FrameOverheadBytes + 4 + 2 + 1 + 1 + 1
	minPublishHeaderBytes = FrameOverheadBytes + 12 + 2
)

// IsPublish tells whether buf begins with (the visible part of) a basic.publish frame.
func IsPublish(buf []byte) bool {
	return len(buf) >= FrameHeaderBytes+4 && buf[0] == FrameMethod &&
		binary.BigEndian.Uint32(buf[FrameHeaderBytes:]) == publishPrefix
}

// ParsePublish parses the publish at the start of buf into p without copying or allocating, and returns
// the number of bytes it takes. When the outcome is Short, n is how many bytes are needed at least: a
// caller whose buffer can hold that many waits for them, another one goes frame by frame. A body in
// several frames is moved together inside buf, over the bytes of its own frame borders.
//
// It never reports an error: whatever is not a well-formed publish is Other, and meets its error on the
// frame by frame way.
func ParsePublish(buf []byte, maxPayloadBytes int, p *Publish) (n int, found Outcome) {
	if !IsPublish(buf) {
		if len(buf) < FrameHeaderBytes+4 {
			return minPublishMethodBytes, Short
		}
		return 0, Other
	}
	methodSize := int(binary.BigEndian.Uint32(buf[3:]))
	if methodSize < minPublishMethodBytes-FrameOverheadBytes || methodSize > maxPayloadBytes {
		return 0, Other
	}
	headerAt := FrameOverheadBytes + methodSize
	if len(buf) > headerAt && buf[headerAt] != FrameHeader {
		return 0, Other // and not Short: what is missing may never come
	}
	if len(buf) < headerAt+minPublishHeaderBytes {
		return headerAt + minPublishHeaderBytes, Short
	}
	if buf[headerAt-1] != FrameEnd || !p.parseMethod(buf[FrameHeaderBytes+4:headerAt-1]) {
		return 0, Other
	}
	p.Channel = binary.BigEndian.Uint16(buf[1:])

	header := buf[headerAt:]
	headerSize := int(binary.BigEndian.Uint32(header[3:]))
	if headerSize < 14 || headerSize > maxPayloadBytes ||
		binary.BigEndian.Uint16(header[1:]) != p.Channel ||
		binary.BigEndian.Uint16(header[FrameHeaderBytes:]) != ClassBasic {
		return 0, Other
	}
	bodyAt := headerAt + FrameOverheadBytes + headerSize
	bodySize := binary.BigEndian.Uint64(header[FrameHeaderBytes+4:])
	if bodySize > maxInlineBytes {
		return maxInlineBytes, Short
	}
	size := int(bodySize)
	if len(buf) < bodyAt {
		return bodyAt, Short
	}
	if buf[bodyAt-1] != FrameEnd {
		return 0, Other
	}
	p.Properties = RawProperties(buf[headerAt+FrameHeaderBytes+12 : bodyAt-1 : bodyAt-1])
	if size == 0 {
		p.Body = nil
		return bodyAt, Whole
	}
	return p.parseBody(buf, bodyAt, size, maxPayloadBytes)
}

// maxInlineBytes is above any read buffer: a bigger body never lies in one.
const maxInlineBytes = 1 << 30

// parseMethod reads ticket, exchange, routing key and bits.
func (p *Publish) parseMethod(args []byte) bool {
	if len(args) < 5 {
		return false
	}
	keyAt := 3 + int(args[2])
	if len(args) < keyAt+2 {
		return false
	}
	bitsAt := keyAt + 1 + int(args[keyAt])
	if len(args) != bitsAt+1 {
		return false
	}
	p.Exchange = args[3:keyAt:keyAt]
	p.Key = args[keyAt+1 : bitsAt : bitsAt]
	p.Mandatory = args[bitsAt]&1 != 0
	p.Immediate = args[bitsAt]&2 != 0
	return true
}

// parseBody takes the body frames at buf[at:]. All of them must be there before any byte is moved.
func (p *Publish) parseBody(buf []byte, at, size, maxPayloadBytes int) (n int, found Outcome) {
	next, left := at, size
	for left > 0 {
		if len(buf) > next && buf[next] != FrameBody {
			return 0, Other
		}
		if len(buf) < next+FrameHeaderBytes {
			return next + left + FrameOverheadBytes, Short
		}
		part := int(binary.BigEndian.Uint32(buf[next+3:]))
		if part > left || part == 0 || part > maxPayloadBytes ||
			binary.BigEndian.Uint16(buf[next+1:]) != p.Channel {
			return 0, Other
		}
		next += FrameOverheadBytes + part
		if len(buf) < next {
			return next, Short
		}
		if buf[next-1] != FrameEnd {
			return 0, Other
		}
		left -= part
	}
	start := at + FrameHeaderBytes
	if next == start+size+1 {
		p.Body = buf[start : start+size : start+size]
		return next, Whole
	}
	end := start
	for from := at; from < next; {
		part := int(binary.BigEndian.Uint32(buf[from+3:]))
		end += copy(buf[end:], buf[from+FrameHeaderBytes:from+FrameHeaderBytes+part])
		from += FrameOverheadBytes + part
	}
	p.Body = buf[start:end:end]
	return next, Whole
}

// AppendPublish appends a whole publish: what a client sends.
func AppendPublish(buf []byte, p *Publish, maxPayloadBytes int) []byte {
	buf = AppendMethod(buf, p.Channel, &BasicPublish{
		Exchange: string(p.Exchange), RoutingKey: string(p.Key), Mandatory: p.Mandatory, Immediate: p.Immediate,
	})
	buf = AppendContentHeader(buf, p.Channel, uint64(len(p.Body)), p.Properties)
	return AppendBody(buf, p.Channel, p.Body, maxPayloadBytes)
}
