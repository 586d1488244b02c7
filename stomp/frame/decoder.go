package frame

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// What is wrong with bytes that are no frame, or with one that is too large.
var (
	ErrCommand    = errors.New("unknown command")
	ErrHeader     = errors.New("malformed header")
	ErrManyHeads  = errors.New("too many headers")
	ErrLongHead   = errors.New("headers are too long")
	ErrLength     = errors.New("bad content-length")
	ErrLargeBody  = errors.New("body is too large")
	ErrUnfinished = errors.New("no NUL behind a body of content-length octets")
)

// Limits are the bounds of a frame.
type Limits struct {
	Headers   int // how many
	HeadBytes int // all before the body
	BodyBytes int
}

// Found says what Next found.
type Found uint8

const (
	// Nothing: no whole frame; Need says how many bytes the next try takes at least.
	Nothing Found = iota
	// Whole: a frame, all of it.
	Whole
	// Head: a frame up to its body, which does not fit where it lies; Rest takes the body piece by piece.
	Head
)

// Decoder finds frames in a read buffer.
type Decoder struct {
	// Frame was found last; its slices are good until the buffer is refilled.
	Frame
	Limits Limits
	// Need is, behind Nothing, how many bytes of the buffer the next try takes at least, and behind Head how
	// long the body is; -1 if that is not known.
	Need int

	lines   []line
	command Command
	begun   bool // bytes of a frame were looked at
	headed  bool // its head is all there
	lineAt  int  // where in the frame the line under way begins
	looked  int  // how much of the frame was looked at
	length  int  // of the body; -1: up to a NUL
	got     int  // of a body that Rest takes
}

// line is where a header lies in its frame.
type line struct{ name, colon, end int }

// Next looks for a frame at the start of buf and says how many bytes are used up. Behind Nothing these are what
// stood before the frame, and the next call must be given the rest with more behind it. room is how long the
// buffer can get.
func (d *Decoder) Next(buf []byte, room int) (n int, found Found, err error) {
	if !d.begun {
		n = noise(buf)
		buf = buf[n:]
		if len(buf) == 0 || len(buf) == 1 && buf[0] == '\r' {
			d.Need = len(buf) + 1
			return n, Nothing, nil
		}
		d.begin()
	}
	if !d.headed {
		if err := d.head(buf); err != nil || !d.headed {
			return n, Nothing, err
		}
	}
	size, err := d.body(buf)
	switch {
	case err != nil:
		return n, Nothing, err
	case size > 0:
		d.fill(buf)
		d.Body = buf[d.lineAt : size-1 : size-1]
		d.begun = false
		return n + size, Whole, nil
	case d.Need > room:
		d.fill(buf)
		d.Need, d.got, d.begun = d.length, 0, false
		return n + d.lineAt, Head, nil
	}
	return n, Nothing, nil
}

// Bare says that no frame has begun.
func (d *Decoder) Bare() bool { return !d.begun }

// noise is how much there is of EOLs and NULs.
func noise(buf []byte) (n int) {
	for n < len(buf) {
		switch {
		case buf[n] == '\n' || buf[n] == 0:
			n++
		case buf[n] == '\r' && n+1 < len(buf) && buf[n+1] == '\n':
			n += 2
		default:
			return n
		}
	}
	return n
}

func (d *Decoder) begin() {
	d.begun, d.headed, d.command, d.lines = true, false, 0, d.lines[:0]
	d.lineAt, d.looked = 0, 0
}

// head takes the lines that are there.
func (d *Decoder) head(buf []byte) error {
	for !d.headed {
		i := bytes.IndexByte(buf[d.looked:], '\n')
		if i < 0 {
			return d.noLine(buf)
		}
		end := d.looked + i
		if end >= d.Limits.HeadBytes {
			return fmt.Errorf("%w: more than %d bytes", ErrLongHead, d.Limits.HeadBytes)
		}
		text := bytes.TrimSuffix(buf[d.lineAt:end], []byte("\r"))
		if err := d.take(text); err != nil {
			return err
		}
		d.lineAt, d.looked = end+1, end+1
	}
	return d.findLength(buf)
}

// noLine is about a line that has not ended yet.
func (d *Decoder) noLine(buf []byte) error {
	rest := buf[d.looked:]
	d.looked = len(buf)
	d.Need = len(buf) + 1
	switch {
	case d.command == 0 && !mayBegin(bytes.TrimSuffix(buf, []byte("\r"))):
		return unknown(buf)
	case bytes.IndexByte(rest, 0) >= 0:
		return fmt.Errorf("%w: a NUL where a line should end", ErrHeader)
	case len(buf) >= d.Limits.HeadBytes:
		return fmt.Errorf("%w: more than %d bytes", ErrLongHead, d.Limits.HeadBytes)
	}
	return nil
}

