package management

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// commonHeaders are in every answer.
func (c *call) commonHeaders() {
	h := c.w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "accept, accept-encoding, origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	origin := c.r.Header.Get("Origin")
	if origin == "" || !slices.Contains(c.s.opts.Origins, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
}

// options answers OPTIONS.
func (c *call) options(n *node) error {
	h, allow := c.w.Header(), n.allow()
	h.Set("Allow", allow)
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Max-Age", "1800")
		if asked := c.r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) < 1000 {
			h.Set("Access-Control-Allow-Headers", asked)
		}
	}
	h.Set("Content-Length", "0")
	c.begun = true
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// fail answers with what went wrong, and says so in the log.
func (c *call) fail(f *failure) {
	switch {
	case f.denied:
		c.log.Denied(c.what(), c.shownPath(), f, "give the user a tag or a permission that allows it, or use another user")
	case f.status >= http.StatusInternalServerError:
		c.log.Warn("a request failed", "request", c.what(), "path", c.shownPath(), "status", f.status, "error", f.reason)
	default:
		c.log.Debug("a request was refused", "request", c.what(), "path", c.shownPath(), "status", f.status, "error", f.reason)
	}
	if c.begun {
		panic(http.ErrAbortHandler) // what was sent is not whole, and must not look so
	}
	h := c.w.Header()
	for name, value := range f.header {
		h.Set(name, value)
	}
	c.begun = true
	if f.empty {
		h.Set("Content-Length", "0")
		c.w.WriteHeader(f.status)
		return
	}
	text := appendJSON(nil, object{{"error", f.err}, {"reason", f.reason}})
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	c.w.WriteHeader(f.status)
	_, _ = c.w.Write(text) // the client is gone: nothing to do
}

// put answers that something was made, or was there.
func (c *call) put(created bool) error {
	if created {
		return c.empty(http.StatusCreated)
	}
	return c.none()
}

// none answers that all is done.
func (c *call) none() error { return c.empty(http.StatusNoContent) }

func (c *call) empty(status int) error {
	c.begun = true
	if status != http.StatusNoContent {
		c.w.Header().Set("Content-Length", "0")
	}
	c.w.WriteHeader(status)
	return nil
}

// json answers with a value that appendJSON knows.
func (c *call) json(v any) error {
	return c.stream(http.StatusOK, "application/json", func(o *output) { o.buf = appendJSON(o.buf, v) })
}

// one answers with an object, or what of it is asked for with ?columns=.
func (c *call) one(o object) error { return c.json(c.columns().of(o)) }

// outputBytes is how much of an answer is gathered before it is sent.
const outputBytes = 32 << 10

// gzipFrom is the size from which on an answer is worth compressing.
const gzipFrom = 1400

// output is the body of an answer as it is written: append to buf, and call room now and then.
type output struct {
	buf    []byte
	c      *call
	status int
	zip    *gzip.Writer
	err    error
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, outputBytes+8<<10); return &b }}

var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is one that there is
	}
	return z
}}

// stream answers with a body that write appends.
func (c *call) stream(status int, kind string, write func(*output)) error {
	held := buffers.Get().(*[]byte)
	o := &output{buf: (*held)[:0], c: c, status: status}
	c.w.Header().Set("Content-Type", kind)
	write(o)
	if !c.begun { // all of it is here
		if len(o.buf) < gzipFrom || !c.acceptsGzip() {
			c.w.Header().Set("Content-Length", strconv.Itoa(len(o.buf)))
		}
		o.begin(len(o.buf) >= gzipFrom)
	}
	o.flush()
	if o.zip != nil {
		if err := o.zip.Close(); o.err == nil {
			o.err = err
		}
		zippers.Put(o.zip)
	}
	if cap(o.buf) <= 4*outputBytes {
		*held = o.buf[:0]
		buffers.Put(held)
	}
	if o.err != nil {
		c.log.Debug("an answer was not taken", "request", c.what(), "error", o.err)
		panic(http.ErrAbortHandler) // what was sent is not whole, and must not look so
	}
	return nil
}

// room sends what was gathered when it is much, and says whether there is somebody to send to.
func (o *output) room() bool {
	if len(o.buf) < outputBytes {
		return o.err == nil
	}
	if !o.c.begun {
		o.begin(true)
	}
	o.flush()
	return o.err == nil
}

func (o *output) begin(large bool) {
	o.c.begun = true
	if large && o.c.acceptsGzip() {
		o.c.w.Header().Set("Content-Encoding", "gzip")
		o.zip = zippers.Get().(*gzip.Writer)
		o.zip.Reset(o.c.w)
	}
	o.c.w.WriteHeader(o.status)
}

func (o *output) flush() {
	if o.err == nil && len(o.buf) > 0 {
		if o.zip != nil {
			_, o.err = o.zip.Write(o.buf)
		} else {
			_, o.err = o.c.w.Write(o.buf)
		}
	}
	o.buf = o.buf[:0]
}

// acceptsGzip says whether the client wants answers compressed.
func (c *call) acceptsGzip() bool {
	return c.r.Method != http.MethodHead && accepts(c.r.Header.Values("Accept-Encoding"), "gzip")
}

// acceptsJSON says whether the client takes JSON. The old exporter asks for Erlang's own format before it, which nothing else speaks.
func (c *call) acceptsJSON() bool {
	list := c.r.Header.Values("Accept")
	return len(list) == 0 || accepts(list, "application/json", "application/*", "*/*", "application/bert")
}

// accepts looks for one of the kinds in a header that lists them with q.
func accepts(header []string, kinds ...string) bool {
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			kind, parameters, _ := strings.Cut(item, ";")
			kind = strings.ToLower(strings.TrimSpace(kind))
			if !slices.Contains(kinds, kind) {
				continue
			}
			q, weighted := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
			if n, err := strconv.ParseFloat(q, 64); !weighted || err != nil || n > 0 {
				return true
			}
		}
	}
	return false
}
