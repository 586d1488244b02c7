package lint

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// banned are texts that no file may hold. They are put together here so that
// this file does not hold them itself.
var banned = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`(^|[\s"'=(:])/(ho` + `me|ro` + `ot|Us` + `ers|wo` + `rk)/\w`), "a path of somebody's machine"},
	{regexp.MustCompile(`GOPRO` + `XY=|--(extra-)?index` + `-url|--regis` + `try[= ]`), "a package registry: whoever builds chooses their own"},
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`), "unfinished work: finish it or open an issue"},
}

// oneReason is a file that may hold a banned text.
var oneReason = map[string]string{
	"LICENSE": "the licence's own words",
	"go.sum":  "checksums",
}

func TestBannedTexts(t *testing.T) {
	walk(t, func(name string) {
		if _, ok := oneReason[name]; ok {
			return
		}
		for i, line := range strings.Split(readText(t, name), "\n") {
			for _, b := range banned {
				if b.pattern.MatchString(line) {
					t.Errorf("%s:%d: %s: %.120s", name, i+1, b.why, strings.TrimSpace(line))
				}
			}
		}
	})
}

func TestNoTestIsSkipped(t *testing.T) {
	for _, f := range goFiles(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, ok := sel.X.(*ast.Ident)
			switch sel.Sel.Name {
			case "Skip", "Skipf", "SkipNow":
				if ok && f.test && (on.Name == "t" || on.Name == "b" || on.Name == "f" || on.Name == "tb") {
					t.Errorf("%s: a missing tool is a failure with the install command in its message, not a skip", f.set.Position(call.Pos()))
				}
			}
			return true
		})
	}
}

func TestBubblesComeFromFakeclock(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.pkg == "internal/fakeclock" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Test" {
				if on, ok := sel.X.(*ast.Ident); ok && on.Name == "synctest" {
					t.Errorf("%s: call fakeclock.Test instead, which keeps the race detector alive", f.set.Position(sel.Pos()))
				}
			}
			return true
		})
	}
}

func TestNoLargeFiles(t *testing.T) {
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		if n := strings.Count(readText(t, name), "\n"); n > 1500 {
			t.Errorf("%s has %d lines: split it by what it does", name, n)
		}
	})
}