// take takes a line of the head.
func (d *Decoder) take(text []byte) error {
	switch {
	case d.command == 0:
		if d.command = commandOf(text); d.command == 0 {
			return unknown(text)
		}
	case len(text) == 0:
		d.headed = true
	case bytes.IndexByte(text, 0) >= 0:
		return fmt.Errorf("%w: it holds a NUL", ErrHeader)
	case len(d.lines) >= d.Limits.Headers:
		return fmt.Errorf("%w: more than %d", ErrManyHeads, d.Limits.Headers)
	default:
		colon := bytes.IndexByte(text, ':')
		if colon <= 0 {
			return fmt.Errorf("%w: %q is not name:value", ErrHeader, clip(text))
		}
		d.lines = append(d.lines, line{d.lineAt, d.lineAt + colon, d.lineAt + len(text)})
	}
	return nil
}

func unknown(text []byte) error { return fmt.Errorf("%w %q", ErrCommand, clip(text)) }

// clip bounds what is said of a client's bytes.
func clip(text []byte) []byte { return text[:min(len(text), 40)] }

// mayBegin tells whether a command can begin so.
func mayBegin(text []byte) bool {
	if len(text) > maxCommandBytes {
		return false
	}
	for _, name := range commandNames[Connect:] {
		if len(text) <= len(name) && name[:len(text)] == string(text) {
			return true
		}
	}
	return false
}

func commandOf(text []byte) Command {
	switch string(text) { // the frequent ones
	case "SEND":
		return Send
	case "ACK":
		return Ack
	}
	for c := Connect; c <= Disconnect; c++ {
		if string(text) == commandNames[c] {
			return c
		}
	}
	return 0
}

// findLength reads content-length, the first of that name.
func (d *Decoder) findLength(buf []byte) error {
	d.length = -1
	for _, l := range d.lines {
		if string(buf[l.name:l.colon]) != "content-length" {
			continue
		}
		text := bytes.TrimSpace(buf[l.colon+1 : l.end])
		n, ok := number(text)
		if !ok {
			return fmt.Errorf("%w: %q", ErrLength, clip(text))
		}
		if n > d.Limits.BodyBytes {
			return d.tooLarge(n)
		}
		d.length = n
		return nil
	}
	return nil
}

func (d *Decoder) tooLarge(n int) error {
	return fmt.Errorf("%w: %d bytes where %d are allowed", ErrLargeBody, n, d.Limits.BodyBytes)
}

// number reads decimal digits; what is too large is as large as can be.
func number(text []byte) (n int, ok bool) {
	for _, ch := range text {
		if ch < '0' || ch > '9' {
			return 0, false
		}
		if n < math.MaxInt32 {
			n = 10*n + int(ch-'0')
		}
	}
	return n, len(text) > 0
}

// body is the size of the whole frame, or 0 when it is not all there, and then Need is set.
func (d *Decoder) body(buf []byte) (size int, err error) {
	if d.length >= 0 {
		size = d.lineAt + d.length + 1
		if len(buf) < size {
			d.Need = size
			return 0, nil
		}
		if buf[size-1] != 0 {
			return 0, ErrUnfinished
		}
		return size, nil
	}
	i := bytes.IndexByte(buf[d.looked:], 0)
	if i < 0 {
		d.looked, d.Need = len(buf), len(buf)+1
		if n := len(buf) - d.lineAt; n > d.Limits.BodyBytes {
			return 0, d.tooLarge(n)
		}
		return 0, nil
	}
	size = d.looked + i + 1
	if n := size - 1 - d.lineAt; n > d.Limits.BodyBytes {
		return 0, d.tooLarge(n)
	}
	return size, nil
}

// fill makes a Frame of the lines.
func (d *Decoder) fill(buf []byte) {
	d.Command, d.Body = d.command, nil
	d.Headers = d.Headers[:0]
	for _, l := range d.lines {
		d.Headers = append(d.Headers, Header{buf[l.name:l.colon:l.colon], buf[l.colon+1 : l.end : l.end]})
	}
}

// Rest takes what buf holds of the body behind Head: a piece of it, of which n bytes of buf are used up. done says
// that it was the last one.
func (d *Decoder) Rest(buf []byte) (piece []byte, n int, done bool, err error) {
	if d.length < 0 {
		i := bytes.IndexByte(buf, 0)
		if i >= 0 {
			piece, n, done = buf[:i], i+1, true
		} else {
			piece, n = buf, len(buf)
		}
		if d.got += len(piece); d.got > d.Limits.BodyBytes {
			return nil, 0, false, d.tooLarge(d.got)
		}
		return piece, n, done, nil
	}
	n = min(d.length-d.got, len(buf))
	piece = buf[:n]
	d.got += n
	if n < len(buf) {
		if buf[n] != 0 {
			return nil, 0, false, ErrUnfinished
		}
		n, done = n+1, true
	}
	return piece, n, done, nil
}
