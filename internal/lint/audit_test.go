package lint

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// administrative matches the methods that change what only an administrator may, on the types
// that keep it. Sessions are not among them: what clients do there is theirs.
var (
	administrative = regexp.MustCompile(`^(Put|Delete|Set|Clear|Import|Create|Restore|Rename|Forget)[A-Z]`)
	keepsRights    = []string{"access.Keeper", "broker.Broker", "broker.VHost", "server.Server", "definitions."}
)

// notAdministrative are methods that look as if they were, and why they are not.
var notAdministrative = map[string]string{
	"broker.VHost.ForgetOffsets": "a client's, through its session, which asked May",
}

// actor tells whether a function is handed who acts.
func actor(d *ast.FuncDecl) bool {
	for _, p := range d.Type.Params.List {
		if sel, ok := p.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Actor" {
			return true
		}
	}
	return false
}

// method is what a function is called with its package and receiver: broker.Broker.PutVHost.
func method(f goFile, d *ast.FuncDecl) string {
	name := f.pkg + "."
	if d.Recv != nil && len(d.Recv.List) == 1 {
		typ := d.Recv.List[0].Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		if id, ok := typ.(*ast.Ident); ok {
			name += id.Name + "."
		}
	}
	return name + d.Name.Name
}

// calls is the names that a function calls, and whether it records an act itself.
func calls(d *ast.FuncDecl) (names []string, records bool) {
	ast.Inspect(d, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			names = append(names, fun.Name)
		case *ast.SelectorExpr:
			if on, ok := fun.X.(*ast.Ident); ok && on.Name == "audit" && (fun.Sel.Name == "Acted" || fun.Sel.Name == "Write") {
				records = true
			}
			names = append(names, fun.Sel.Name)
		}
		return true
	})
	return names, records
}

// Who is handed an actor records an act, itself or through what it calls in its package; what changes
// rights, virtual hosts and policies is handed an actor.
func TestEveryAdministrativeActIsRecorded(t *testing.T) {
	called, records := map[string][]string{}, map[string]bool{} // by package and name
	type declared struct {
		name string
		f    goFile
		d    *ast.FuncDecl
	}
	var all []declared
	for _, f := range goFiles(t) {
		if f.test || f.pkg == "internal/audit" {
			continue
		}
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Body == nil {
				continue
			}
			names, itself := calls(d)
			key := f.pkg + "." + d.Name.Name
			called[key] = append(called[key], names...)
			records[key] = records[key] || itself
			all = append(all, declared{method(f, d), f, d})
		}
	}
	var reaches func(pkg, name string, deep int) bool
	reaches = func(pkg, name string, deep int) bool {
		key := pkg + "." + name
		return records[key] || deep > 0 && slices.ContainsFunc(called[key], func(next string) bool { return next != name && reaches(pkg, next, deep-1) })
	}
	acts := 0
	for _, one := range all {
		named := one.d.Name.IsExported() && administrative.MatchString(one.d.Name.Name) &&
			slices.ContainsFunc(keepsRights, func(typ string) bool { return strings.HasPrefix(one.name, typ) })
		switch {
		case actor(one.d) && one.d.Name.IsExported():
			acts++
			if !reaches(one.f.pkg, one.d.Name.Name, 3) {
				t.Errorf("%s: %s is handed who acts and records no act", one.f.set.Position(one.d.Pos()), one.name)
			}
		case named && notAdministrative[one.name] == "":
			t.Errorf("%s: %s looks like an administrative act and is not handed who acts (audit.Actor)", one.f.set.Position(one.d.Pos()), one.name)
		}
	}
	if acts < 5 {
		t.Errorf("only %d administrative acts were found: the rule would hold nothing", acts)
	}
}

// Every act that has a name is recorded somewhere.
func TestEveryNamedActIsUsed(t *testing.T) {
	named, used := map[string]bool{}, map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && f.pkg == "internal/audit" && id.Name == "Act" {
					for _, name := range n.Names {
						named[name.Name] = true
					}
				}
			case *ast.SelectorExpr:
				if on, ok := n.X.(*ast.Ident); ok && on.Name == "audit" {
					used[n.Sel.Name] = true
				}
			}
			return true
		})
	}
	if len(named) < 5 {
		t.Fatalf("only %d acts were found", len(named))
	}
	for name := range named {
		if !used[name] {
			t.Errorf("no act is recorded as audit.%s", name)
		}
	}
}
