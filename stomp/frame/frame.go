package frame

import (
	"bytes"
	"errors"
	"fmt"
)

// Version is one of the protocol.
type Version uint8

// The versions, oldest first.
const (
	V10 Version = iota + 1
	V11
	V12
)

// Versions is all of them as ERROR and CONNECTED name them.
const Versions = "1.0,1.1,1.2"

var versionNames = [...]string{V10: "1.0", V11: "1.1", V12: "1.2"}

// String is what clients call the version.
func (v Version) String() string { return versionNames[v] }

// Newest is the newest version in a list as accept-version has it; 0 if there is none of ours.
func Newest(list []byte) (v Version) {
	for name := range bytes.SplitSeq(list, []byte(",")) {
		name = bytes.TrimSpace(name)
		for i := V10; i <= V12; i++ {
			if string(name) == versionNames[i] {
				v = max(v, i)
			}
		}
	}
	return v
}

// Command is what a client's frame asks for.
type Command uint8

// The commands of clients.
const (
	Connect Command = iota + 1
	Stomp           // CONNECT by another name, since 1.1
	Send
	Subscribe
	Unsubscribe
	Ack
	Nack
	Begin
	Commit
	Abort
	Disconnect
)

var commandNames = [...]string{Connect: "CONNECT", Stomp: "STOMP", Send: "SEND", Subscribe: "SUBSCRIBE", Unsubscribe: "UNSUBSCRIBE",
	Ack: "ACK", Nack: "NACK", Begin: "BEGIN", Commit: "COMMIT", Abort: "ABORT", Disconnect: "DISCONNECT"}

// String is the command as it is written; of none at all "frame".
func (c Command) String() string {
	if c == 0 {
		return "frame"
	}
	return commandNames[c]
}

// maxCommandBytes is the longest name of a command.
const maxCommandBytes = len("UNSUBSCRIBE")

// Header is one line of a frame's head.
type Header struct{ Name, Value []byte }

// Frame is one that a client sent. Its slices lie in the buffer that it was found in.
type Frame struct {
	Command Command
	Headers []Header // as they came, escapes and all, until Unescape
	Body    []byte
}

// Get is the value of the first header of that name, which is the one that counts.
func (f *Frame) Get(name string) (value []byte, ok bool) {
	for i := range f.Headers {
		if string(f.Headers[i].Name) == name {
			return f.Headers[i].Value, true
		}
	}
	return nil, false
}

// ErrEscape says that a header has a backslash before something that is not escaped.
var ErrEscape = errors.New("undefined escape sequence in a header")

// Unescape resolves the escapes of all headers in place, as the version has them.
func (f *Frame) Unescape(v Version) error {
	for i := range f.Headers {
		h := &f.Headers[i]
		var err error
		if h.Name, err = Unescape(h.Name, v); err != nil {
			return err
		}
		if h.Value, err = Unescape(h.Value, v); err != nil {
			return err
		}
		if v == V10 {
			h.Value = TrimLeft(h.Value)
		}
	}
	return nil
}

// TrimLeft is what 1.0's clients mean by a value, which may have blanks before it.
func TrimLeft(b []byte) []byte { return bytes.TrimLeft(b, " \t") }

// Unescape resolves the escapes of one name or value in place. 1.0 has none. That of CR is taken in 1.1, too, as
// RabbitMQ does.
func Unescape(b []byte, v Version) ([]byte, error) {
	at := bytes.IndexByte(b, '\\')
	if at < 0 || v == V10 {
		return b, nil
	}
	to := at
	for ; at < len(b); at++ {
		ch := b[at]
		if ch == '\\' {
			if at++; at == len(b) {
				return nil, fmt.Errorf("%w: a backslash at the end", ErrEscape)
			}
			switch b[at] {
			case 'n':
				ch = '\n'
			case 'r':
				ch = '\r'
			case 'c':
				ch = ':'
			case '\\':
			default:
				return nil, fmt.Errorf("%w: %q", ErrEscape, b[at-1:at+1])
			}
		}
		b[to] = ch
		to++
	}
	return b[:to], nil
}
