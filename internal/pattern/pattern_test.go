package pattern

import (
	"strings"
	"testing"
)

func TestAPatternIsForTheNamesThatItMatchesAnywhere(t *testing.T) {
	for _, c := range []struct {
		text    string
		yes, no []string
	}{
		{"", []string{""}, []string{"a", "amq.default"}},
		{"^$", []string{""}, []string{"a", "amq.default"}},
		{".*", []string{"", "a", "a\nb", "\xff"}, nil},
		{"^.*$", []string{"", "a"}, []string{"a\nb"}},
		{"a", []string{"a", "bab"}, []string{"", "b", "A"}},
		{"^a", []string{"a", "ab"}, []string{"ba"}},
		{"a$", []string{"a", "ba"}, []string{"ab", "a\n"}},
		{"^(orders|logs\\..*)$", []string{"orders", "logs.x"}, []string{"orders2", "logsx", "my.logs.x"}},
		{"(?i)^Orders$", []string{"orders", "ORDERS"}, []string{"order"}},
		{"^[[:alpha:]]+\\d{2}$", []string{"ab12"}, []string{"12", "ab1"}},
		{"é", []string{"café"}, []string{"cafe"}},
	} {
		n, err := NewNames(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		for want, names := range map[bool][]string{true: c.yes, false: c.no} {
			for _, name := range names {
				if n.Match(name) != want || n.MatchBytes([]byte(name)) != want {
					t.Errorf("%q of %q: not %v", c.text, name, want)
				}
			}
		}
		if n.Nothing() != (c.text == "" || c.text == "^$") {
			t.Errorf("%q is for nothing: %v", c.text, n.Nothing())
		}
	}
}

func TestAPatternThatIsAnchoredSaysHowItsNamesBegin(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		"^":                 "",
		".*":                "",
		"abc":               "",
		"abc^def":           "",
		"^abc":              "abc",
		`^team-1\.`:         "team-1.",
		"^team1[.].*":       "team1.",
		"^abc$":             "abc",
		`\Aabc`:             "abc",
		"^abc*":             "ab",
		"^a?bc":             "",
		"^abc|^abd":         "",
		"^(abc|abd)":        "",
		"^abc|d":            "",
		"^(?:abc)":          "abc",
		"(?i)^abc":          "",
		"^(?i)abc":          "",
		"^ab(?i)c":          "ab",
		"(?m)^abc":          "",
		"^Füße":             "Füße",
		"^ab\uFFFDc":        "ab",
		"^[ab]c":            "",
		`^\Qa.b\E`:          "a.b",
		"^a{2}b":            "",
		"(":                 "",
		"^(a":               "",
		`^amq\.(gen|ctag)-`: "amq.",
	} {
		if got := Beginning(text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}

// FuzzBeginning has each name that a pattern matches begin with what it says.
func FuzzBeginning(f *testing.F) {
	for _, s := range [][2]string{{"^abc", "abcd"}, {"^ab|^c", "c"}, {"(?i)^ab", "AB"}, {"^a\uFFFDb", "a\xffb"}, {"(?m)^b", "a\nb"}, {"^a*b", "b"}, {"^(?U)ab??c", "ac"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		re, err := Compile(text)
		if err == nil && re.MatchString(name) && !strings.HasPrefix(name, Beginning(text)) {
			t.Fatalf("%q matches %q, which does not begin with %q", text, name, Beginning(text))
		}
	})
}

func TestWhatRE2HasNotIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		`^(?!amq\.)`:    "which have no look-ahead",
		`^(?=a)`:        "which have no look-ahead",
		`(?<=a)b`:       "which have no look-behind",
		`(?<!a)b`:       "which have no look-behind",
		`(a)\1`:         "which have no back-references",
		`(?>a)b`:        "which have no groups without backtracking",
		`a++`:           "which have no repetitions without backtracking",
		`a*+`:           "which have no repetitions without backtracking",
		`(?R)`:          "which have no recursion",
		`(?(1)a|b)`:     "which have no conditions",
		`(?#hm)a`:       "which have no comments",
		`a\Z`:           `which have no \Z: write \z or $`,
		`\Ka`:           `which have no \K`,
		`a{1001}`:       "which repeat something 1000 times at most",
		`(a{100}){100}`: "1000 times at most",
		`[`:             "missing closing ]",
		`(`:             "missing closing )",
		`*a`:            "missing argument to repetition operator",
		"\xff":          "invalid UTF-8",
	} {
		_, err := Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestAPatternHasBounds(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"as long as it may be", strings.Repeat("a", MaxBytes), ""},
		{"too long", strings.Repeat("a", MaxBytes+1), "longer than the maximum of 8192"},
		{"too large", strings.Repeat("a", 100) + "(?:" + strings.Repeat("b", 30) + "){1000}", "more than 10000 steps"},
		{"not too large", "(?:" + strings.Repeat("b", 8) + "){1000}", ""},
		{"too large without end", "(?:" + strings.Repeat("b", 30) + "){1000,}", "more than 10000 steps"},
		{"too large at most", "(?:" + strings.Repeat("b", 30) + "){0,1000}", "more than 10000 steps"},
		{"too deep", strings.Repeat("(", 2000) + strings.Repeat(")", 2000), "nests too deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Compile(c.text); err == nil && c.want != "" || err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestAVariableStandsForItself(t *testing.T) {
	v := Variables{"username": ".*", "vhost": "{username}"}
	for text, want := range map[string]string{
		"^{username}-{vhost}$":   `^\.\*-\{username\}$`,
		"^{client_id}{username}": `^{client_id}\.\*`,
		"^{nothing}":             "^{nothing}",
	} {
		if got := v.Expand(text); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	n, err := NewNames(v.Expand("^{username}$"))
	if err != nil || n.Match("other") || !n.Match(".*") {
		t.Errorf("a user who is named like a pattern: %v", err)
	}
}

// What is taken is small, and matches without trouble.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{"", "^$", ".*", "^(a|b.*)$", "(?!a)", "((a{10}){10}){10}", "[^x]{3,}", `\pL{900}`} {
		f.Add(s, "amq.default")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		n, err := NewNames(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("no words")
			}
			return
		}
		if len(name) > 255 { // no name is, and matching takes its time
			return
		}
		if n.Match(name) != n.MatchBytes([]byte(name)) {
			t.Errorf("%q of %q: two answers", text, name)
		}
		if _, err := NewNames(Variables{"username": name}.Expand(text)); err != nil && len(text)+len(name) < 1000 && !strings.Contains(text, "{username}") {
			t.Error(err)
		}
	})
}
