package websocket

import "unicode/utf8"

// letters checks that text is UTF-8 which comes in pieces, cut at any byte.
type letters struct {
	part [utf8.UTFMax]byte // of a letter whose rest has not come
	n    int
}

// add takes a piece, and says whether it can go on so.
func (l *letters) add(b []byte) bool {
	for l.n > 0 && len(b) > 0 {
		l.part[l.n] = b[0]
		l.n++
		b = b[1:]
		if !utf8.FullRune(l.part[:l.n]) {
			continue
		}
		if _, size := utf8.DecodeRune(l.part[:l.n]); size != l.n {
			return false
		}
		l.n = 0
	}
	if l.n > 0 {
		return true
	}
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if last := b[len(b)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				l.n = copy(l.part[:], last)
				b = b[:len(b)-i]
			}
			break
		}
	}
	return utf8.Valid(b)
}

// whole says that no letter has begun, and makes ready for another text.
func (l *letters) whole() bool {
	begun := l.n > 0
	l.n = 0
	return !begun
}
