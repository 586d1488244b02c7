package stomp

import (
	"bytes"

	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// large is a SEND that does not fit the read buffer: its head is copied, and its body gathered as it comes. What it
// takes is counted against the budget before it is allocated; who finds no room is refused.
type large struct {
	frame frame.Frame
	size  int // of the body; -1 when only its end tells
	taken int64
}

// beginLarge takes the head of a frame whose body comes in pieces.
func (c *conn) beginLarge(f *frame.Frame, size int) *failure {
	c.settled()
	l := &large{size: size, frame: frame.Frame{Command: f.Command, Headers: make([]frame.Header, len(f.Headers))}}
	bytesOf := 0
	for i, h := range f.Headers {
		l.frame.Headers[i] = frame.Header{Name: bytes.Clone(h.Name), Value: bytes.Clone(h.Value)}
		bytesOf += len(h.Name) + len(h.Value)
	}
	if f.Command != frame.Send {
		return c.blame(&l.frame, fail("Invalid frame", "%s with a body", f.Command))
	}
	c.large, c.inflow.Fed = l, true
	if !c.take(int64(bytesOf)) {
		return c.noRoom()
	}
	return nil
}

// take takes memory for the frame under way.
func (c *conn) take(n int64) bool {
	if !c.roomFor(n) {
		return false
	}
	c.large.taken += n
	return true
}

// littleBytes is what a connection may hold of unfinished messages when they have their part of all.
const littleBytes = 64 << 10

// roomFor takes memory for what waits for its client, who may let it wait for ever. That may be a part of all: the
// rest is for what is finished.
func (c *conn) roomFor(n int64) bool {
	if c.memory.Try(n) != nil {
		return false
	}
	if c.memory.Held() <= littleBytes {
		return true
	}
	if b := c.s.opts.Budget; b.Stats().Used > b.Standing() {
		c.memory.Give(n)
		return false
	}
	return true
}

func (c *conn) noRoom() *failure {
	e := fail("resource_error", "a message that comes in pieces finds no room in memory")
	e.advice = "raise --request-memory, or have clients send large messages one after the other"
	return c.blame(&c.large.frame, e)
}

// takeRest takes what came of the body.
func (c *conn) takeRest() (more bool, _ *failure) {
	l := c.large
	buf := c.rb.Unread()
	if len(buf) == 0 {
		c.rb.Want(netx.MaxReadBytes)
		return false, nil
	}
	c.inflow.Fed = true
	piece, n, done, err := c.dec.Rest(buf)
	if err != nil {
		return false, c.blame(&l.frame, decodeFailure(err))
	}
	if !c.grow(len(piece)) {
		return false, c.noRoom()
	}
	l.frame.Body = append(l.frame.Body, piece...)
	c.rb.Advance(n)
	if !done {
		return true, nil
	}
	defer c.dropLarge()
	c.frames++
	e := c.blame(&l.frame, c.send(&l.frame))
	c.in.Body, c.in.last, c.in.good = nil, nil, false
	return e == nil, e
}

// grow makes room for n more bytes of the body. Memory follows what has arrived, not what was announced.
func (c *conn) grow(n int) bool {
	l := c.large
	have := l.frame.Body
	need := len(have) + n
	if need <= cap(have) {
		return true
	}
	size := max(4*need, 64<<10)
	if l.size >= 0 {
		size = max(need, min(l.size, size))
	}
	if !c.take(int64(size)) {
		return false
	}
	grown := make([]byte, len(have), size)
	copy(grown, have)
	c.memory.Give(int64(cap(have)))
	l.taken -= int64(cap(have))
	l.frame.Body = grown
	return true
}

// dropLarge lets go of the frame under way.
func (c *conn) dropLarge() {
	if c.large != nil {
		c.memory.Give(c.large.taken)
		c.large = nil
	}
}
