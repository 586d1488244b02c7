package stanza

import (
	"strconv"
	"unicode/utf8"
)

// AppendTo writes e as XML behind buf. within is the default namespace of what it is written into: NSClient for a
// stanza on a stream, "" for an element that stands alone.
func (e *Element) AppendTo(buf []byte, within string) []byte {
	buf = append(append(buf, '<'), e.Local...)
	if e.Space != within {
		buf = append(AppendText(append(buf, " xmlns='"...), e.Space), '\'')
	}
	prefixes := 0
	for i := range e.Attrs {
		a := &e.Attrs[i]
		switch a.Space {
		case "":
			buf = append(append(buf, ' '), a.Local...)
		case nsXML:
			buf = append(append(buf, " xml:"...), a.Local...)
		default:
			prefixes++
			n := strconv.Itoa(prefixes)
			buf = append(AppendText(append(append(append(buf, " xmlns:ns"...), n...), "='"...), a.Space), '\'')
			buf = append(append(append(append(buf, " ns"...), n...), ':'), a.Local...)
		}
		buf = append(appendText(append(buf, "='"...), a.Value, true), '\'')
	}
	if len(e.Nodes) == 0 {
		return append(buf, "/>"...)
	}
	buf = append(buf, '>')
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil {
			buf = c.AppendTo(buf, e.Space)
		} else {
			buf = AppendText(buf, e.Nodes[i].Text)
		}
	}
	return append(append(append(buf, "</"...), e.Local...), '>')
}

// String is e as an element that stands alone.
func (e *Element) String() string { return string(e.AppendTo(nil, "")) }

// AppendText writes text for an element or a value between quotes, escaped. What XML can't carry becomes U+FFFD: see
// Carries.
func AppendText[T string | []byte](buf []byte, text T) []byte { return appendText(buf, text, false) }

// appendText is AppendText; in a value lines have no ends of their own.
func appendText[T string | []byte](buf []byte, text T, value bool) []byte {
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		size, with := 1, ""
		switch {
		case c >= utf8.RuneSelf:
			var r rune
			if r, size = decodeRune(text[i:]); r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
				with = "\uFFFD"
			}
		case c < ' ':
			switch c {
			case '\t':
				with = "&#9;"
			case '\n':
				if value {
					with = "&#10;"
				}
			case '\r':
				with = "&#13;"
			default:
				with = "\uFFFD"
			}
		case c == '&':
			with = "&amp;"
		case c == '<':
			with = "&lt;"
		case c == '>':
			with = "&gt;"
		case c == '\'':
			with = "&apos;"
		case c == '"':
			with = "&quot;"
		}
		if with != "" {
			buf = append(append(buf, text[from:i]...), with...)
			from = i + size
		}
		i += size
	}
	return append(buf, text[from:]...)
}

func decodeRune[T string | []byte](text T) (rune, int) {
	var b [utf8.UTFMax]byte
	return utf8.DecodeRune(b[:copy(b[:], text)])
}

// Carries tells whether XML can carry the bytes as text: valid UTF-8 of characters that it allows.
func Carries(text []byte) bool {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
			return false
		}
		i += size
	}
	return true
}
