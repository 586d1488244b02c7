package stanza

import (
	"errors"
	"io"
	"strings"
	"testing"
)

const opening = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>`

var limits = Limits{Bytes: 4096, Depth: 8, Elements: 64, Attrs: 16}

// pieces is a Source that gives n bytes at a time.
type pieces struct {
	text string
	n    int
}

func (p *pieces) More() ([]byte, error) {
	if p.text == "" {
		return nil, io.EOF
	}
	n := min(p.n, len(p.text))
	b := []byte(p.text[:n])
	p.text = p.text[n:]
	return b, nil
}

func reading(t *testing.T, text string, n int) *Reader {
	t.Helper()
	r := NewReader(&pieces{opening + text, n}, limits)
	h, err := r.Header()
	if err != nil || !h.Is(NSStream, "stream") || h.Attr("to") != "localhost" || r.Default() != NSClient {
		t.Fatalf("header: %v, %v", h, err)
	}
	return r
}

func TestStanzasAreReadHoweverTheirBytesCome(t *testing.T) {
	text := " \n<message to='a@b' xml:lang='de'><body>x &lt;&#65;<![CDATA[<&]]></body><p:a xmlns:p='urn:p' p:k='v'><b xmlns=''/></p:a></message> <presence/>\n</stream:stream>"
	for n := 1; n < 80; n += 13 {
		r := reading(t, text, n)
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Attr("to") != "a@b" || m.Lang() != "de" || m.ChildText(NSClient, "body") != "x <A<&" || m.Child("urn:p", "a").Attrs[0] != (Attr{"urn:p", "k", "v"}) || m.Child("urn:p", "a").Child("", "b") == nil {
			t.Fatalf("read %s", m)
		}
		again, err := Parse(m.AppendTo(nil, ""))
		if err != nil || again.String() != m.String() {
			t.Fatalf("%s came back as %s, %v", m, again, err)
		}
		if p, err := r.Next(); err != nil || !p.Is(NSClient, "presence") {
			t.Fatal(p, err)
		}
		if _, err := r.Next(); !errors.Is(err, ErrEnd) {
			t.Fatal(err)
		}
	}
}

func TestWhatIsNoXMPPEndsTheStreamWithItsCondition(t *testing.T) {
	for name, c := range map[string]struct{ text, condition string }{
		"comment":                        {"<!-- x --><presence/>", "restricted-xml"},
		"comment inside":                 {"<message><!-- x --></message>", "restricted-xml"},
		"instruction":                    {"<?php x?>", "restricted-xml"},
		"second declaration":             {"<?xml version='1.0'?>", "restricted-xml"},
		"DTD":                            {"<!DOCTYPE a [<!ENTITY b 'c'>]>", "restricted-xml"},
		"entity":                         {"<message><body>&b;</body></message>", "not-well-formed"},
		"unbalanced":                     {"<message><body></message></body>", "not-well-formed"},
		"unbalanced at the top":          {"</message>", "not-well-formed"},
		"unknown prefix":                 {"<x:message/>", "not-well-formed"},
		"unknown prefix of an attribute": {"<message x:a='b'/>", "not-well-formed"},
		"two colons":                     {"<a:b:c/>", "not-well-formed"},
		"attribute twice":                {"<message to='a' to='b'/>", "not-well-formed"},
		"attribute twice by namespace":   {"<message xmlns:a='urn:x' xmlns:b='urn:x' a:k='1' b:k='2'/>", "not-well-formed"},
		"attribute without quotes":       {"<message to=a/>", "not-well-formed"},
		"prefix undeclared":              {"<message xmlns:a=''/>", "not-well-formed"},
		"prefix out of scope":            {"<message><a xmlns:q='urn:q'/><q:b/></message>", "not-well-formed"},
		"bad UTF-8":                      {"<message><body>\xff</body></message>", "not-well-formed"},
		"control character":              {"<message><body>\x01</body></message>", "not-well-formed"},
		"text at the top":                {"hello", "bad-format"},
		"CDATA at the top":               {"<![CDATA[x]]>", "bad-format"},
		"too long":                       {"<message>" + strings.Repeat("x", 5000) + "</message>", "policy-violation"},
		"too long a name":                {"<" + strings.Repeat("x", 5000), "policy-violation"},
		"too deep":                       {strings.Repeat("<a>", 9), "policy-violation"},
		"too many":                       {"<message>" + strings.Repeat("<a/>", 70) + "</message>", "policy-violation"},
		"too many pieces of text":        {"<message>" + strings.Repeat("<![CDATA[]]>", 70) + "</message>", "policy-violation"},
		"too many attributes":            {"<message " + strings.Repeat("xmlns='a' ", 17) + "/>", "policy-violation"},
	} {
		r := reading(t, c.text, 4096)
		_, err := r.Next()
		var e *StreamError
		if !errors.As(err, &e) || e.Condition != c.condition {
			t.Errorf("%s: %v, want %s", name, err, c.condition)
		}
	}
}

func TestTheLimitIsThatOfOneStanza(t *testing.T) {
	r := reading(t, strings.Repeat("<message><body>"+strings.Repeat("x", 3000)+"</body></message>"+strings.Repeat(" ", 5000), 5), 100)
	for range 5 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsReadIsPaidForInSteps(t *testing.T) {
	paid := 0
	r := reading(t, "<a>"+strings.Repeat("x", 2000)+"</a><b/><c>"+strings.Repeat("x", 2000)+"</c>", 4096)
	r.Limits.Step, r.Limits.Charge = 500, func(n int) error {
		if paid += n; paid > 3500 {
			return io.ErrNoProgress
		}
		return nil
	}
	if _, err := r.Next(); err != nil || paid != 2000 {
		t.Fatal(err, paid)
	}
	if _, err := r.Next(); err != nil || paid != 2000 {
		t.Fatal(err, paid)
	}
	if _, err := r.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

func TestWhatCameAheadIsToBeHad(t *testing.T) {
	r := reading(t, "<starttls xmlns='urn:x'/><auth/>", 4096)
	if _, err := r.Next(); err != nil || string(r.Unread()) != "<auth/>" {
		t.Fatalf("%v, %q", err, r.Unread())
	}
}

func TestTextIsWrittenAsXMLCanCarryIt(t *testing.T) {
	e := New("urn:a", "a", "k", "'\"<>&\t\n\r\x00").AddText("'\"<>&\t\n\r\x01\xff\uFFFE é")
	back, err := Parse([]byte(e.String()))
	if err != nil {
		t.Fatal(err)
	}
	if k := back.Attr("k"); k != "'\"<>&\t\n\r\uFFFD" {
		t.Errorf("%q", k)
	}
	if text := back.Text(); text != "'\"<>&\t\n\r\uFFFD\uFFFD\uFFFD é" {
		t.Errorf("%q", text)
	}
	if Carries([]byte("a\x00")) || Carries([]byte{0xff}) || !Carries([]byte("é\n\uFFFD")) {
		t.Error("Carries")
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]JID{
		"a@B.c/D/e@f": {"a", "b.c", "D/e@f"}, "b.c.": {"", "b.c", ""}, "b/c": {"", "b", "c"},
	} {
		if j, err := ParseJID(text); err != nil || j != want {
			t.Errorf("%s: %v, %v", text, j, err)
		}
	}
	for _, text := range []string{"", "@b", "a@", "a@/b", "a b@c", "a@b/", "a@b@c", "a\x00@b", "\xff@b", "..", ".b", "a@b..", "a@b..c", strings.Repeat("a", 1024) + "@b"} {
		if j, err := ParseJID(text); err == nil {
			t.Errorf("%q is %v", text, j)
		}
	}
	for name, local := range map[string]string{
		"a.b": "a.b", `space cadet`: `space\20cadet`, `a/b:c@d"e&f'g<h>`: `a\2fb\3ac\40d\22e\26f\27g\3ch\3e`, `c:\net`: `c\3a\net`, `c:\5commas`: `c\3a\5c5commas`, `\20`: `\5c20`,
	} {
		if got := Escape(name); got != local || Unescape(got) != name {
			t.Errorf("%s is %s and back %s", name, got, Unescape(got))
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, seed := range []string{"<message to='a'><body xml:lang='x'>a&amp;</body></message>", "<a xmlns='b'><c:d xmlns:c='e' c:f=''/></a>", "<!DOCTYPE a>", "<![CDATA[x]]>", "</stream:stream>", "<a>\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := NewReader(&pieces{opening + text, 7}, limits)
		if _, err := r.Header(); err != nil {
			t.Fatal(err)
		}
		for {
			e, err := r.Next()
			if err != nil {
				return
			}
			b := e.AppendTo(nil, "")
			back, err := Parse(b)
			if err != nil {
				t.Fatalf("%q was written as %q: %v", text, b, err)
			}
			if again := back.String(); again != string(b) {
				t.Fatalf("%q is %q and then %q", text, b, again)
			}
		}
	})
}

func FuzzJID(f *testing.F) {
	f.Add("a@b/c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		if Unescape(Escape(text)) != text {
			t.Fatalf("%q", text)
		}
		j, err := ParseJID(text)
		if err != nil {
			return
		}
		if again, err := ParseJID(j.String()); err != nil || again != j {
			t.Fatalf("%q is %v, then %v, %v", text, j, again, err)
		}
	})
}
