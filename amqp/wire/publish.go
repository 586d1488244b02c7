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

// Outcome says what parsePublish found at the start of the buffer.
type Outcome uint8

const (
	// Whole: a complete publish was parsed.
	Whole Outcome = iota
	// Short: a publish begins here but the buffer ends within it.
	Short
	// Other: another method, another frame in between, or something malformed; the plain path by ParseFrame sorts it out.
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

// ChannelOf is the channel of the frame at the start of buf, of which a method's begin is there.
func ChannelOf(buf []byte) uint16 { return binary.BigEndian.Uint16(buf[1:]) }

// parsePublish parses the publish at the start of buf into p without copying or allocating, and returns
// the number of bytes it takes. When the outcome is Short, n is how many bytes are needed at least: a
// caller whose buffer can hold that many waits for them, another one goes frame by frame. A body in
// several frames is moved together inside buf, over the bytes of its own frame borders.
//
// It never reports an error: whatever is not a well-formed publish is Other, and meets its error on the
// frame by frame path.
func parsePublish(buf []byte, maxPayloadBytes int, p *Publish) (n int, found Outcome) {
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
		if at := headerAt + FrameHeaderBytes; len(buf) >= at && binary.BigEndian.Uint32(buf[at-4:]) < 14 {
			return 0, Other // the same
		}
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

// PublishParser parses the publishes of one connection. Most of a client's publishes differ from the one
// before in their body alone, so the head of the last one is kept, and one that begins with the same bytes
// is known without a second look.
//
// Measured on a 2-core machine (BenchmarkParsePublish): 14.7 ns without, 11.0 ns with it; what is saved behind it is more.
type PublishParser struct {
	// Publish was parsed last. It is good until the read buffer is refilled, all but the body of one that
	// is followed by one of SameHead for longer.
	Publish
	// SameHead says that all but the body is as in the publish that the last call found whole. It is never set
	// behind a call that found something else: that publish may have come frame by frame.
	SameHead bool

	head   []byte // method and header frame of the last publish; empty: nothing is known
	misses int    // publishes since the last one of SameHead
	sizeAt int    // where in head the body size stands
}

// maxHeadBytes is the longest head that is kept, since each connection has one.
const maxHeadBytes = 1 << 10

// patience is how many publishes in a row may be unlike the one before until only one in as many is kept:
// with routing keys that take turns, copying each head would gain nothing.
const patience = 16

// Forget makes the next publish one that is not of SameHead.
func (p *PublishParser) Forget() { p.head = p.head[:0] }

// Parse is parsePublish into p.Publish, and sets p.SameHead.
func (p *PublishParser) Parse(buf []byte, maxPayloadBytes int) (n int, found Outcome) {
	if p.begins(buf) {
		if n := p.parseNextBody(buf, maxPayloadBytes); n > 0 {
			p.SameHead, p.misses = true, 0
			return n, Whole
		}
	}
	p.SameHead = false
	p.misses++
	p.Forget() // a Short or Other leaves a half-parsed publish behind
	n, found = parsePublish(buf, maxPayloadBytes, &p.Publish)
	if found == Whole && (p.misses < patience || p.misses%patience == 0) {
		p.keep(buf)
	}
	return n, found
}

// begins tells whether buf begins with the head of the last publish, whatever the body size is.
func (p *PublishParser) begins(buf []byte) bool {
	h, at := p.head, p.sizeAt
	return len(h) > 0 && len(buf) >= len(h) &&
		string(buf[:at]) == string(h[:at]) && string(buf[at+8:len(h)]) == string(h[at+8:])
}

// parseNextBody takes the body behind a known head if it is there in one frame; otherwise it returns 0.
func (p *PublishParser) parseNextBody(buf []byte, maxPayloadBytes int) (n int) {
	size, at := binary.BigEndian.Uint64(buf[p.sizeAt:]), len(p.head)
	if size == 0 {
		p.Body = nil
		return at
	}
	body := buf[at:]
	if size > uint64(maxPayloadBytes) || uint64(len(body)) < size+FrameOverheadBytes {
		return 0
	}
	end := FrameHeaderBytes + int(size)
	if body[0] != FrameBody || binary.BigEndian.Uint16(body[1:]) != p.Channel ||
		uint64(binary.BigEndian.Uint32(body[3:])) != size || body[end] != FrameEnd {
		return 0
	}
	p.Body = body[FrameHeaderBytes:end:end]
	return at + end + 1
}

// keep copies the head of the whole publish at the start of buf, and lets p's slices lie in the copy.
func (p *PublishParser) keep(buf []byte) {
	headerAt := FrameOverheadBytes + int(binary.BigEndian.Uint32(buf[3:]))
	propsAt := headerAt + FrameHeaderBytes + 12
	n := propsAt + len(p.Properties) + 1
	if n > maxHeadBytes {
		return
	}
	p.head = append(p.head, buf[:n]...)
	p.sizeAt = propsAt - 8
	keyAt := minPublishMethodBytes - 2 + len(p.Exchange)
	p.Exchange = p.head[keyAt-1-len(p.Exchange) : keyAt-1 : keyAt-1]
	p.Key = p.head[keyAt : keyAt+len(p.Key) : keyAt+len(p.Key)]
	p.Properties = p.head[propsAt : n-1 : n-1]
}

// AppendPublish appends a whole publish: what a client sends.
func AppendPublish(buf []byte, p *Publish, maxPayloadBytes int) []byte {
	buf = AppendMethod(buf, p.Channel, &BasicPublish{
		Exchange: string(p.Exchange), RoutingKey: string(p.Key), Mandatory: p.Mandatory, Immediate: p.Immediate,
	})
	buf = AppendContentHeader(buf, p.Channel, uint64(len(p.Body)), p.Properties)
	return AppendBody(buf, p.Channel, p.Body, maxPayloadBytes)
}
