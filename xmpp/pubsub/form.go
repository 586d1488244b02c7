package pubsub

import (
	"strings"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const nsForm = "jabber:x:data"

// Data forms (XEP-0004), as far as nodes and subscriptions are described by them.

// field is one of a form that is sent.
type formField struct {
	name, kind, label string
	values            []string
	options           []string // of a list: value and label by turns
}

// form is one to be sent. kind is "form" for one to be filled in, "result" for what is said of something.
func form(kind, formType string, fields ...formField) *stanza.Element {
	x := stanza.New(nsForm, "x", "type", kind)
	add := func(f formField) {
		e := stanza.New(nsForm, "field", "var", f.name)
		if f.kind != "" {
			e.Set("type", f.kind)
		}
		if f.label != "" && kind == "form" {
			e.Set("label", f.label)
		}
		if kind == "form" {
			for i := 0; i+1 < len(f.options); i += 2 {
				e.Add(stanza.New(nsForm, "option", "label", f.options[i+1]).Add(stanza.New(nsForm, "value").AddText(f.options[i])))
			}
		}
		for _, v := range f.values {
			e.Add(stanza.New(nsForm, "value").AddText(v))
		}
		x.Add(e)
	}
	add(formField{name: "FORM_TYPE", kind: "hidden", values: []string{formType}})
	for _, f := range fields {
		add(f)
	}
	return x
}

// maxFields is how many fields of a form are read.
const maxFields = 256

// submitted is what a client has filled in, by field.
type submitted map[string][]string

// readForm reads a form of that type in e. It is nil when there is none, and when the client has cancelled it.
func readForm(e *stanza.Element, formType string) (_ submitted, cancelled bool, _ *stanza.Error) {
	x := e.Child(nsForm, "x")
	if x == nil {
		return nil, false, nil
	}
	switch kind := x.Attr("type"); kind {
	case "cancel":
		return nil, true, nil
	case "submit", "form", "":
	default:
		return nil, false, stanza.Fail("bad-request", "a form that is filled in has the type 'submit', not '"+clip(kind)+"'")
	}
	out := submitted{}
	for i, f := range children(x, nsForm, "field") {
		if i >= maxFields {
			return nil, false, stanza.Fail("not-acceptable", "a form has more than 256 fields")
		}
		name := f.Attr("var")
		var values []string
		for _, v := range children(f, nsForm, "value") {
			values = append(values, v.Text())
		}
		if name == "FORM_TYPE" && len(values) > 0 && values[0] != formType {
			return nil, false, stanza.Fail("bad-request", "the form is of the type '"+clip(values[0])+"', not "+formType)
		}
		if name != "" && name != "FORM_TYPE" {
			out[name] = values
		}
	}
	return out, false, nil
}

// one is the value of a field that has one.
func (s submitted) one(name string) (string, bool) {
	v, ok := s[name]
	if !ok {
		return "", false
	}
	return strings.Join(v, "\n"), true
}

func yes(on bool) []string {
	if on {
		return []string{"1"}
	}
	return []string{"0"}
}
