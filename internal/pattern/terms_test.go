package pattern

import (
	"slices"
	"strings"
	"testing"
)

func TestAPatternIsTakenApart(t *testing.T) {
	name, prefix, other, all := func(s string) Term { return Term{Kind: OneName, Text: s} }, func(s string) Term { return Term{Kind: Prefix, Text: s} },
		func(s string) Term { return Term{Kind: Other, Text: s} }, Term{Kind: AllNames}
	for _, c := range []struct {
		text string
		want []Term
	}{
		{"", nil},
		{"^$", nil},
		{".*", []Term{all}},
		{"^", []Term{all}},
		{"^.*", []Term{all}},
		{"$", []Term{all}},
		{".*$", []Term{all}},
		{"^.*$", []Term{other("^.*$")}}, // not of a name with a line break
		{"a|", []Term{other("a"), all}},
		{"^orders$", []Term{name("orders")}},
		{`^logs\.`, []Term{prefix("logs.")}},
		{`^logs[.].*$`, []Term{prefix("logs.")}},
		{`^logs.*`, []Term{prefix("logs")}},
		{`^a$|^b\.c$|^d`, []Term{name("a"), name("b.c"), prefix("d")}},
		{`^(a|b.*|amq\.default)$`, []Term{name("a"), prefix("b"), name("amq.default")}},
		{`^(?:a|b|c[0-9]+)$`, []Term{name("a"), name("b"), other("^(?:c[0-9]+)$")}},
		{`^(a)(b)$`, []Term{other("^(a)(b)$")}},
		{`^((a|b)c|d)$`, []Term{other("^(?:(a|b)c)$"), name("d")}},
		{"orders", []Term{other("orders")}},
		{`^a.c$`, []Term{other("^a.c$")}},
		{`^a\d$`, []Term{other(`^a\d$`)}},
		{`^[a|b]$|^(c|d)x$`, []Term{other("^[a|b]$"), other("^(c|d)x$")}},
		{`^[[:alpha:]|]$|^x$`, []Term{other("^[[:alpha:]|]$"), name("x")}},
		{`^[]|]$|^x$`, []Term{other("^[]|]$"), name("x")}},
		{`^\|$|^\[$`, []Term{name("|"), name("[")}},
		{`(?i)^a$|^b$`, []Term{other("(?:(?i)^a$|^b$)")}},
		{`\Qa|b\E`, []Term{other(`(?:\Qa|b\E)`)}},
		{`^a$|^$`, []Term{name("a")}},
		{`^a+$|^b?`, []Term{other("^a+$"), other("^b?")}},
		{`^é$`, []Term{name("é")}},
	} {
		if got := Terms(c.text); !slices.EqualFunc(got, c.want, Term.Is) {
			t.Errorf("%s: %+v, want %+v", c.text, got, c.want)
		}
	}
}

func TestTermsAreJoinedToWhatTheyAreFor(t *testing.T) {
	if got := Join(nil); got != "^$" {
		t.Error(got)
	}
	got := Join(append(Terms("^(a|b.*)$"), Term{Kind: OneName, Text: "x.y"}, Term{Kind: Prefix, Text: "p+"}, Term{Kind: AllNames}))
	if got != `^a$|^b.*$|^x\.y$|^p\+|.*` {
		t.Error(got)
	}
}

func TestATermCoversWhatIsAllAmongItsNames(t *testing.T) {
	name, prefix, other, all := Term{Kind: OneName, Text: "ab"}, Term{Kind: Prefix, Text: "a"}, Term{Kind: Other, Text: "b$"}, Term{Kind: AllNames}
	for _, c := range []struct {
		a, b Term
		want bool
	}{
		{all, name, true}, {all, prefix, true}, {all, other, true}, {prefix, name, true}, {prefix, Term{Kind: Prefix, Text: "ab"}, true},
		{Term{Kind: Prefix, Text: "ab"}, prefix, false}, {name, name, true}, {name, prefix, false}, {prefix, all, false}, {other, name, true},
		{other, prefix, false}, {other, other, true}, {Term{Kind: OneName, Text: "b"}, name, false}, {prefix, other, false},
	} {
		if got := c.a.Covers(c.b); got != c.want {
			t.Errorf("%v covers %v: %v", c.a, c.b, got)
		}
	}
}

// Taken apart and joined again, a pattern is for the same names.
func FuzzTerms(f *testing.F) {
	for _, s := range []string{"", "^a$", ".*", "^(a|b.*)$", "^(?:a|[b|]c)$", "(?i)a|b", "a||b", "^((a|b)c|d)$", `^\|$`, "^(a)|(b)$", "^(a|b)c|(d)$", "^a{2}$", "^[^]|]"} {
		for _, name := range []string{"", "a", "ab", "a|b", "abc", "x\ny"} {
			f.Add(s, name)
		}
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		whole, err := NewNames(text)
		if err != nil || len(text) > 1000 || len(name) > 255 {
			return
		}
		terms := Terms(text)
		joined, err := NewNames(Join(terms))
		if err != nil {
			t.Fatalf("%q joined is %q: %v", text, Join(terms), err)
		}
		one := false
		for _, term := range terms {
			n, err := NewNames(term.String())
			if err != nil {
				t.Fatalf("a term of %q: %v", text, err)
			}
			matches := n.Match(name)
			one = one || matches
			plain := Term{Kind: term.Kind, Text: term.Text}
			if n, err = NewNames(plain.String()); err != nil {
				t.Fatal(err)
			}
			if n.Match(name) != matches && !strings.Contains(name, "\n") {
				t.Errorf("%q of %q is not what it says: %+v", term, text, plain)
			}
		}
		if name == "" { // which nothing is called
			return
		}
		if whole.Match(name) != joined.Match(name) || one != joined.Match(name) {
			t.Errorf("%q of %q: whole %v, joined as %q %v, one by one %v", text, name, whole.Match(name), Join(terms), joined.Match(name), one)
		}
	})
}
