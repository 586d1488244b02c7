package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// apiError is what the API refused, with why.
type apiError struct {
	Status int
	Reason string
}

func (e *apiError) Error() string { return e.Reason }

// wrong is a form that can't be understood.
func wrong(format string, args ...any) error {
	return &apiError{Status: http.StatusBadRequest, Reason: fmt.Sprintf(format, args...)}
}

// statusOf is the status of a page that shows an error.
func statusOf(err error) int {
	var e *apiError
	if errors.As(err, &e) && e.Status == http.StatusUnauthorized && !unknown(err) {
		return http.StatusForbidden // it is known who asks
	} else if errors.As(err, &e) {
		return e.Status
	}
	return http.StatusInternalServerError
}

// unknown says that a name and a password were not taken.
func unknown(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized && e.Reason == "Not_Authorized"
}

// sentence is an error as people read it.
func sentence(err error) string {
	text := err.Error()
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// api is a path of the API, of segments that are escaped here.
func api(segments ...string) string {
	var b strings.Builder
	for i, s := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// get asks the API for something, and decodes the answer.
func (v *visit) get(into any, path string, query ...string) error {
	if len(query) > 0 {
		q := url.Values{}
		for i := 0; i+1 < len(query); i += 2 {
			q.Set(query[i], query[i+1])
		}
		path += "?" + q.Encode()
	}
	return v.ask(http.MethodGet, path, nil, into)
}

// act asks the API to do something. A body that is not nil is sent as JSON; into may be nil.
func (v *visit) act(method, path string, body, into any) error {
	return v.ask(method, path, body, into)
}

func (v *visit) ask(method, path string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(v.r.Context(), method, "http://broker/api/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.RemoteAddr, r.Host = v.r.RemoteAddr, v.r.Host
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := v.reply(r)
	if err != nil {
		return err
	}
	if answer.status >= 300 {
		var f struct{ Error, Reason string }
		_ = json.Unmarshal(answer.body, &f) // one without a body has no reason
		if f.Reason == "" {
			f.Reason = http.StatusText(answer.status)
		}
		return &apiError{answer.status, f.Reason}
	}
	if into == nil || len(answer.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer.body, into); err != nil {
		return fmt.Errorf("the API's answer to %s: %w", path, err)
	}
	return nil
}

// reply has the API answer a request in memory, for who signed in or brought a password.
func (v *visit) reply(r *http.Request) (w *replyWriter, err error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w = &replyWriter{status: http.StatusOK, header: http.Header{}, enough: cancel}
	defer func() {
		broken := recover()
		switch {
		case w.full:
			err = errors.New("there is more than a page can show; narrow it down by a name")
		case broken == http.ErrAbortHandler: // the client is gone, or too many wait for their login
			err = &apiError{http.StatusServiceUnavailable, "the broker broke the request off; try again in a moment"}
		case broken != nil:
			panic(broken)
		}
	}()
	if v.visitor != nil {
		v.s.opts.API.ServeVisitor(w, r.WithContext(ctx), v.visitor.name, v.visitor.password)
	} else {
		r.Header.Set("Authorization", v.r.Header.Get("Authorization"))
		v.s.opts.API.ServeHTTP(w, r.WithContext(ctx))
	}
	return w, nil
}

// replyWriter is an http.ResponseWriter into memory.
type replyWriter struct {
	status      int
	header      http.Header
	body        []byte
	begun, full bool
	enough      func() // ends the request
}

// maxReply bounds an answer that is held in memory, in bytes: pages ask for lists by the page.
const maxReply = 8 << 20

func (w *replyWriter) Header() http.Header { return w.header }

func (w *replyWriter) WriteHeader(status int) {
	if !w.begun {
		w.begun, w.status = true, status
	}
}

func (w *replyWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.full = w.full || len(w.body)+len(p) > maxReply; w.full {
		w.enough()
		return 0, bytes.ErrTooLarge
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

// has says whether the user has one of the tags, or is an administrator, who has all.
func (v *visit) has(tags ...string) bool {
	return slices.ContainsFunc(v.tags, func(t string) bool { return t == "administrator" || slices.Contains(tags, t) })
}

// form is a field of the form that was sent.
func (v *visit) form(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }
