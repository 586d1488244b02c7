package main

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// Line is one request as a web server logged it. The byte slices alias the
// text that was parsed.
type Line struct {
	VHost   []byte    // of formats that begin with it, without the port; else nil
	Client  []byte    // address or name of the client
	Time    time.Time // whole seconds
	Method  []byte    // nil when the request was garbage
	Path    []byte    // without the query
	Status  int
	Bytes   int64         // body bytes sent
	Took    time.Duration // how long the request took; only when HasTook
	HasTook bool
}

// Level is what the status says about the request: error from 500, warn from 400, else info.
func (l *Line) Level() string {
	switch {
	case l.Status >= 500:
		return "error"
	case l.Status >= 400:
		return "warn"
	}
	return "info"
}

var errNotALine = errors.New("not a line of a web-server log")

// parseLine reads
//
//	[vhost[:port] ]client ident user [02/Jan/2006:15:04:05 -0700] "METHOD path HTTP/1.1" status bytes
//
// which is the common log format, and what usually follows it: "referer" and
// "agent" (the combined format), then the time that the request took, as nginx
// ($request_time or rt=0.123, in seconds with a point) or Apache (%D, whole
// microseconds) write it. Quotes inside quotes are escaped by a backslash.
func parseLine(text []byte) (Line, error) {
	var l Line
	open := bytes.IndexByte(text, '[')
	if open < 0 {
		return l, errNotALine
	}
	names := text[:open]
	first, names := word(names)
	second, names := word(names)
	third, names := word(names)
	fourth, _ := word(names)
	switch {
	case len(third) == 0: // client ident user is the least
		return l, errNotALine
	case len(fourth) > 0 && looksLikeHost(first):
		l.VHost, l.Client = withoutPort(first), second
	default: // a user name may contain blanks
		l.Client = first
	}
	rest := text[open+1:]
	end := bytes.IndexByte(rest, ']')
	if end < 0 {
		return l, errNotALine
	}
	at, ok := parseTime(rest[:end])
	if !ok {
		return l, errNotALine
	}
	l.Time = at
	request, rest, ok := quoted(rest[end+1:])
	if !ok {
		return l, errNotALine
	}
	l.Method, l.Path = splitRequest(request)
	status, rest := word(rest)
	if l.Status, ok = number(status); !ok || l.Status < 100 || l.Status > 999 {
		return l, errNotALine
	}
	size, rest := word(rest)
	if n, err := strconv.ParseInt(string(size), 10, 64); err == nil && n >= 0 { // "-" means none
		l.Bytes = n
	}
	l.Took, l.HasTook = tookOf(rest)
	return l, nil
}

// word cuts the first word off.
func word(s []byte) (first, rest []byte) {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	if i := bytes.IndexByte(s, ' '); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, nil
}

// quoted cuts off what stands between the next pair of double quotes.
func quoted(s []byte) (inside, rest []byte, ok bool) {
	start := bytes.IndexByte(s, '"')
	if start < 0 {
		return nil, nil, false
	}
	for i := start + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[start+1 : i], s[i+1:], true
		}
	}
	return nil, nil, false
}

// splitRequest reads `METHOD path protocol`; garbage, which servers log as they
// got it, has neither.
func splitRequest(request []byte) (method, path []byte) {
	method, rest := word(request)
	path, _ = word(rest)
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return nil, nil
		}
	}
	if len(method) == 0 || len(path) == 0 {
		return nil, nil
	}
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	return method, path
}

// tookOf looks for the request's time behind the quoted fields.
func tookOf(rest []byte) (time.Duration, bool) {
	for len(rest) > 0 {
		if rest[0] == '"' {
			_, after, ok := quoted(rest)
			if !ok {
				return 0, false
			}
			rest = after
			continue
		}
		var field []byte
		field, rest = word(rest)
		if len(field) == 0 {
			continue
		}
		if d, ok := duration(field); ok {
			return d, true
		}
	}
	return 0, false
}

func duration(field []byte) (time.Duration, bool) {
	for _, name := range []string{"rt=", "request_time="} {
		if v, ok := bytes.CutPrefix(field, []byte(name)); ok {
			field = bytes.Trim(v, `"`)
		}
	}
	if bytes.IndexByte(field, '.') > 0 {
		if seconds, err := strconv.ParseFloat(string(field), 64); err == nil && seconds >= 0 && seconds < 1e6 {
			return time.Duration(seconds * float64(time.Second)), true
		}
		return 0, false
	}
	if micros, ok := number(field); ok {
		return time.Duration(micros) * time.Microsecond, true
	}
	return 0, false
}

func number(s []byte) (int, bool) {
	if len(s) == 0 || len(s) > 12 {
		return 0, false
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// looksLikeHost tells a virtual host, as Apache's vhost_combined begins with,
// from a client address: it has a letter that no IPv6 address has, or a port.
func looksLikeHost(s []byte) bool {
	s = withoutPort(s)
	for _, c := range s {
		if c|0x20 > 'f' && c|0x20 <= 'z' {
			return true
		}
	}
	return false
}

func withoutPort(s []byte) []byte {
	if i := bytes.IndexByte(s, ':'); i > 0 && bytes.IndexByte(s[i+1:], ':') < 0 {
		return s[:i]
	}
	return s
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// parseTime reads 02/Jan/2006:15:04:05 -0700. time.Parse takes several times as
// long, and there are millions of these.
func parseTime(s []byte) (time.Time, bool) {
	if len(s) != 26 || s[2] != '/' || s[6] != '/' || s[11] != ':' || s[14] != ':' || s[17] != ':' || s[20] != ' ' {
		return time.Time{}, false
	}
	month := bytes.Index([]byte(months), s[3:6])
	if month < 0 || month%3 != 0 {
		return time.Time{}, false
	}
	var part [7]int
	for i, at := range [7][2]int{{0, 2}, {7, 11}, {12, 14}, {15, 17}, {18, 20}, {22, 24}, {24, 26}} {
		n, ok := number(s[at[0]:at[1]])
		if !ok {
			return time.Time{}, false
		}
		part[i] = n
	}
	day, year, hour, minute, second := part[0], part[1], part[2], part[3], part[4]
	if day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	zone := time.Duration(part[5])*time.Hour + time.Duration(part[6])*time.Minute
	switch s[21] {
	case '+':
		zone = -zone
	case '-':
	default:
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, time.UTC).Add(zone), true
}
