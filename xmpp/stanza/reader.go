package stanza

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits bound what a Reader takes; they hold for one element of the stream with all that is in it.
type Limits struct {
	Bytes    int // from its first byte to its last
	Depth    int // elements in each other
	Elements int // in it, and itself
	Attrs    int // of one element, declarations of namespaces among them
	// Step is how many bytes are read before Charge is asked for as many more; 0 never asks.
	Step int
	// Charge allows n bytes more to be read, or says why not, which Next returns.
	Charge func(n int) error
}

// Source is where a Reader's bytes come from.
type Source interface {
	// More returns bytes that were not returned yet, at least one. They are borrowed until the next call.
	More() ([]byte, error)
}

// A StreamError is why a stream has to end: a condition of RFC 6120 section 4.9.3, and text for people.
type StreamError struct{ Condition, Text string }

func (e *StreamError) Error() string { return e.Condition + ": " + e.Text }

// ErrEnd is what Next returns at the end of the stream's root element: the peer is done.
var ErrEnd = errors.New("the stream has ended")

// Reader reads one stream: its header, and element by element what follows. It belongs to one goroutine.
type Reader struct {
	Limits Limits

	src  Source
	xml  *xml.Decoder
	win  []byte // of src
	at   int    // in win
	used int    // bytes of the element under way
	paid int    // of these, that were charged
	fail error  // what a read failed with

	root  xml.Name
	scope []binding
	count int // elements of the one under way
}

// binding is a declaration of a namespace.
type binding struct {
	prefix, space string
	depth         int
}

// NewReader makes the Reader of a stream that begins with the source's next byte.
func NewReader(src Source, limits Limits) *Reader {
	r := &Reader{Limits: limits, src: src}
	r.xml = xml.NewDecoder((*bytesOf)(r))
	return r
}

// Unread is what came and was not used: what a peer has sent ahead.
func (r *Reader) Unread() []byte { return r.win[r.at:] }

// Default is the default namespace of the root element.
func (r *Reader) Default() string {
	space, _ := r.resolve(xml.Name{Local: "a"})
	return space
}

// bytesOf is a Reader as encoding/xml sees it.
type bytesOf Reader

// Read is never called: encoding/xml takes bytes one by one from who has them.
func (b *bytesOf) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (b *bytesOf) ReadByte() (byte, error) {
	r := (*Reader)(b)
	if r.at == len(r.win) {
		if err := r.more(); err != nil {
			return 0, err
		}
	}
	if r.used++; r.used > r.paid {
		if err := r.pay(); err != nil {
			r.fail = err
			return 0, err
		}
	}
	c := r.win[r.at]
	r.at++
	return c, nil
}

func (r *Reader) more() error {
	r.win, r.at = nil, 0
	win, err := r.src.More()
	if err != nil {
		r.fail = err
		return err
	}
	r.win = win
	return nil
}

// pay is asked for each byte that was not paid for.
func (r *Reader) pay() error {
	if r.used > r.Limits.Bytes {
		return &StreamError{"policy-violation", fmt.Sprintf("longer than %d bytes", r.Limits.Bytes)}
	}
	if r.Limits.Step == 0 {
		r.paid = r.Limits.Bytes
		return nil
	}
	if r.used > r.Limits.Step {
		if err := r.Limits.Charge(r.Limits.Step); err != nil {
			return err
		}
	}
	r.paid = min(r.paid+r.Limits.Step, r.Limits.Bytes)
	return nil
}

// begin begins an element.
func (r *Reader) begin() { r.used, r.paid, r.count = 0, 0, 0 }

// skip goes over white space between elements, which keeps connections alive and may go on for ever.
func (r *Reader) skip() error {
	for {
		for ; r.at < len(r.win); r.at++ {
			switch r.win[r.at] {
			case ' ', '\t', '\r', '\n':
			case '<':
				return nil
			default:
				return &StreamError{"bad-format", "text between stanzas"}
			}
		}
		if err := r.more(); err != nil {
			return err
		}
	}
}

