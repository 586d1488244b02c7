package stomp

import (
	"bytes"

	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/spool"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// large is a SEND that does not fit the read buffer: its head is copied, and its body gathered as it comes, in memory
// while the budget for requests has room, else in a file beside the data.
type large struct {
	frame frame.Frame
	size  int // of the body; -1 when only its end tells
	body  spool.Body
	head  int64 // of conn.memory, for the headers
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
	if !c.memory.Stand(int64(bytesOf)) {
		return c.noRoom(nil)
	}
	l.head = int64(bytesOf)
	return nil
}

// noRoom ends a client whose message can't be kept until it is whole.
func (c *conn) noRoom(err error) *failure {
	e := fail("resource_error", "a message that comes in pieces finds no room in memory or on disk")
	if err != nil {
		e.detail += ": " + err.Error()
	}
	e.advice = "raise --request-memory or --request-disk, look at how full the disk is, or have clients send large messages one after the other"
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
	if err := c.spool.Append(&l.body, piece, l.size); err != nil {
		return false, c.noRoom(err)
	}
	c.rb.Advance(n)
	if !done {
		return true, nil
	}
	return c.finishLarge()
}

// finishLarge sends the message, which is whole.
func (c *conn) finishLarge() (more bool, _ *failure) {
	l := c.large
	defer c.dropLarge()
	c.frames++
	var err error
	if l.frame.Body, err = c.spool.Whole(&l.body, netx.Gone(c.nc)); err != nil {
		return false, c.noRoom(err)
	}
	e := c.blame(&l.frame, c.send(&l.frame))
	c.in.Body, c.in.last, c.in.good = nil, nil, false
	return e == nil, e
}

// dropLarge lets go of the frame under way.
func (c *conn) dropLarge() {
	if c.large != nil {
		c.spool.Drop(&c.large.body)
		c.memory.Give(c.large.head)
		c.large = nil
	}
}
