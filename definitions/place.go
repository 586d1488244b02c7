package definitions

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Error says what is wrong with a file, and where.
type Error struct {
	Line, Column int    // from 1; 0: it is about the file as a whole
	Path         string // such as "queues[3].arguments.x-max-length"
	Err          error
}

func (e *Error) Error() string {
	text := e.Err.Error()
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	if e.Line > 0 {
		text = fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, text)
	}
	return text
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// member is one key of an object.
type member struct {
	key   string
	at    int64 // position of the value
	value json.RawMessage
}

// membersOf are the members of an object in their order; base is the position of its text.
func membersOf(text []byte, base int64) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	var out []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, errNoObject
		}
		at := d.InputOffset() + int64(valueStart(text[d.InputOffset():]))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		out = append(out, member{key, base + at, value})
	}
	return out, nil
}

var errNoObject = errors.New("should be an object")

// valueStart steps over what stands between values.
func valueStart(text []byte) int {
	return bytes.IndexFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && r != ':' && r != ',' })
}

// failed is an error of an item, of what stands in it under these keys.
func (f *File) failed(i item, err error, keys ...string) error {
	e := &Error{Path: i.path(), Err: err}
	at := f.itemStart(i.at)
	text := f.itemText(at)
	for _, key := range keys {
		e.Path += "." + short(key)
		if members, err := membersOf(text, at); err == nil {
			for _, m := range members {
				if m.key == key {
					at, text = m.at, m.value
				}
			}
		}
	}
	e.Line, e.Column = f.line(at)
	return e
}

// itemStart steps over what stands before an item.
func (f *File) itemStart(at int64) int64 {
	head := make([]byte, 4<<10)
	if _, err := f.src.Seek(at, io.SeekStart); err != nil {
		return at
	}
	n, _ := io.ReadFull(f.src, head)
	return at + int64(max(0, valueStart(head[:n])))
}

// itemText reads the value that begins there, nothing if that can't be done.
func (f *File) itemText(at int64) (text json.RawMessage) {
	if _, err := f.src.Seek(at, io.SeekStart); err != nil {
		return nil
	}
	if json.NewDecoder(f.src).Decode(&text) != nil {
		return nil
	}
	return text
}

// line tells line and column of a position.
func (f *File) line(at int64) (line, column int) {
	if _, err := f.src.Seek(0, io.SeekStart); err != nil {
		return 0, 0
	}
	line, column = 1, 1
	r := bufio.NewReader(io.LimitReader(f.src, at))
	for {
		c, _, err := r.ReadRune()
		switch {
		case err != nil:
			return line, column
		case c == '\n':
			line, column = line+1, 1
		default:
			column++
		}
	}
}

// malformed is an error of what is no JSON, behind that position.
func (f *File) malformed(at int64, path string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errors.New("the file ends within a value")
		if end, e := f.src.Seek(0, io.SeekEnd); e == nil {
			at = end
		}
	} else if _, e := f.src.Seek(at, io.SeekStart); e == nil {
		at += f.wrongAt()
	}
	e := &Error{Path: path, Err: fmt.Errorf("failed_to_parse_json: %w", err)}
	e.Line, e.Column = f.line(at)
	return e
}

// wrongAt is how far what follows can be read as JSON.
func (f *File) wrongAt() int64 {
	text, err := io.ReadAll(io.LimitReader(f.src, 1<<20))
	if err != nil {
		return 0
	}
	start := max(0, valueStart(text))
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(text[start:], new(json.RawMessage)), &syntax) && !strings.Contains(syntax.Error(), "after top-level value") {
		return int64(start) + max(syntax.Offset-1, 0)
	}
	return int64(start)
}
