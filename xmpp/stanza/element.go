package stanza

import "strings"

// Namespaces that more than one file needs.
const (
	NSClient  = "jabber:client"
	NSStream  = "http://etherx.jabber.org/streams"
	NSStreams = "urn:ietf:params:xml:ns:xmpp-streams"
	NSStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsXML     = "http://www.w3.org/XML/1998/namespace"
)

// Element is one XML element with all that is in it. The zero value has no name.
type Element struct {
	Space, Local string // namespace and name
	Attrs        []Attr
	Nodes        []Node // what is in it, in order
}

// Attr is an attribute. Space is "" for one without a prefix; declarations of namespaces are none.
type Attr struct{ Space, Local, Value string }

// Node is what stands in an element: another one, or text where Element is nil.
type Node struct {
	Element *Element
	Text    string
}

// New makes an element with attributes, which are names and values by turns.
func New(space, local string, attrs ...string) *Element {
	e := &Element{Space: space, Local: local}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.Attrs = append(e.Attrs, Attr{Local: attrs[i], Value: attrs[i+1]})
	}
	return e
}

// Add puts elements at the end of e, and returns it. A nil one is nothing.
func (e *Element) Add(children ...*Element) *Element {
	for _, c := range children {
		if c != nil {
			e.Nodes = append(e.Nodes, Node{Element: c})
		}
	}
	return e
}

// AddText puts text at the end of e, and returns it.
func (e *Element) AddText(text string) *Element {
	if text != "" {
		e.Nodes = append(e.Nodes, Node{Text: text})
	}
	return e
}

// Is tells whether it is called so.
func (e *Element) Is(space, local string) bool { return e.Local == local && e.Space == space }

// Attr is the value of an attribute without a namespace, "" if it is not there.
func (e *Element) Attr(local string) string {
	v, _ := e.Get(local)
	return v
}

// Get is Attr, and says whether it is there.
func (e *Element) Get(local string) (string, bool) {
	for i := range e.Attrs {
		if e.Attrs[i].Local == local && e.Attrs[i].Space == "" {
			return e.Attrs[i].Value, true
		}
	}
	return "", false
}

// Set gives an attribute without a namespace a value, in the place of the one it has. It returns e.
func (e *Element) Set(local, value string) *Element {
	for i := range e.Attrs {
		if e.Attrs[i].Local == local && e.Attrs[i].Space == "" {
			e.Attrs[i].Value = value
			return e
		}
	}
	e.Attrs = append(e.Attrs, Attr{Local: local, Value: value})
	return e
}

// Unset takes an attribute without a namespace away.
func (e *Element) Unset(local string) {
	for i := range e.Attrs {
		if e.Attrs[i].Local == local && e.Attrs[i].Space == "" {
			e.Attrs = append(e.Attrs[:i:i], e.Attrs[i+1:]...)
			return
		}
	}
}

// Lang is the value of xml:lang, "" if it is not there.
func (e *Element) Lang() string {
	for i := range e.Attrs {
		if e.Attrs[i].Local == "lang" && e.Attrs[i].Space == nsXML {
			return e.Attrs[i].Value
		}
	}
	return ""
}

// Child is the first element in e that is called so; nil when there is none.
func (e *Element) Child(space, local string) *Element {
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil && c.Local == local && c.Space == space {
			return c
		}
	}
	return nil
}

// First is the first element in e; nil when there is none.
func (e *Element) First() *Element {
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil {
			return c
		}
	}
	return nil
}

// Children are the elements in e.
func (e *Element) Children() []*Element {
	var out []*Element
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil {
			out = append(out, c)
		}
	}
	return out
}

// Text is the text in e, without that of elements in it.
func (e *Element) Text() string {
	switch len(e.Nodes) {
	case 0:
		return ""
	case 1:
		return e.Nodes[0].Text
	}
	var b strings.Builder
	for i := range e.Nodes {
		b.WriteString(e.Nodes[i].Text)
	}
	return b.String()
}

// ChildText is the text of the first element in e that is called so.
func (e *Element) ChildText(space, local string) string {
	if c := e.Child(space, local); c != nil {
		return c.Text()
	}
	return ""
}

// With is a copy of e whose own attributes can be changed without changing e's; what is in it is shared.
func (e *Element) With() *Element {
	c := *e
	c.Attrs = append(make([]Attr, 0, len(e.Attrs)+2), e.Attrs...)
	c.Nodes = c.Nodes[:len(c.Nodes):len(c.Nodes)]
	return &c
}