// token is one token, and for the error what the stream is to end with.
func (r *Reader) token() (xml.Token, error) {
	t, err := r.xml.RawToken()
	switch {
	case err == nil:
		return t, nil
	case r.fail != nil:
		return nil, r.fail
	}
	if strings.Contains(err.Error(), "CharsetReader") || strings.Contains(err.Error(), "unsupported version") {
		return nil, &StreamError{"unsupported-encoding", err.Error()}
	}
	return nil, &StreamError{"not-well-formed", err.Error()}
}

// Header reads the opening tag of the root element, which has no Nodes.
func (r *Reader) Header() (*Element, error) {
	r.begin()
	r.scope = r.scope[:0]
	if err := r.skip(); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			r.root = t.Name
			return r.open(t, 0)
		case xml.ProcInst:
			if !first || t.Target != "xml" {
				return nil, restricted("a processing instruction")
			}
		case xml.CharData:
			if strings.TrimSpace(string(t)) != "" {
				return nil, &StreamError{"not-well-formed", "text before the stream"}
			}
		default:
			return nil, refuse(t)
		}
	}
}

// Next reads the next element below the root, or returns ErrEnd at the end of the root. Other errors are those of
// the source, of Limits.Charge, or a *StreamError.
func (r *Reader) Next() (*Element, error) {
	r.begin()
	if err := r.skip(); err != nil {
		return nil, err
	}
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case xml.StartElement:
		return r.element(t)
	case xml.EndElement:
		if t.Name != r.root {
			return nil, unbalanced(t.Name)
		}
		return nil, ErrEnd
	case xml.CharData:
		return nil, &StreamError{"bad-format", "text between stanzas"} // CDATA
	}
	return nil, refuse(t)
}

func restricted(what string) error {
	return &StreamError{"restricted-xml", what + " is not allowed in a stream"}
}

// refuse is about a token that has no place in a stream.
func refuse(t xml.Token) error {
	switch t.(type) {
	case xml.Comment:
		return restricted("a comment")
	case xml.Directive:
		return restricted("a declaration of a document")
	case xml.ProcInst:
		return restricted("a processing instruction")
	}
	return &StreamError{"not-well-formed", "an end of an element that was not begun"}
}

func unbalanced(n xml.Name) error {
	return &StreamError{"not-well-formed", "the end of '" + clip(n.Local) + "' where another element is open"}
}

// element reads what is in an element that was begun, and its end. It does not recurse: the depth is the peer's.
func (r *Reader) element(start xml.StartElement) (*Element, error) {
	first, err := r.open(start, 1)
	if err != nil {
		return nil, err
	}
	type level struct {
		e    *Element
		name xml.Name
	}
	var space [8]level
	open := append(space[:0], level{first, start.Name})
	for {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		top := &open[len(open)-1]
		switch t := t.(type) {
		case xml.StartElement:
			if len(open) >= r.Limits.Depth {
				return nil, &StreamError{"policy-violation", fmt.Sprintf("more than %d elements in each other", r.Limits.Depth)}
			}
			e, err := r.open(t, len(open)+1)
			if err != nil {
				return nil, err
			}
			top.e.Nodes = append(top.e.Nodes, Node{Element: e})
			open = append(open, level{e, t.Name})
		case xml.EndElement:
			if t.Name != top.name {
				return nil, unbalanced(t.Name)
			}
			r.close(len(open))
			if open = open[:len(open)-1]; len(open) == 0 {
				return first, nil
			}
		case xml.CharData:
			if n := len(top.e.Nodes); n > 0 && top.e.Nodes[n-1].Element == nil {
				top.e.Nodes[n-1].Text += string(t) // CDATA beside text
				if r.count++; r.count > r.Limits.Elements {
					return nil, r.tooMany()
				}
			} else {
				top.e.Nodes = append(top.e.Nodes, Node{Text: string(t)})
			}
		default:
			return nil, refuse(t)
		}
	}
}

