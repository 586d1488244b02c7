package broker

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// quickReader reads a text from its front. Once something is not as expected ok is false
// for good, and what it returns means nothing.
type quickReader struct {
	rest []byte
	ok   bool
}

// take reads a word if it comes next.
func (r *quickReader) take(word string) bool {
	if !bytes.HasPrefix(r.rest, []byte(word)) {
		return false
	}
	r.rest = r.rest[len(word):]
	return true
}

func (r *quickReader) must(word string) { r.ok = r.take(word) && r.ok }

// textLike is text where it is mostly the same as before.
func (r *quickReader) textLike(last string) string {
	if text := r.text(); string(text) != last {
		return string(text)
	}
	return last
}

// text reads to the end of a text, which stands for itself. The bytes are borrowed.
func (r *quickReader) text() []byte {
	n := bytes.IndexByte(r.rest, '"')
	if n < 0 {
		r.ok = false
		return nil
	}
	text := r.rest[:n]
	r.rest = r.rest[n+1:]
	r.ok = r.ok && utf8.Valid(text) && bytes.IndexByte(text, '\\') < 0 && !hasControls(text)
	return text
}

func hasControls(text []byte) bool {
	for _, c := range text {
		if c < ' ' {
			return true
		}
	}
	return false
}

// base64 reads bytes into dst.
func (r *quickReader) base64(dst []byte) []byte {
	text := r.text()
	dst, err := base64.StdEncoding.AppendDecode(dst, text)
	r.ok = r.ok && err == nil && len(text) > 0
	return dst
}

// digits reads a number as json writes one that is whole.
func (r *quickReader) digits() []byte {
	n := 0
	for n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	digits := r.rest[:n]
	r.rest = r.rest[n:]
	r.ok = r.ok && n > 0 && n < 20 && (n == 1 || digits[0] != '0') // and fits 64 bits
	return digits
}
