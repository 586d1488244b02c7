package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/gobwas/ws"
)

// Closed says that the client closed the connection as the protocol has it. It is an io.EOF.
type Closed struct {
	Code   uint16 // what it gave as its reason; 0 if it gave none
	Reason string
}

func (c *Closed) Error() string {
	return fmt.Sprintf("the client closed the WebSocket with %d %.80q", c.Code, c.Reason)
}

// Unwrap makes it an end as others are.
func (c *Closed) Unwrap() error { return io.EOF }

// Violation says that the client broke a rule of WebSocket. Code is what to close with.
type Violation struct {
	Code uint16
	Err  error
}

func (v *Violation) Error() string { return "it breaks the rules of WebSocket: " + v.Err.Error() }

// Unwrap is the rule.
func (v *Violation) Unwrap() error { return v.Err }

var (
	errText      = errors.New("a text message that is not UTF-8")
	errShort     = errors.New("a close frame with half a code")
	errLongFrame = errors.New("a length whose first bit is set")
)

// Conn reads from a connection on which the handshake was done. All but Read is that of the connection beneath; what is
// written to it must have been framed (Seal).
type Conn struct {
	net.Conn
	// OnPing is called by Read with what a ping carries, up to 125 bytes, which it has to copy; a pong should carry
	// the same. Nil answers none.
	OnPing func([]byte)

	early   []byte // came behind the request
	ended   error  // there is no more
	head    [ws.MaxHeaderSize]byte
	headed  int // bytes of head that are there
	state   ws.State
	frame   ws.Header // under way, when inFrame
	inFrame bool
	left    int64  // of its payload
	at      int    // in its mask
	control []byte // payload of a control frame
	text    bool   // the message under way is one
	letters letters
}

// NewConn makes one; early are bytes that the client sent behind its request, which the Conn copies.
func NewConn(nc net.Conn, early []byte) *Conn {
	return &Conn{Conn: nc, early: bytes.Clone(early), state: ws.StateServerSide}
}

// Read reads bytes of messages. An error is *Closed, *Violation or that of the connection beneath; io.EOF is a client
// that left without a word.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		if c.ended != nil {
			return 0, c.ended
		}
		n, err := c.read(b)
		m, ended := c.unframe(b[:n])
		c.ended = ended
		if m > 0 {
			return m, nil // an error of the socket comes again
		}
		if ended == nil && err != nil {
			return 0, err
		}
	}
}

func (c *Conn) read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// unframe takes frames, or parts of them, out of b and moves the bytes of messages to its front, of which there are n.
func (c *Conn) unframe(b []byte) (n int, err error) {
	for in := b; ; {
		if !c.inFrame {
			if in, err = c.takeHead(in); err != nil || !c.inFrame {
				return n, err
			}
		}
		size := int(min(c.left, int64(len(in))))
		piece := in[:size]
		in = in[size:]
		ws.Cipher(piece, c.frame.Mask, c.at)
		c.at = (c.at + size) & 3
		c.left -= int64(size)
		if c.frame.OpCode.IsControl() {
			c.control = append(c.control, piece...)
		} else {
			if c.text && !c.letters.add(piece) {
				return n, &Violation{uint16(ws.StatusInvalidFramePayloadData), errText}
			}
			n += copy(b[n:], piece)
		}
		if c.left > 0 {
			return n, nil
		}
		c.inFrame = false
		if err := c.endFrame(); err != nil {
			return n, err
		}
		if len(in) == 0 {
			return n, nil
		}
	}
}

// takeHead takes what is there of the head of a frame.
func (c *Conn) takeHead(in []byte) (rest []byte, err error) {
	for {
		need := headBytes(c.head[:c.headed])
		if c.headed == need {
			break
		}
		k := copy(c.head[c.headed:need], in)
		if k == 0 {
			return in, nil
		}
		c.headed, in = c.headed+k, in[k:]
	}
	h := parseHead(c.head[:c.headed])
	c.headed = 0
	err = ws.CheckHeader(h, c.state)
	if err == nil && h.Length < 0 {
		err = errLongFrame
	}
	if err != nil {
		return in, &Violation{uint16(ws.StatusProtocolError), err}
	}
	c.frame, c.inFrame, c.left, c.at = h, true, h.Length, 0
	switch {
	case h.OpCode.IsControl():
		c.control = c.control[:0]
	case h.OpCode != ws.OpContinuation:
		c.text = h.OpCode == ws.OpText
	}
	return in, nil
}

// headBytes is how long a head is that begins so, as far as can be told.
func headBytes(head []byte) int {
	if len(head) < 2 {
		return 2
	}
	n := 2
	switch head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if head[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// parseHead reads a head that is all there. The library's own reads from an io.Reader, twice a frame.
func parseHead(head []byte) ws.Header {
	h := ws.Header{
		Fin: head[0]&0x80 != 0, Rsv: head[0] >> 4 & 7, OpCode: ws.OpCode(head[0] & 15),
		Masked: head[1]&0x80 != 0, Length: int64(head[1] & 0x7f),
	}
	rest := head[2:]
	switch h.Length {
	case 126:
		h.Length, rest = int64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		h.Length, rest = int64(binary.BigEndian.Uint64(rest)), rest[8:]
	}
	if h.Masked {
		copy(h.Mask[:], rest)
	}
	return h
}

// endFrame does what is to be done behind the last byte of a frame.
func (c *Conn) endFrame() error {
	switch c.frame.OpCode {
	case ws.OpPing:
		if c.OnPing != nil {
			c.OnPing(c.control)
		}
	case ws.OpPong:
	case ws.OpClose:
		return closed(c.control)
	default:
		if !c.frame.Fin {
			c.state = c.state.Set(ws.StateFragmented)
			return nil
		}
		c.state = c.state.Clear(ws.StateFragmented)
		if c.text && !c.letters.whole() {
			return &Violation{uint16(ws.StatusInvalidFramePayloadData), errText}
		}
	}
	return nil
}

// closed reads a close frame.
func closed(payload []byte) error {
	switch len(payload) {
	case 0:
		return &Closed{}
	case 1:
		return &Violation{uint16(ws.StatusProtocolError), errShort}
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if err := ws.CheckCloseFrameData(code, reason); err != nil {
		return &Violation{uint16(ws.StatusProtocolError), err}
	}
	return &Closed{binary.BigEndian.Uint16(payload), reason}
}
