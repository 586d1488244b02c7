package lint

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	doc, seen := map[string]bool{}, map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		seen[f.pkg] = true
		if f.ast.Doc != nil && len(f.ast.Doc.Text()) > 80 {
			doc[f.pkg] = true
		}
	}
	for pkg := range seen {
		if !doc[pkg] {
			t.Errorf("package %s has no comment that says what it is, owns and may not do", pkg)
		}
	}
}

func TestEveryExportedNameHasASentence(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || ast.IsGenerated(f.ast) {
			continue
		}
		last := 0 // the line on which the declaration before ended
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				// One-liners that stand close together share the comment of the first.
				together := f.set.Position(d.Pos()).Line == last+1
				if d.Name.IsExported() && d.Doc == nil && receiverExported(d) && !together {
					t.Errorf("%s: %s has no comment", f.set.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				checkSpecs(t, f, d)
			}
			last = f.set.Position(decl.End()).Line
		}
	}
}

// receiverExported is false for methods that nobody outside can name, and for
// the few whose meaning an interface of the standard library fixes.
func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	switch d.Name.Name {
	case "Error", "Unwrap", "String", "Len", "Less", "Swap", "Is":
		return false
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func checkSpecs(t *testing.T, f goFile, d *ast.GenDecl) {
	last := 0
	for _, spec := range d.Specs {
		together := f.set.Position(spec.Pos()).Line == last+1 // shares the comment of the line above
		last = f.set.Position(spec.End()).Line
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && d.Doc == nil && s.Comment == nil {
				t.Errorf("%s: type %s has no comment", f.set.Position(s.Pos()), s.Name.Name)
			}
		case *ast.ValueSpec:
			if s.Doc == nil && d.Doc == nil && s.Comment == nil && s.Names[0].IsExported() && !together {
				t.Errorf("%s: %s has no comment", f.set.Position(s.Pos()), s.Names[0].Name)
			}
		}
	}
}

// decoder matches the names of functions that read bytes from outside.
var decoder = regexp.MustCompile(`^(Decode|Parse|Unmarshal|Split|ReadFrom)`)

// takesBytes tells whether a parameter is a []byte.
func takesBytes(d *ast.FuncDecl) bool {
	for _, p := range d.Type.Params.List {
		if a, ok := p.Type.(*ast.ArrayType); ok && a.Len == nil {
			if elem, ok := a.Elt.(*ast.Ident); ok && elem.Name == "byte" {
				return true
			}
		}
	}
	return false
}

func TestEveryDecoderHasAFuzzTarget(t *testing.T) {
	decodes, fuzzed := map[string]string{}, map[string]bool{}
	for _, f := range goFiles(t) {
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			switch {
			case f.test && strings.HasPrefix(d.Name.Name, "Fuzz"):
				fuzzed[f.pkg] = true
			case !f.test && d.Name.IsExported() && decoder.MatchString(d.Name.Name) && takesBytes(d):
				decodes[f.pkg] = d.Name.Name
			}
		}
	}
	// Those whose decoders bear other names.
	for _, pkg := range []string{"amqp/wire", "kafka/wire", "kafka", "message", "internal/batch", "segment", "index", "consumer", "store/local"} {
		if _, named := decodes[pkg]; !named {
			decodes[pkg] = "see its package comment"
		}
	}
	present := map[string]bool{}
	for _, f := range goFiles(t) {
		present[f.pkg] = true
	}
	for pkg, name := range decodes {
		if present[pkg] && !fuzzed[pkg] && !strings.HasPrefix(pkg, "examples/") && !strings.HasPrefix(pkg, "test/") {
			t.Errorf("package %s decodes bytes (%s) and has no Fuzz target", pkg, name)
		}
	}
}
