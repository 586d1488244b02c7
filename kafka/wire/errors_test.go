package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextsOfErrorsAreWholeCharactersAndBounded(t *testing.T) {
	for _, odd := range []string{"a", "\u00e9", "\u20ac", "\U0001f407", "\xff", "\xe2\x82"} {
		for n := range 40 {
			long := strings.Repeat("x", n) + strings.Repeat(odd, 40_000)
			whole := strings.ToValidUTF8(long, "\uFFFD")
			got := Text(long)
			if len(whole) <= MaxTextBytes && got == whole {
				continue
			}
			if len(got) > MaxTextBytes || len(got) < MaxTextBytes-8 || !utf8.ValidString(got) || !strings.HasSuffix(got, "...") {
				t.Fatalf("%d x and %q: %d bytes %q", n, odd, len(got), got)
			}
		}
	}
	if got := Text("topic 't'"); got != "topic 't'" {
		t.Error(got)
	}
}
