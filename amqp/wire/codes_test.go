package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReplyTextsAreWholeCharacters(t *testing.T) {
	for _, odd := range []string{"a", "\u00e9", "\u20ac", "\U0001f407", "\xff", "\xe2\x82", "\xc3\u20ac"} {
		for n := range 300 {
			text := ReplyText(NotFound, "no queue '"+strings.Repeat("x", n%5)+strings.Repeat(odd, n)+"' in vhost '/'")
			if len(text) > MaxShortStringBytes || !utf8.ValidString(text) {
				t.Fatalf("%d times %q: %d bytes %q", n, odd, len(text), text)
			}
			if !strings.HasPrefix(text, "NOT_FOUND - no queue '") {
				t.Fatalf("%q", text)
			}
			if whole := strings.HasSuffix(text, "' in vhost '/'"); !whole && (!strings.HasSuffix(text, "...") || len(text) < MaxShortStringBytes-3) {
				t.Fatalf("%d times %q was cut to %d bytes: %q", n, odd, len(text), text)
			}
		}
	}
}
