package websocket

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Seal makes one message of buf[at:] and what follows of it in rest, which is appended or written by the caller: it puts
// the head of a frame before it. The message is a text when all of it is UTF-8, else binary: clients that take text only
// get what they can read, and no byte is lost to those that take both.
func Seal(buf []byte, at int, rest ...[]byte) []byte {
	op, size := ws.OpText, len(buf)-at
	if !utf8.Valid(buf[at:]) {
		op = ws.OpBinary
	}
	for _, piece := range rest {
		size += len(piece)
		if op == ws.OpText && !utf8.Valid(piece) {
			op = ws.OpBinary
		}
	}
	var head [ws.MaxHeaderSize]byte
	return slices.Insert(buf, at, appendHead(head[:0], op, size)...)
}

// appendHead appends the head of a frame that is a whole message.
func appendHead(buf []byte, op ws.OpCode, size int) []byte {
	buf = append(buf, 0x80|byte(op))
	switch {
	case size < 126:
		return append(buf, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(buf, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(buf, 127), uint64(size))
}

// AppendPong appends the answer to a ping.
func AppendPong(buf, payload []byte) []byte {
	payload = payload[:min(len(payload), ws.MaxControlFramePayloadSize)]
	return append(appendHead(buf, ws.OpPong, len(payload)), payload...)
}

// Normal is the code of a close without a reason to complain of.
const Normal = uint16(ws.StatusNormalClosure)

// AppendClose appends a close frame; code 0 gives none. A reason that is too long is cut.
func AppendClose(buf []byte, code uint16, reason string) []byte {
	if code == 0 {
		return appendHead(buf, ws.OpClose, 0)
	}
	for len(reason) > ws.MaxControlFramePayloadSize-2 || !utf8.ValidString(reason) && reason != "" {
		reason = reason[:min(len(reason)-1, ws.MaxControlFramePayloadSize-2)]
	}
	buf = binary.BigEndian.AppendUint16(appendHead(buf, ws.OpClose, 2+len(reason)), code)
	return append(buf, reason...)
}
