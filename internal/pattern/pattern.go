// Package pattern reads the regular expressions that people write for names: those of
// permissions and of policies. They are Go's, which are RE2's: they take time in
// proportion to the name, whatever they say. RabbitMQ's are Perl's; what these have and
// RE2 has not is refused with a sentence that names it.
//
// It imports nothing of this module.
package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// MaxBytes is how long a pattern may be.
const MaxBytes = 8 << 10

// maxSteps is how large a pattern may get when its repetitions are written out.
const maxSteps = 10_000

// maxSearchSteps is maxSteps for a pattern that is held against very many names while somebody waits.
const maxSearchSteps = 1000

// Search reads a pattern that is sought in lists of names, whatever their case.
func Search(text string) (*regexp.Regexp, error) {
	if err := checkWithin(text, maxSearchSteps); err != nil {
		return nil, err
	}
	return regexp.Compile("(?i)" + text)
}

// check refuses what is no pattern, or too large for one.
func check(text string) error { return checkWithin(text, maxSteps) }

func checkWithin(text string, most int) error {
	if len(text) > MaxBytes {
		return fmt.Errorf("a regular expression of %d bytes is longer than the maximum of %d", len(text), MaxBytes)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return fmt.Errorf("invalid regular expression %q: %w", shorten(text), explain(err))
	}
	if steps(tree) > most {
		return fmt.Errorf("the regular expression %q is too large: its repetitions, written out, have more than %d steps", shorten(text), most)
	}
	return nil
}

// Compile reads a pattern, which is not anchored.
func Compile(text string) (*regexp.Regexp, error) {
	if err := check(text); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression %q: %w", shorten(text), explain(err))
	}
	return re, nil
}

// CompileWhole is Compile for an expression that is for the names of which it matches the whole.
func CompileWhole(text string) (*regexp.Regexp, error) { return Compile(whole(text)) }

// whole is an expression between ^ and $.
func whole(text string) string { return "^(?:" + text + ")$" }

// Beginning is what each name begins with, byte for byte, that the pattern matches: "" where it matches anywhere in a name, or
// where that can't be told at a glance.
func Beginning(text string) string {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat || len(tree.Sub) < 2 || tree.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	literal := tree.Sub[1]
	if literal.Op != syntax.OpLiteral || literal.Flags&syntax.FoldCase != 0 {
		return ""
	}
	begins, _, _ := strings.Cut(string(literal.Rune), string(utf8.RuneError)) // which stands for any byte that is no UTF-8
	return begins
}

func shorten(text string) string {
	if len(text) <= 64 {
		return text
	}
	return text[:64] + "…"
}

// steps is about how many instructions a pattern becomes, and no more than a little above maxSteps.
func steps(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n += len(re.Rune) / 32 // ranges are gone through one by one
	}
	for _, sub := range re.Sub {
		if n += steps(sub); n > maxSteps {
			return n
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min+1, re.Max)
	}
	return n
}

// explained are constructs of Perl's patterns by how they begin.
var explained = []struct{ begin, what string }{
	{"(?=", "look-ahead"}, {"(?!", "look-ahead"}, {"(?<=", "look-behind"}, {"(?<!", "look-behind"},
	{"(?>", "groups without backtracking"}, {"(?|", "groups that count anew"}, {"(?(", "conditions"}, {"(?#", "comments"},
	{"(?R", "recursion"}, {"(?&", "recursion"}, {"(?+", "recursion"}, {"(?-", "recursion"}, {"(?0", "recursion"}, {"(?1", "recursion"},
	{"(?'", "names of groups in quotes"}, {"(*", "verbs"},
	{`\1`, "back-references"}, {`\2`, "back-references"}, {`\3`, "back-references"}, {`\4`, "back-references"}, {`\5`, "back-references"},
	{`\6`, "back-references"}, {`\7`, "back-references"}, {`\8`, "back-references"}, {`\9`, "back-references"}, {`\g`, "back-references"}, {`\k`, "back-references"},
	{`\Z`, `\Z: write \z or $`}, {`\G`, `\G`}, {`\K`, `\K`}, {`\R`, `\R`}, {`\h`, `\h: write [ \t]`}, {`\H`, `\H`}, {`\N`, `\N: write [^\n]`}, {`\X`, `\X`},
	{`\e`, `\e: write \x1b`}, {`\c`, `\c`},
}

// explain says what RE2 has not, where that is what is wrong.
func explain(err error) error {
	var e *syntax.Error
	if !errors.As(err, &e) {
		return err
	}
	expr := shorten(e.Expr)
	for _, x := range explained {
		if strings.HasPrefix(e.Expr, x.begin) {
			return fmt.Errorf("%s at %q: patterns are RE2's, which have no %s", plain(e.Code), expr, x.what)
		}
	}
	switch {
	case e.Code == syntax.ErrInvalidRepeatOp && strings.HasSuffix(e.Expr, "+"):
		return fmt.Errorf("%s at %q: patterns are RE2's, which have no repetitions without backtracking", plain(e.Code), expr)
	case e.Code == syntax.ErrInvalidRepeatSize:
		return fmt.Errorf("%s at %q: patterns are RE2's, which repeat something 1000 times at most", plain(e.Code), expr)
	}
	return fmt.Errorf("%s at %q", plain(e.Code), expr)
}

// plain is what the parser says, without the language of which it may be.
func plain(code syntax.ErrorCode) string {
	if code == syntax.ErrInvalidPerlOp {
		return "unsupported syntax"
	}
	return string(code)
}
