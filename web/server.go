package web

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// API is the management API, in the same process.
type API interface {
	http.Handler
	// SignIn checks a name and a password that came with a request. The status is that of an answer, the error what a person is told.
	SignIn(w http.ResponseWriter, r *http.Request, name, password string) (status int, err error)
	// ServeVisitor is ServeHTTP for a user whose name and password the page keeps.
	ServeVisitor(w http.ResponseWriter, r *http.Request, name, password string)
}

// Options are a server's settings. API is required.
type Options struct {
	API API
	// Version is the broker's own.
	Version string
	// Logger takes what an operator should read; default slog.Default().
	Logger *slog.Logger
}

// Server serves the pages, and hands what is for the API on to it. All methods may be called from any goroutine.
type Server struct {
	opts      Options
	crossing  *http.CrossOriginProtection
	pages     *http.ServeMux
	sessions  sessions
	history   history
	fragments fragments
	turns     chan struct{} // pages that are made at a time: each holds answers of the API
}

// maxAtOnce is how many pages are made at a time.
const maxAtOnce = 8

// New makes a server.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{opts: o, crossing: http.NewCrossOriginProtection(), pages: http.NewServeMux(), turns: make(chan struct{}, maxAtOnce)}
	for _, v := range views {
		s.pages.HandleFunc("GET "+v.path, func(w http.ResponseWriter, r *http.Request) { s.show(w, r, v) })
	}
	for _, a := range acts {
		s.pages.HandleFunc("POST "+a.path, func(w http.ResponseWriter, r *http.Request) { s.do(w, r, a) })
	}
	s.pages.HandleFunc("GET /login", s.loginForm)
	s.pages.HandleFunc("POST /login", s.login)
	s.pages.HandleFunc("POST /logout", s.logout)
	s.pages.HandleFunc("GET "+assets.prefix+"{file}", assets.serve)
	return s
}

// Handler is the server behind a listener; secure says that the listener speaks TLS.
func (s *Server) Handler(secure bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.forAPI(r) {
			s.opts.API.ServeHTTP(w, r)
			return
		}
		s.serve(w, r.WithContext(withSecure(r.Context(), secure)))
	})
}

// forAPI says whether a request is the API's: by its path, or because who asks for / is no browser.
func (s *Server) forAPI(r *http.Request) bool {
	path := r.URL.EscapedPath()
	switch {
	case path == "/api", strings.HasPrefix(path, "/api/"), path == "/cli", strings.HasPrefix(path, "/cli/"), strings.HasPrefix(path, "/doc/"):
		return true
	case path == "/":
		return r.Method != http.MethodPost && !strings.Contains(r.Header.Get("Accept"), "text/html")
	}
	return false
}

// Bounds of a request.
const (
	requestTime = time.Minute // for it to come, and for its answer to be taken
	maxForm     = 4 << 20     // bytes of a form: a message that is published is the largest
)

// policy is the content security policy: nothing but what this server sends, and nothing that stands inside a page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		broken := recover()
		if broken == nil {
			return
		}
		if broken == http.ErrAbortHandler {
			panic(broken)
		}
		s.opts.Logger.Error("a page's handler panicked", "protocol", "http", "path", r.Pattern, "panic", broken, "stack", string(debug.Stack()))
		http.Error(w, "The page could not be made; the broker's log says why.", http.StatusInternalServerError)
	}()
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	control, at := http.NewResponseController(w), time.Now().Add(requestTime)
	_ = control.SetReadDeadline(at) // a test's recorder has none
	_ = control.SetWriteDeadline(at)
	if err := s.crossing.Check(r); err != nil {
		s.plain(w, r, http.StatusForbidden, "That came from another site's page", "Forms work only from the pages of this server. Open the page here and do it again.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if _, pattern := s.pages.Handler(r); pattern == "" {
		if allowed := s.methods(r); allowed != "" {
			h.Set("Allow", allowed)
			s.plain(w, r, http.StatusMethodNotAllowed, "That can't be done to this page", "Open it, or use the forms that stand in it.")
			return
		}
		s.plain(w, r, http.StatusNotFound, "There is no such page", "The address may be mistyped, or from another version.")
		return
	}
	s.pages.ServeHTTP(w, r)
}

