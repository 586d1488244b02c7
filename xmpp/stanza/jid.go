package stanza

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// JID is an address: local@domain/resource. Domains are in lower case; the rest is as it was written.
type JID struct{ Local, Domain, Resource string }

// maxPart is the longest part of an address (RFC 7622).
const maxPart = 1023

var errJID = errors.New("not an address")

// ParseJID takes an address apart. What stands in Local is still escaped; see Unescape.
func ParseJID(text string) (j JID, err error) {
	rest, resource, has := strings.Cut(text, "/")
	if has && resource == "" {
		return j, errJID
	}
	local, domain, has := strings.Cut(rest, "@")
	if !has {
		local, domain = "", rest
	} else if local == "" {
		return j, errJID
	}
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	switch {
	case emptyLabel(domain), len(local) > maxPart, len(domain) > maxPart, len(resource) > maxPart, !utf8.ValidString(text):
		return j, errJID
	case strings.ContainsAny(local, "\"&'/:<>@ \t\r\n"), strings.ContainsAny(domain, "\"&'/:<>@ \t\r\n"), control(text):
		return j, errJID
	}
	return JID{local, domain, resource}, nil
}

// emptyLabel tells whether a domain has nothing before, between or behind its dots (RFC 7622, 3.2).
// One dot at the end was cut off before: an address with a second would be another one each time it is read.
func emptyLabel(domain string) bool {
	return domain == "" || domain[0] == '.' || domain[len(domain)-1] == '.' || strings.Contains(domain, "..")
}

// control tells whether there is a character that no address may have.
func control(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] == 0x7f {
			return true
		}
	}
	return false
}

func (j JID) String() string {
	s := j.Domain
	if j.Local != "" {
		s = j.Local + "@" + s
	}
	if j.Resource != "" {
		s += "/" + j.Resource
	}
	return s
}

// Bare is the address without its resource.
func (j JID) Bare() JID { return JID{j.Local, j.Domain, ""} }

// escaped are the characters that XEP-0106 escapes, with their codes.
const escaped = " \"&'/:<>@\\"

// Escape writes any name as a local part, as XEP-0106 says.
func Escape(name string) string {
	if !strings.ContainsAny(name, escaped) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if strings.IndexByte(escaped, c) < 0 || c == '\\' && !isEscape(name[i:]) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('\\')
		b.WriteByte("0123456789abcdef"[c>>4])
		b.WriteByte("0123456789abcdef"[c&15])
	}
	return b.String()
}

// Unescape is the name that Escape has written.
func Unescape(local string) string {
	if !strings.Contains(local, `\`) {
		return local
	}
	var b strings.Builder
	for i := 0; i < len(local); i++ {
		if isEscape(local[i:]) {
			c, _ := code(local[i:])
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(local[i])
	}
	return b.String()
}

// isEscape tells whether text begins with one of the ten sequences.
func isEscape(text string) bool {
	c, ok := code(text)
	return ok && strings.IndexByte(escaped, c) >= 0
}

func code(text string) (byte, bool) {
	if len(text) < 3 || text[0] != '\\' {
		return 0, false
	}
	hi, lo := strings.IndexByte("0123456789abcdef", text[1]), strings.IndexByte("0123456789abcdef", text[2])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}
