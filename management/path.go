package management

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// Bounds of a path: a name is at most 255 bytes, and a key of properties, twice encoded, nine times as much.
const (
	maxSegments     = 16
	maxSegmentBytes = 16 << 10
)

// segment is one of a path, decoded.
type segment struct {
	text string
	plus bool // there was a plus as it stands, which some clients mean as a space
}

// segmentsOf takes an escaped path apart, without the slash that it begins with. One at the end does not count. What is wrong with
// it is said in a sentence.
func segmentsOf(escaped string) (list []segment, wrong string) {
	escaped = strings.TrimSuffix(escaped, "/")
	if escaped == "" {
		return nil, ""
	}
	parts := strings.Split(escaped, "/")
	if len(parts) > maxSegments {
		return nil, "the path has too many segments: a slash in a name is written %2F"
	}
	for _, part := range parts {
		switch {
		case part == "." || part == "..":
			return nil, "a segment of the path is dots: they are written %2E"
		case len(part) > maxSegmentBytes:
			return nil, "a segment of the path is too long"
		}
		text, err := url.PathUnescape(part)
		if err != nil {
			return nil, "the path is not percent-encoded as it should be"
		}
		if !utf8.ValidString(text) {
			return nil, "a name in the path is not valid UTF-8"
		}
		list = append(list, segment{text, strings.Contains(part, "+")})
	}
	return list, ""
}

// spaced are the segments with what stands there as a plus taken as a space, as QueryEscape in Go and
// URLEncoder in Java write it; false when there is none.
func spaced(list []segment, escaped string) ([]segment, bool) {
	if len(list) == 0 {
		return nil, false
	}
	out, found := make([]segment, len(list)), false
	for i, part := range strings.Split(strings.TrimSuffix(escaped, "/"), "/") {
		out[i] = list[i]
		if !list[i].plus {
			continue
		}
		if text, err := url.PathUnescape(strings.ReplaceAll(part, "+", "%20")); err == nil {
			out[i], found = segment{text: text}, true
		}
	}
	return out, found
}
