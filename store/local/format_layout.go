package local

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// The layout file DATA/format is one line of text, so that a person can read it:
//
//	leveret layout 1 f3a09c1d5be70244\n
//
// The last word is the xxhash64, in hexadecimal, of the text before it without
// the space. Any older layout opens; a newer one is refused.
const (
	layoutVersion  = 1
	layoutPrefix   = "leveret layout "
	layoutMaxBytes = 128
)

// encodeLayout is the content of the layout file for that version.
func encodeLayout(version int) []byte {
	text := layoutPrefix + strconv.Itoa(version)
	return fmt.Appendf(nil, "%s %016x\n", text, xxhash.Sum64String(text))
}

// decodeLayout reads a layout file's version. A version above ours is ErrVersion,
// whatever else the line may hold one day; anything that is not such a line is ErrCorrupt.
func decodeLayout(data []byte) (int, error) {
	line, ok := strings.CutSuffix(string(data), "\n")
	if len(data) > layoutMaxBytes || !ok || !strings.HasPrefix(line, layoutPrefix) {
		return 0, fmt.Errorf("layout file is not a layout line: %w", ErrCorrupt)
	}
	space := strings.LastIndexByte(line, ' ')
	text, sum := line[:space], line[space+1:]
	if got := fmt.Sprintf("%016x", xxhash.Sum64String(text)); got != sum {
		return 0, fmt.Errorf("layout file's hash is %q and should be %s: %w", sum, got, ErrCorrupt)
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(text, layoutPrefix), " ")
	version, err := strconv.Atoi(word)
	if err != nil || version < 1 {
		return 0, fmt.Errorf("layout version %q: %w", word, ErrCorrupt)
	}
	if version > layoutVersion {
		return version, fmt.Errorf("layout %d, this program knows up to %d: %w", version, layoutVersion, ErrVersion)
	}
	return version, nil
}
