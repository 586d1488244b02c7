package amqpload

import (
	"encoding/binary"
	"fmt"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Frame types and the octet that ends each frame.
const (
	frameMethod = 1
	frameHeader = 2
	frameBody   = 3
	frameEnd    = 0xCE

	frameOverhead = 8 // seven bytes before the payload, one behind
)

// Methods, class in the upper half.
const (
	connectionStart   = 10<<16 | 10
	connectionStartOk = 10<<16 | 11
	connectionTune    = 10<<16 | 30
	connectionTuneOk  = 10<<16 | 31
	connectionOpen    = 10<<16 | 40
	connectionOpenOk  = 10<<16 | 41
	connectionClose   = 10<<16 | 50
	connectionCloseOk = 10<<16 | 51
	channelOpen       = 20<<16 | 10
	channelOpenOk     = 20<<16 | 11
	channelClose      = 20<<16 | 40
	channelCloseOk    = 20<<16 | 41
	exchangeDeclare   = 40<<16 | 10
	exchangeDeclareOk = 40<<16 | 11
	exchangeDelete    = 40<<16 | 20
	exchangeDeleteOk  = 40<<16 | 21
	queueDeclare      = 50<<16 | 10
	queueDeclareOk    = 50<<16 | 11
	queueBind         = 50<<16 | 20
	queueBindOk       = 50<<16 | 21
	queuePurge        = 50<<16 | 30
	queuePurgeOk      = 50<<16 | 31
	queueDelete       = 50<<16 | 40
	queueDeleteOk     = 50<<16 | 41
	basicQos          = 60<<16 | 10
	basicQosOk        = 60<<16 | 11
	basicConsume      = 60<<16 | 20
	basicConsumeOk    = 60<<16 | 21
	basicCancel       = 60<<16 | 30
	basicCancelOk     = 60<<16 | 31
	basicPublish      = 60<<16 | 40
	basicDeliver      = 60<<16 | 60
	basicGet          = 60<<16 | 70
	basicGetOk        = 60<<16 | 71
	basicGetEmpty     = 60<<16 | 72
	basicAck          = 60<<16 | 80
	basicNack         = 60<<16 | 120
	confirmSelect     = 85<<16 | 10
	confirmSelectOk   = 85<<16 | 11
)

// args builds a method's payload.
type args []byte

func method(id uint32) args        { return args(nil).u32(id) }
func (a args) u8(v byte) args      { return append(a, v) }
func (a args) u16(v uint16) args   { return binary.BigEndian.AppendUint16(a, v) }
func (a args) u32(v uint32) args   { return binary.BigEndian.AppendUint32(a, v) }
func (a args) u64(v uint64) args   { return binary.BigEndian.AppendUint64(a, v) }
func (a args) short(s string) args { return append(append(a, byte(len(s))), s...) }
func (a args) long(s string) args  { return append(a.u32(uint32(len(s))), s...) }
func (a args) id() uint32          { return binary.BigEndian.Uint32(a) }
func appendFrame(b []byte, kind byte, channel uint16, payload []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), frameEnd)
}

// number encodes a whole number of a table, and nothing for 0.
func number(name string, n int) string {
	if n == 0 {
		return ""
	}
	return string(args(nil).short(name).u8('I').u32(uint32(n)))
}

// table encodes string values only, which is all that the loads need beside numbers.
func table(pairs ...string) string {
	var t args
	for i := 0; i+1 < len(pairs); i += 2 {
		t = t.short(pairs[i]).u8('S').long(pairs[i+1])
	}
	return string(t)
}

// Block is a run of publishes, encoded once and sent many times.
type Block struct {
	Frames []byte
	bodies []int // where in Frames each body begins
}

// BlockOptions say what a block's messages look like.
type BlockOptions struct {
	Exchange      string
	Keys          []string // routing keys, taken in turn
	BodyBytes     int      // at least measure.StampBytes
	Persistent    bool     // delivery mode 2, else 1
	FrameMaxBytes int      // as negotiated
	Varied        bool     // properties and headers of its own for each message
	Priorities    int      // that messages have in turn, from 0 on; 0: none has one
	DelayMs       int      // in the header x-delay; 0: no such header
}

