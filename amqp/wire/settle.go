package wire

import "encoding/binary"

// settleFrameBytes is the size of a basic.ack, basic.nack or basic.reject frame: 4 + 8 + 1 and the frame's own.
const settleFrameBytes = FrameOverheadBytes + 13

// Settle is a client's verdict about delivery tags.
type Settle struct {
	Channel  uint16
	Tag      uint64
	Method   MethodID // IDBasicAck, IDBasicNack or IDBasicReject
	Multiple bool
	Requeue  bool
}

// ParseSettle parses an ack, nack or reject at the start of buf without allocating; the number of bytes
// used, or 0 if something else (or less than a whole frame) stands there.
func ParseSettle(buf []byte, s *Settle) int {
	if len(buf) < settleFrameBytes || buf[0] != FrameMethod || buf[settleFrameBytes-1] != FrameEnd ||
		binary.BigEndian.Uint32(buf[3:]) != 13 {
		return 0
	}
	flags := buf[settleFrameBytes-2]
	switch id := MethodID(binary.BigEndian.Uint32(buf[FrameHeaderBytes:])); id {
	case IDBasicAck:
		*s = Settle{Method: id, Multiple: flags&1 != 0}
	case IDBasicNack:
		*s = Settle{Method: id, Multiple: flags&1 != 0, Requeue: flags&2 != 0}
	case IDBasicReject:
		*s = Settle{Method: id, Requeue: flags&1 != 0}
	default:
		return 0
	}
	s.Channel = binary.BigEndian.Uint16(buf[1:])
	s.Tag = binary.BigEndian.Uint64(buf[FrameHeaderBytes+4:])
	return settleFrameBytes
}

// AppendConfirm appends a basic.ack or, for a refusal, a basic.nack from the server.
func AppendConfirm(buf []byte, channel uint16, tag uint64, multiple, refused bool) []byte {
	id := IDBasicAck
	if refused {
		id = IDBasicNack
	}
	buf = appendFrameHeader(buf, FrameMethod, channel, 13)
	buf = appendU32(buf, uint32(id))
	buf = appendU64(buf, tag)
	return append(buf, bits(multiple), FrameEnd)
}
