package web

import (
	"bytes"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
)

// view is a page to look at.
type view struct {
	path    string // as http.ServeMux has it
	section string // which of the sections is marked; "" for none
	file    string // of templates, without its ending
	every   int    // seconds after which what is live is fetched again; 0 is never
	build   func(*visit) (title string, data any, err error)
}

// act is what a form does. Where it fails, the view it stands on is shown again.
type act struct {
	path string
	form string // its name on the page
	on   *view
	do   func(*visit) (to, done string, err error)
}

// section is an entry of the navigation.
type section struct {
	Name, Path, Title, Key string
	tags                   []string // who sees it; nil: everybody
}

// page is what every template gets.
type page struct {
	Title   string
	Section string
	User    string
	Tags    []string
	Version string
	Every   int
	Done    string // what was done just now
	Failed  *failedForm
	Data    any
	Assets  string

	sections []section
}

// Sections are those that the user sees.
func (p *page) Sections() []section { return p.sections }

// Was is what a field of a form held that was refused, or else what it is to begin with.
func (p *page) Was(form, field, otherwise string) string {
	if p.Failed == nil || p.Failed.Name != form || !p.Failed.values.Has(field) {
		return otherwise
	}
	return p.Failed.values.Get(field)
}

// Picked says whether a choice was made in a form that was refused, or is made to begin with.
func (p *page) Picked(form, field, value string, otherwise bool) bool {
	if p.Failed == nil || p.Failed.Name != form {
		return otherwise
	}
	return p.Failed.values.Get(field) == value
}

// Chosen says whether one of several choices was made in a form that was refused.
func (p *page) Chosen(form, field, value string) bool {
	return p.Failed != nil && p.Failed.Name == form && slices.Contains(p.Failed.values[field], value)
}

// Wrong is why a form was refused; "" when it was not.
func (p *page) Wrong(form string) string {
	if p.Failed == nil || p.Failed.Name != form {
		return ""
	}
	return p.Failed.Reason
}

// Has says whether the user has one of the tags.
func (p *page) Has(tags ...string) bool { return (&visit{tags: p.Tags}).has(tags...) }

// templates are those of the pages, by name, each with the frame and the parts.
var templates = parseTemplates()

func parseTemplates() map[string]*template.Template {
	common := template.Must(template.New("").Funcs(functions).ParseFS(files, "templates/frame.html", "templates/parts.html"))
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	out := map[string]*template.Template{}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if base == "frame" || base == "parts" {
			continue
		}
		out[base] = template.Must(template.Must(common.Clone()).ParseFS(files, name))
	}
	return out
}

// compose makes a view's page, or of a live request the part of it that changes.
func (v *visit) compose(out io.Writer, of *view) error {
	title, data, err := of.build(v)
	if err != nil {
		return err
	}
	p := &page{Title: title, Section: of.section, User: v.name, Tags: v.tags, Version: v.s.opts.Version, Every: of.every, Failed: v.failed, Data: data, Assets: assets.prefix}
	for _, s := range sections {
		if s.tags == nil || v.has(s.tags...) {
			p.sections = append(p.sections, s)
		}
	}
	name := "content"
	if !v.live {
		name, p.Done = "frame", v.s.sessions.told(v.session)
	}
	return templates[of.file].ExecuteTemplate(out, name, p)
}

// shell is a page for who is not signed in.
func (s *Server) shell(w http.ResponseWriter, r *http.Request, status int, title, file string, data any) {
	var out bytes.Buffer
	if err := templates[file].ExecuteTemplate(&out, "frame", &page{Title: title, Version: s.opts.Version, Data: data, Assets: assets.prefix}); err != nil {
		panic(err)
	}
	(&visit{s: s, w: w, r: r}).send(status, out.Bytes())
}

// message is a page that says one thing.
type message struct{ Text string }

// plain answers with a page that says one thing.
func (s *Server) plain(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	if r.Header.Get("X-Live") != "" {
		w.WriteHeader(status)
		return
	}
	s.shell(w, r, status, title, "message", message{text})
}

// sorry answers who signed in that a page can't be shown.
func (s *Server) sorry(v *visit, err error) {
	status := statusOf(err)
	title := map[int]string{http.StatusNotFound: "There is nothing of that name", http.StatusForbidden: "You may not see this", http.StatusBadRequest: "That was not understood"}[status]
	if title == "" {
		title = "This can't be shown"
	}
	if v.live {
		v.w.WriteHeader(status)
		return
	}
	text := sentence(err)
	if status == http.StatusNotFound && strings.HasPrefix(text, "Not Found") {
		text = "It may have been deleted, or you may not see it."
	}
	var out bytes.Buffer
	of := &view{file: "message", build: func(*visit) (string, any, error) { return title, message{text}, nil }}
	if err := v.compose(&out, of); err != nil {
		panic(err)
	}
	v.send(status, out.Bytes())
}
