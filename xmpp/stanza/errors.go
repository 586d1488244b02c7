package stanza

// Error is a stanza error (RFC 6120 section 8.3): what is answered to one stanza, while the stream goes on.
type Error struct {
	Type      string // cancel, modify, auth, wait or continue
	Condition string
	Text      string   // for people; "" is none
	More      *Element // a condition of an extension; nil is none
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Condition
	}
	return e.Condition + ": " + e.Text
}

// types are the types that RFC 6120 gives the conditions.
var types = map[string]string{
	"bad-request": "modify", "jid-malformed": "modify", "not-acceptable": "modify", "policy-violation": "modify",
	"redirect": "modify", "unexpected-request": "wait", "resource-constraint": "wait", "remote-server-timeout": "wait",
	"forbidden": "auth", "not-authorized": "auth", "registration-required": "auth", "subscription-required": "auth",
}

// Fail makes an Error with the type that RFC 6120 gives its condition.
func Fail(condition, text string) *Error {
	e := &Error{Type: types[condition], Condition: condition, Text: text}
	if e.Type == "" {
		e.Type = "cancel"
	}
	return e
}

// Element is the error as it stands in a stanza.
func (e *Error) Element() *Element {
	out := New(NSClient, "error", "type", e.Type).Add(New(NSStanzas, e.Condition))
	if e.Text != "" {
		out.Add(New(NSStanzas, "text").AddText(e.Text))
	}
	return out.Add(e.More)
}

// Result is the answer to an iq, with what stands in it.
func Result(iq *Element, payload ...*Element) *Element {
	return reply(iq, "result").Add(payload...)
}

// Refusal is the answer to a stanza that could not be served: its error, and for a message nothing of what it said.
func Refusal(s *Element, e *Error) *Element {
	return reply(s, "error").Add(e.Element())
}

// reply has the addresses of s the other way round.
func reply(s *Element, kind string) *Element {
	out := &Element{Space: NSClient, Local: s.Local, Attrs: make([]Attr, 0, 4)}
	out.Set("type", kind)
	for _, a := range [...][2]string{{"id", "id"}, {"from", "to"}, {"to", "from"}} {
		if v, ok := s.Get(a[0]); ok {
			out.Set(a[1], v)
		}
	}
	return out
}
