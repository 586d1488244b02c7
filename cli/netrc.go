package cli

import (
	"bytes"
	"strings"
)

// netrcEntry is a name and a password for one machine.
type netrcEntry struct{ login, password string }

// parseNetrc finds what a .netrc file says of a host, or by default. It is read as ftp and curl read it: words in any number of
// lines, and what belongs to a macro is skipped.
func parseNetrc(text []byte, host string) netrcEntry {
	var fallback netrcEntry
	var now *netrcEntry // nil: of another machine
	found := netrcEntry{}
	macro := false
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if macro {
			macro = len(fields) > 0
			continue
		}
		for i := 0; i < len(fields); i++ {
			next := func() string {
				if i++; i < len(fields) {
					return fields[i]
				}
				return ""
			}
			switch word := fields[i]; {
			case strings.HasPrefix(word, "#"):
				i = len(fields)
			case word == "machine":
				if found.login != "" {
					return found
				}
				if now = nil; next() == host {
					now = &found
				}
			case word == "default":
				now = &fallback
			case word == "login" || word == "password":
				if value := next(); now != nil && word == "login" {
					now.login = value
				} else if now != nil {
					now.password = value
				}
			case word == "account":
				next()
			case word == "macdef":
				macro, i = true, len(fields)
			}
		}
	}
	if found.login != "" {
		return found
	}
	return fallback
}
