package websocket

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gobwas/ws"
)

// MaxRequestBytes is how long the request of a handshake may be, cookies and all.
const MaxRequestBytes = 16 << 10

// Options say which handshakes are taken.
type Options struct {
	// Path is that of the URL; other paths get 404.
	Path string
	// Protocols are the subprotocols to choose from, the best first. A client that offers none of them is taken all
	// the same, and told of none.
	Protocols []string
	// Origins are from where pages may connect; none is anywhere. Who says nothing of an origin is no page.
	Origins Origins
}

// ErrLongRequest says that a request does not end within MaxRequestBytes. AnswerLong answers it.
var ErrLongRequest = fmt.Errorf("the request of the handshake is longer than %d bytes", MaxRequestBytes)

// AnswerLong is for a client whose request is too long.
func AnswerLong(w io.Writer) error {
	return answer(w, http.StatusRequestHeaderFieldsTooLarge, ErrLongRequest.Error())
}

// RequestBytes is how long the request is that buf begins with; 0 when it is not all there. In its first looked bytes it was
// not found to end: who sends it byte by byte does not have all of it looked at as often.
func RequestBytes(buf []byte, looked int) (n int) {
	at := max(looked-2, 0)
	for _, end := range [][]byte{[]byte("\n\n"), []byte("\n\r\n")} {
		if i := bytes.Index(buf[at:], end); i >= 0 && (n == 0 || at+i+len(end) < n) {
			n = at + i + len(end)
		}
	}
	return n
}

// Accept answers a request, all of it: with the change to WebSocket, or else with a status of 4xx or 5xx and an error
// that says what was wrong. Extensions, of which compression is one, are declined. foreign says that a page asks which
// Origins do not trust: what the browser adds by itself, or can reach and the page's site can't, proves nothing then.
func (o *Options) Accept(request []byte, w io.Writer) (foreign bool, err error) {
	told := counted{w: w}
	u := ws.Upgrader{
		OnRequest: func(uri []byte) error {
			path, _, _ := bytes.Cut(uri, []byte("?"))
			if string(path) != o.Path {
				return reject(http.StatusNotFound, "nothing is at %.80q, WebSocket is at %s", path, o.Path)
			}
			return nil
		},
		OnHeader: func(name, value []byte) error {
			if string(name) != "Origin" {
				return nil
			}
			if !o.Origins.Allow(string(value)) {
				return reject(http.StatusForbidden, "pages of the origin %.80q may not connect", value)
			}
			foreign = foreign || !o.Origins.trust(string(value))
			return nil
		},
		ProtocolCustom: func(list []byte) (string, bool) {
			return o.choose(bytes.Split(list, []byte(","))), true
		},
	}
	_, err = u.Upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(request), &told})
	if err != nil && !told.any {
		_ = answer(w, http.StatusBadRequest, err.Error()) // which the library leaves to us
	}
	return foreign, err
}

// counted tells whether anything was written, or tried.
type counted struct {
	w   io.Writer
	any bool
}

func (c *counted) Write(b []byte) (int, error) {
	c.any = true
	return c.w.Write(b)
}

// choose is the best of the subprotocols that a client offers; "" is none.
func (o *Options) choose(offered [][]byte) string {
	for _, ours := range o.Protocols {
		for _, name := range offered {
			if string(bytes.TrimSpace(name)) == ours {
				return ours
			}
		}
	}
	return ""
}

func reject(status int, format string, args ...any) error {
	return ws.RejectConnectionError(ws.RejectionStatus(status), ws.RejectionReason(fmt.Sprintf(format, args...)))
}

func answer(w io.Writer, status int, text string) error {
	_, err := fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s\n",
		status, http.StatusText(status), len(text)+1, text)
	return err
}

// Origins are patterns of what browsers send as Origin, scheme://host[:port] in small letters; a * stands for any text
// without a slash. None is all.
type Origins []string

// Allow tells whether pages from there may connect.
func (o Origins) Allow(origin string) bool {
	if len(o) == 0 {
		return true
	}
	origin = strings.ToLower(strings.TrimSpace(origin))
	for _, pattern := range o {
		if matches(pattern, origin) {
			return true
		}
	}
	return false
}

// trust tells whether pages of an origin that is allowed are somebody's who has a say here: the owner has listed it, or it
// is this machine's own.
func (o Origins) trust(origin string) bool {
	if len(o) > 0 {
		return true
	}
	u, err := url.Parse(strings.TrimSpace(origin))
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.IsLoopback()
}

// matches compares with a pattern, whose stars stand for what has no slash. It takes time in proportion to both.
func matches(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	text, ok := strings.CutPrefix(text, first)
	if !ok || !star {
		return ok && text == ""
	}
	for {
		var next string
		next, rest, star = strings.Cut(rest, "*")
		if !star {
			head, ok := strings.CutSuffix(text, next)
			return ok && !strings.Contains(head, "/")
		}
		head, tail, ok := strings.Cut(text, next)
		if !ok || strings.Contains(head, "/") {
			return false
		}
		text = tail
	}
}
