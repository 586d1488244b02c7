package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Print writes what is in force and where it comes from, as a file of settings that
// can be read again. Secrets, and what can't stand in a file, are comments.
func (c *Config) Print(w io.Writer) error {
	var b strings.Builder
	group := ""
	for _, s := range settings(c) {
		if s.Group != group {
			if group != "" {
				b.WriteByte('\n')
			}
			group = s.Group
			fmt.Fprintf(&b, "# %s\n", group)
		}
		line := s.Flag + " = " + s.literal()
		switch {
		case s.Secret:
			line = "# " + s.Flag + " is not shown"
		case s.NoFile:
			line = "# " + line
		}
		fmt.Fprintf(&b, "%-44s # %s\n", line, oneLine(c.Origin(s.Flag).String()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// oneLine keeps a comment one: the name of a file may hold anything.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}

// literal is the value as it stands in a file.
func (s Setting) literal() string {
	switch p := s.pointer.(type) {
	case *string:
		return quoted(*p)
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *time.Duration:
		return quoted(p.String())
	case fmt.Stringer: // a Size, a Watermark
		return quoted(p.String())
	}
	panic(fmt.Sprintf("config: setting %s has a type that is not printed", s.Flag))
}

// quoted is a basic string of TOML. It takes UTF-8 only: other bytes become question marks.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(text, "?") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
