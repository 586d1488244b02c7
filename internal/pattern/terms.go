package pattern

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// TermKind says what sort of names a Term is for.
type TermKind uint8

// The kinds of terms.
const (
	OneName TermKind = iota // the name Text
	Prefix                  // names that begin with Text
	AllNames
	Other // names that match the regular expression Text
)

// Term is one of the alternatives that a pattern is made of: "^a$|^b.*|.*" has three. Most
// patterns of permissions are lists of names and beginnings, which is what access lists
// elsewhere can say.
type Term struct {
	Kind   TermKind
	Text   string
	source string // the alternative as it was written; "": as String writes it
}

// String is the alternative by itself.
func (t Term) String() string {
	switch {
	case t.source != "":
		return t.source
	case t.Kind == OneName:
		return "^" + regexp.QuoteMeta(t.Text) + "$"
	case t.Kind == Prefix:
		return "^" + regexp.QuoteMeta(t.Text)
	case t.Kind == AllNames:
		return ".*"
	}
	return t.Text
}

// Is says whether two terms are for the same names by what they say, however they are written.
func (t Term) Is(o Term) bool { return t.Kind == o.Kind && t.Text == o.Text }

// Covers says whether all names of another term, as far as that can be told, are among the term's.
func (t Term) Covers(o Term) bool {
	switch t.Kind {
	case AllNames:
		return true
	case Prefix:
		return (o.Kind == OneName || o.Kind == Prefix) && strings.HasPrefix(o.Text, t.Text)
	case Other:
		if o.Kind == OneName {
			n, err := NewNames(t.String())
			return err == nil && n.Match(o.Text)
		}
	}
	return t.Is(o)
}

// Join is the pattern that is for the names of all the terms.
func Join(terms []Term) string {
	if len(terms) == 0 {
		return "^$"
	}
	parts := make([]string, len(terms))
	for i, t := range terms {
		parts[i] = t.String()
	}
	return strings.Join(parts, "|")
}

// Terms takes a pattern of names apart. It must be one that NewNames takes. Joined again,
// the terms are for the same names as the pattern.
func Terms(text string) []Term {
	if text == "" || text == "^$" {
		return nil
	}
	parts, ok := alternatives(text)
	if !ok {
		return []Term{{Kind: Other, Text: "(?:" + closed(text) + ")"}}
	}
	terms := make([]Term, 0, len(parts))
	for _, part := range parts {
		for _, one := range ungrouped(part) {
			if one != "^$" { // of which there is none among names
				terms = append(terms, termOf(one))
			}
		}
	}
	return terms
}

// ungrouped are the alternatives of a part that is a group of them.
func ungrouped(part string) []string {
	inner, ok := grouped(part)
	if !ok {
		return []string{part}
	}
	parts, ok := alternatives(inner)
	if !ok {
		return []string{part}
	}
	for i := range parts {
		parts[i] = anchored(parts[i])
	}
	return parts
}

// anchored is an alternative of a group between ^ and $.
func anchored(part string) string {
	if _, ok := literal(strings.TrimSuffix(part, ".*")); ok {
		return "^" + part + "$"
	}
	return whole(part)
}

// termOf reads one alternative.
func termOf(part string) Term {
	body, begins := strings.CutPrefix(part, "^")
	switch body {
	case "", ".*", "$", ".*$": // from the start or from anywhere, to the end or not
		if body == "" || body == ".*" || !begins {
			return Term{Kind: AllNames, source: part}
		}
	}
	if begins {
		if whole, ends := strings.CutSuffix(body, "$"); ends {
			if name, ok := literal(whole); ok {
				return Term{Kind: OneName, Text: name, source: part}
			}
			if beginning, open := strings.CutSuffix(whole, ".*"); open {
				if name, ok := literal(beginning); ok && name != "" {
					return Term{Kind: Prefix, Text: name, source: part}
				}
			}
		} else if name, ok := literal(strings.TrimSuffix(body, ".*")); ok && name != "" {
			return Term{Kind: Prefix, Text: name, source: part}
		}
	}
	return Term{Kind: Other, Text: part}
}

// literal is what a piece of a pattern stands for if it stands for one text.
func literal(piece string) (string, bool) {
	var out strings.Builder
	for len(piece) > 0 {
		switch c := piece[0]; {
		case c == '\\':
			if len(piece) < 2 || piece[1] >= utf8.RuneSelf || isWord(piece[1]) {
				return "", false
			}
			out.WriteByte(piece[1])
			piece = piece[2:]
		case len(piece) > 2 && c == '[' && piece[2] == ']' && piece[1] != '^' && piece[1] != '\\':
			out.WriteByte(piece[1])
			piece = piece[3:]
		case strings.IndexByte(`.+*?()|[]{}^$`, c) >= 0:
			return "", false
		default:
			out.WriteByte(c)
			piece = piece[1:]
		}
	}
	return out.String(), true
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// closed is a pattern with the end of a quotation that goes on to its end.
func closed(text string) string {
	for i := 0; i < len(text); i++ {
		if strings.HasPrefix(text[i:], `\Q`) {
			end := strings.Index(text[i:], `\E`)
			if end < 0 {
				return text + `\E`
			}
			i += end
		}
		if text[i] == '\\' {
			i++
		}
	}
	return text
}

// alternatives are the parts of a pattern between its outermost bars. It gives up where flags or a quotation
// reach over them.
func alternatives(text string) (parts []string, ok bool) {
	depth, begin := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i++; i < len(text) && text[i] == 'Q' {
				return nil, false
			}
		case '[':
			i = classEnd(text, i)
		case '(':
			depth++
			if strings.HasPrefix(text[i:], "(?") && !strings.HasPrefix(text[i:], "(?:") {
				return nil, false
			}
		case ')':
			depth--
		case '|':
			if depth == 0 {
				parts = append(parts, text[begin:i])
				begin = i + 1
			}
		}
	}
	return append(parts, text[begin:]), true
}

// classEnd is where the class that begins there ends.
func classEnd(text string, at int) int {
	i := at + 1
	if i < len(text) && text[i] == '^' {
		i++
	}
	if i < len(text) && text[i] == ']' {
		i++
	}
	for ; i < len(text) && text[i] != ']'; i++ {
		switch {
		case text[i] == '\\':
			i++
		case strings.HasPrefix(text[i:], "[:"):
			if end := strings.Index(text[i:], ":]"); end >= 0 {
				i += end + 1
			}
		}
	}
	return i
}

// grouped is what stands in a group that is the whole pattern, between ^ and $.
func grouped(text string) (inner string, ok bool) {
	inner, ok = strings.CutPrefix(text, "^(")
	if inner, _ = strings.CutPrefix(inner, "?:"); !ok || !strings.HasSuffix(inner, ")$") {
		return "", false
	}
	inner = inner[:len(inner)-2]
	depth := 0
	for i := 0; i < len(inner); i++ { // is it the first group that ends there?
		switch inner[i] {
		case '\\':
			i++
		case '[':
			i = classEnd(inner, i)
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return "", false
			}
		}
	}
	return inner, depth == 0
}
