package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

//go:embed static templates
var files embed.FS

// assets are the files that pages need. What they are called changes with what they hold, so that no browser takes an old one for new.
var assets = newAssetSet()

type assetSet struct {
	prefix string
	dir    fs.FS
}

func newAssetSet() assetSet {
	dir, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // it is in the binary
	}
	sum := sha256.New()
	err = fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(dir, name)
		sum.Write(text)
		return err
	})
	if err != nil {
		panic(err)
	}
	return assetSet{prefix: "/static/" + hex.EncodeToString(sum.Sum(nil)[:6]) + "/", dir: dir}
}

var assetTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (a assetSet) serve(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	text, err := fs.ReadFile(a.dir, name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", assetTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(text) // a browser that is gone needs none
}