// methods are those that the page of a request's address has, for its header Allow; none where there is no such page.
func (s *Server) methods(r *http.Request) string {
	var has []string
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		if _, pattern := s.pages.Handler(&http.Request{Method: m, URL: r.URL, Host: r.Host}); pattern != "" {
			has = append(has, m)
		}
	}
	if len(has) > 0 && has[0] == http.MethodGet {
		has = append([]string{http.MethodHead}, has...)
	}
	return strings.Join(has, ", ")
}

// visit is one request of somebody who signed in, on its way.
type visit struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	session *session // nil: the request brings a name and a password
	visitor *visitor
	tags    []string
	name    string
	live    bool // the script asks again for what is shown
	failed  *failedForm
	got     *gotData // by the form that was sent
}

// failedForm is a form that was sent and refused: it is shown again, with why.
type failedForm struct {
	Name   string
	Reason string
	values url.Values
}

// begin finds out who asks. It has answered when there is nobody.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) (*visit, bool) {
	v := &visit{s: s, w: w, r: r, live: r.Header.Get("X-Live") != ""}
	v.session, v.visitor = s.sessions.of(r, !v.live)
	_, _, basic := r.BasicAuth()
	if v.session == nil && !basic {
		s.signInFirst(w, r, v.live)
		return nil, false
	}
	var who struct {
		Name string
		Tags []string
	}
	if err := v.get(&who, "whoami"); err != nil {
		if unknown(err) && v.session != nil { // the password is another one since, or the user is gone
			s.sessions.end(v.session)
			s.signInFirst(w, r, v.live)
			return nil, false
		}
		if statusOf(err) == http.StatusForbidden && v.session != nil { // so that the form to sign in as somebody else is shown again
			s.sessions.end(v.session)
		}
		s.plain(w, r, statusOf(err), "You can't sign in", sentence(err))
		return nil, false
	}
	v.name, v.tags = who.Name, who.Tags
	return v, true
}

// signInFirst answers who is not signed in.
func (s *Server) signInFirst(w http.ResponseWriter, r *http.Request, live bool) {
	if live {
		w.WriteHeader(http.StatusUnauthorized) // the script shows the form
		return
	}
	to := "/login"
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		to += "?to=" + url.QueryEscape(r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// turn waits until a page may be made.
func (s *Server) turn(r *http.Request) bool {
	select {
	case s.turns <- struct{}{}:
		return true
	case <-r.Context().Done():
		return false
	}
}

// show answers with a view.
func (s *Server) show(w http.ResponseWriter, r *http.Request, v *view) {
	at, ok := s.begin(w, r)
	if !ok {
		return
	}
	if at.live {
		s.fragment(at, v)
		return
	}
	if !s.turn(r) {
		return
	}
	defer func() { <-s.turns }()
	at.render(v, http.StatusOK)
}

// do works off a form.
func (s *Server) do(w http.ResponseWriter, r *http.Request, a *act) {
	v, ok := s.begin(w, r)
	if !ok {
		return
	}
	if !s.turn(r) {
		return
	}
	defer func() { <-s.turns }()
	err := r.ParseForm()
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		s.plain(w, r, http.StatusRequestEntityTooLarge, "That is too large", "A form holds at most 4 MiB. Larger messages go over the API or a client's protocol.")
		return
	}
	if err != nil {
		s.plain(w, r, http.StatusBadRequest, "The form can't be read", sentence(err))
		return
	}
	to, done, err := a.do(v)
	if err == nil && to == "" { // it stays, to show something
		v.render(a.on, http.StatusOK)
		return
	}
	if err == nil {
		if done != "" && v.session != nil {
			s.sessions.tell(v.session, done)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	v.failed = &failedForm{Name: a.form, Reason: sentence(err), values: r.PostForm}
	v.render(a.on, statusOf(err))
}

// render makes a page and sends it.
func (v *visit) render(of *view, status int) {
	var out bytes.Buffer
	if err := v.compose(&out, of); err != nil {
		if v.failed != nil { // what the form stood on is gone
			err = &apiError{Status: status, Reason: v.failed.Reason}
		}
		v.s.sorry(v, err)
		return
	}
	v.send(status, out.Bytes())
}

func (v *visit) send(status int, page []byte) {
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(page) // a browser that is gone needs no page
}