func (r *Reader) tooMany() error {
	return &StreamError{"policy-violation", fmt.Sprintf("more than %d elements in one stanza", r.Limits.Elements)}
}

// open resolves the names of an element at a depth, the root's being 0.
func (r *Reader) open(t xml.StartElement, depth int) (*Element, error) {
	if r.count++; r.count > r.Limits.Elements {
		return nil, r.tooMany()
	}
	if len(t.Attr) > r.Limits.Attrs {
		return nil, &StreamError{"policy-violation", fmt.Sprintf("more than %d attributes in one element", r.Limits.Attrs)}
	}
	own := 0
	for _, a := range t.Attr {
		prefix, is := "", false
		switch {
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			is = true
		case a.Name.Space == "xmlns":
			prefix, is = a.Name.Local, true
			if a.Value == "" || prefix == "xmlns" || (prefix == "xml") != (a.Value == nsXML) {
				return nil, &StreamError{"not-well-formed", "a namespace for the prefix '" + clip(prefix) + "' that it can't have"}
			}
		}
		if is {
			r.scope = append(r.scope, binding{prefix, a.Value, depth})
			own++
		}
	}
	e := &Element{Local: t.Name.Local}
	var err error
	if e.Space, err = r.resolve(t.Name); err != nil {
		return nil, err
	}
	if len(t.Attr) == own {
		return e, nil
	}
	e.Attrs = make([]Attr, 0, len(t.Attr)-own)
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		attr := Attr{Local: a.Name.Local, Value: a.Value}
		if a.Name.Space != "" || strings.Contains(a.Name.Local, ":") {
			if attr.Space, err = r.resolve(a.Name); err != nil {
				return nil, err
			}
		}
		for _, other := range e.Attrs {
			if other.Local == attr.Local && other.Space == attr.Space {
				return nil, &StreamError{"not-well-formed", "the attribute '" + clip(attr.Local) + "' stands twice in one element"}
			}
		}
		e.Attrs = append(e.Attrs, attr)
	}
	return e, nil
}

// close ends what was declared at a depth.
func (r *Reader) close(depth int) {
	n := len(r.scope)
	for n > 0 && r.scope[n-1].depth >= depth {
		n--
	}
	r.scope = r.scope[:n]
}

// resolve is the namespace of a name.
func (r *Reader) resolve(n xml.Name) (string, error) {
	if strings.Contains(n.Local, ":") {
		return "", &StreamError{"not-well-formed", "a name with a colon that ends no prefix: '" + clip(n.Local) + "'"}
	}
	for i := len(r.scope) - 1; i >= 0; i-- {
		if r.scope[i].prefix == n.Space {
			return r.scope[i].space, nil
		}
	}
	switch n.Space {
	case "":
		return "", nil
	case "xml":
		return nsXML, nil
	}
	return "", &StreamError{"not-well-formed", "the prefix '" + clip(n.Space) + "' stands for no namespace"}
}

// clip bounds what is quoted of a peer's words.
func clip(text string) string {
	if len(text) <= 64 {
		return text
	}
	return strings.ToValidUTF8(text[:64], "") + "..."
}

// Parse reads one element that stands alone, as one that was stored. It is bounded by its own length.
func Parse(text []byte) (*Element, error) {
	r := NewReader(&once{text}, Limits{Bytes: len(text) + 1, Depth: 64, Elements: len(text) + 1, Attrs: len(text) + 1})
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	start, ok := t.(xml.StartElement)
	if !ok {
		return nil, errors.New("no element")
	}
	e, err := r.element(start)
	if err == nil && len(r.Unread()) > 0 {
		err = errors.New("something stands behind the element")
	}
	return e, err
}

// once is a Source of some bytes.
type once struct{ b []byte }

func (o *once) More() ([]byte, error) {
	if len(o.b) == 0 {
		return nil, io.EOF
	}
	b := o.b
	o.b = nil
	return b, nil
}
