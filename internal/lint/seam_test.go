package lint

import (
	"bytes"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// secrets are the packages whose types a listener must not get hold of: not by
// importing them, which the table of imports holds, and not through what another
// package exports, as a result, a field, an alias or a method. The names are the
// exceptions: the server gives the broker its store.
var secrets = []struct {
	of     string // the package that knows it
	hidden string
	except []string
}{
	{"broker", "store", []string{"Open"}},
	{"metrics", "store", nil},
	{"kafka", "store", nil},
	{"amqp", "store", nil},
	{"stomp", "store", nil},
	{"xmpp", "store", nil},
	{"xmpp/pubsub", "store", nil},
	{"admin", "store", nil},
	{"management", "store", nil},
}

func TestNoTypeOfTheStoreReachesAListener(t *testing.T) {
	for _, rule := range secrets {
		pkg := exported(t, rule.of)
		walk := &apiWalk{hidden: module + rule.hidden, seen: map[types.Type]bool{}}
		for _, name := range pkg.Scope().Names() {
			if o := pkg.Scope().Lookup(name); o.Exported() && !slices.Contains(rule.except, name) {
				walk.object(rule.of+"."+name, o)
			}
		}
		for _, found := range walk.found {
			t.Errorf("%s mentions a type of %s", found, rule.hidden)
		}
	}
}

// exported is what the compiler tells others about a package.
func exported(t *testing.T, name string) *types.Package {
	t.Helper()
	var complaint bytes.Buffer
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./"+name)
	list.Dir, list.Stderr = "../..", &complaint
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &complaint)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	pkg, err := imports.Import(module + name)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

// apiWalk goes through everything that can be reached from outside a package.
type apiWalk struct {
	hidden string // path of the package
	seen   map[types.Type]bool
	found  []string
}

func (w *apiWalk) object(where string, o types.Object) {
	if _, isType := o.(*types.TypeName); isType {
		if named, ok := types.Unalias(o.Type()).(*types.Named); ok && named.Obj().Pkg() == o.Pkg() {
			w.named(where, named)
			return
		}
	}
	w.typ(where, o.Type())
}

// named is a type of the package itself: its exported fields and methods, whether
// it is exported or only reached from something that is.
func (w *apiWalk) named(where string, n *types.Named) {
	if w.seen[n] {
		return
	}
	w.seen[n] = true
	for i := range n.NumMethods() {
		if m := n.Method(i); m.Exported() {
			w.typ(where+"."+m.Name(), m.Type())
		}
	}
	w.typ(where, n.Underlying())
}

func (w *apiWalk) typ(where string, t types.Type) {
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		switch pkg := t.Obj().Pkg(); {
		case pkg == nil:
		case pkg.Path() == w.hidden:
			w.found = append(w.found, where)
		case strings.HasPrefix(pkg.Path(), module):
			w.named(where+" → "+t.Obj().Name(), t)
		}
		for i := range t.TypeArgs().Len() {
			w.typ(where, t.TypeArgs().At(i))
		}
	case *types.Struct:
		for i := range t.NumFields() {
			if f := t.Field(i); f.Exported() || f.Embedded() {
				w.typ(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for i := range t.NumMethods() {
			if m := t.Method(i); m.Exported() {
				w.typ(where+"."+m.Name(), m.Type())
			}
		}
	case *types.Signature:
		w.tuple(where, t.Params())
		w.tuple(where, t.Results())
	case *types.Map:
		w.typ(where, t.Key())
		w.typ(where, t.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		w.typ(where, t.Elem())
	}
}

func (w *apiWalk) tuple(where string, t *types.Tuple) {
	for i := range t.Len() {
		w.typ(where, t.At(i).Type())
	}
}
