package store

import (
	"net/url"
	"strings"
)

// Key makes the key of an entry of a table: a prefix that ends in "/", and names. Each is escaped,
// so that "/" only stands between them.
func Key(prefix string, parts ...string) string {
	n := len(prefix)
	for _, p := range parts {
		n += len(p) + len("/%2F")
	}
	var s strings.Builder
	s.Grow(n)
	s.WriteString(strings.TrimSuffix(prefix, "/"))
	for _, p := range parts {
		s.WriteByte('/')
		s.WriteString(url.PathEscape(p))
	}
	return s.String()
}