// NewBlock encodes the given number of publishes on channel 1.
func NewBlock(o BlockOptions, messages int) (*Block, error) {
	if o.BodyBytes < measure.StampBytes {
		return nil, fmt.Errorf("a body of %d bytes cannot hold the stamp of %d", o.BodyBytes, measure.StampBytes)
	}
	if o.FrameMaxBytes < 4096 {
		return nil, fmt.Errorf("a frame-max of %d bytes is below the protocol's least, 4096", o.FrameMaxBytes)
	}
	body := filler(o.BodyBytes)
	b := &Block{}
	for i := range messages {
		key := o.Keys[i%len(o.Keys)]
		b.Frames = appendFrame(b.Frames, frameMethod, 1, method(basicPublish).u16(0).short(o.Exchange).short(key).u8(0))
		b.Frames = appendFrame(b.Frames, frameHeader, 1, append(args(nil).u16(60).u16(0).u64(uint64(o.BodyBytes)), o.properties(i)...))
		b.bodies = append(b.bodies, len(b.Frames)+frameOverhead-1)
		for rest := body; len(rest) > 0; {
			n := min(len(rest), o.FrameMaxBytes-frameOverhead)
			b.Frames = appendFrame(b.Frames, frameBody, 1, rest[:n])
			rest = rest[n:]
		}
	}
	return b, nil
}

// properties are the flags and list of message i: the delivery mode alone, or with
// what an application sets besides, no two neighbours' alike.
func (o *BlockOptions) properties(i int) args {
	mode := byte(1)
	if o.Persistent {
		mode = 2
	}
	if o.Priorities > 0 {
		return args(nil).u16(0x1800).u8(mode).u8(byte(i % o.Priorities))
	}
	if o.DelayMs > 0 {
		return args(nil).u16(0x3000).long(number("x-delay", o.DelayMs)).u8(mode)
	}
	if !o.Varied {
		return args(nil).u16(0x1000).u8(mode)
	}
	const contentType, headers, deliveryMode, messageID, timestamp = 0x8000, 0x2000, 0x1000, 0x0080, 0x0040
	return args(nil).u16(contentType | headers | deliveryMode | messageID | timestamp).
		short("application/json").
		long(table("service", fmt.Sprintf("checkout-%d", i%7), "trace", fmt.Sprintf("%016x", 0x9e3779b97f4a7c15*uint64(i+1)))).
		u8(mode).
		short(fmt.Sprintf("m-%08d", i)).
		u64(uint64(1_790_000_000 + i))
}

// MessageBytes is what one publish takes on the wire.
func MessageBytes(o BlockOptions) int {
	b, err := NewBlock(o, len(o.Keys))
	if err != nil || len(b.bodies) == 0 {
		return max(1, o.BodyBytes)
	}
	return len(b.Frames) / len(b.bodies)
}

// newBlocks encodes as many blocks of at most the given number of publishes as it takes
// to use every key equally: written in turn, message i of all has key i modulo their
// number. The first block is the smallest.
func newBlocks(o BlockOptions, messages int) ([]*Block, error) {
	keys := o.Keys
	if len(keys) <= messages {
		b, err := NewBlock(o, messages-messages%len(keys))
		return []*Block{b}, err
	}
	count := (len(keys) + messages - 1) / messages
	blocks := make([]*Block, 0, count)
	for i := range count {
		o.Keys = keys[i*len(keys)/count : (i+1)*len(keys)/count]
		b, err := NewBlock(o, len(o.Keys))
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// Messages is how many publishes the block holds.
func (b *Block) Messages() int { return len(b.bodies) }

// Stamp gives the block's messages the sequences from first on and one time.
func (b *Block) Stamp(first uint64, micros uint32) {
	for i, at := range b.bodies {
		measure.PutStamp(b.Frames[at:], first+uint64(i), micros)
	}
}

// Message is the frames of one publish of the block.
func (b *Block) Message(i int) []byte {
	start := 0
	if i > 0 {
		start = b.end(i - 1)
	}
	return b.Frames[start:b.end(i)]
}

// end is where message i ends: all messages have equal bodies, so the way from the body's
// first byte to the end is the same as the last message's.
func (b *Block) end(i int) int {
	last := len(b.bodies) - 1
	return b.bodies[i] + len(b.Frames) - b.bodies[last]
}

// filler is text such as a log line holds, from a fixed pattern.
func filler(n int) []byte {
	const pattern = `10.3.207.41 - - [23/Nov/2026:05:17:09 +0000] "GET /api/v1/items?id=482913 HTTP/1.1" 200 18734 "-" "curl/8.5" `
	b := make([]byte, n)
	for i := 0; i < n; {
		i += copy(b[i:], pattern)
	}
	return b
}
