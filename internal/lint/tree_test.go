package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module is the path that the imports of this module start with.
const module = "github.com/leveret-mq/leveret/"

// root is the top of the source tree, as seen from this package.
var root = filepath.Join("..", "..")

// goFile is one parsed source file.
type goFile struct {
	pkg  string // directory below the root, with slashes: "store/local"
	name string // path below the root
	test bool
	ast  *ast.File
	set  *token.FileSet
}

// skippedDir tells of directories that hold no source of ours.
func skippedDir(name string) bool {
	switch name {
	case ".git", "bin", "data", "node_modules", "testdata", "target", "__pycache__":
		return true
	}
	return strings.HasPrefix(name, ".") && name != "." && name != ".." && name != ".ci"
}

// walk calls visit for each file below the root.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != root && skippedDir(d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err == nil && d.Type().IsRegular() && rel != ".git" { // a file in a worktree of its own
			visit(filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles parses every Go file of the tree.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var list []goFile
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || nested(name) {
			return
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		list = append(list, goFile{
			pkg: filepath.ToSlash(filepath.Dir(name)), name: name,
			test: strings.HasSuffix(name, "_test.go"), ast: parsed, set: set,
		})
	})
	if len(list) < 10 {
		t.Fatalf("only %d Go files found below %s: the rules would hold nothing", len(list), root)
	}
	return list
}

// nested tells of files in a module of their own, such as foreign clients.
func nested(name string) bool {
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// readText returns the file's text, or "" for one that is not text.
func readText(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 4<<20 || strings.ContainsRune(string(raw[:min(len(raw), 8000)]), 0) {
		return ""
	}
	return string(raw)
}
