package management_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// rig is a broker with its API, and a client that asks it.
type rig struct {
	t *testing.T
	*testkit.Server
	user, password string
}

func start(t *testing.T, options ...testkit.Option) *rig {
	t.Helper()
	return &rig{t, testkit.Start(t, append([]testkit.Option{func(c *config.Config) { c.Sync = config.SyncOS }}, options...)...), "guest", "guest"}
}

// as is the same broker asked by another user.
func (r *rig) as(user, password string) *rig {
	return &rig{r.t, r.Server, user, password}
}

// answer is what came back.
type answer struct {
	t      *testing.T
	asked  string
	status int
	header http.Header
	body   string
}

// ask sends a request; header are names and values in turn. The path is below /api/, and escaped.
func (r *rig) ask(method, path, body string, header ...string) answer {
	r.t.Helper()
	return r.askRaw(method, "/api/"+path, body, header...)
}

// askRaw is ask with a path from the root.
func (r *rig) askRaw(method, path, body string, header ...string) answer {
	r.t.Helper()
	u, err := url.Parse("http://" + r.Addr("http") + path)
	if err != nil {
		r.t.Fatal(err)
	}
	req := &http.Request{Method: method, URL: u, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	if r.user != "" {
		req.SetBasicAuth(r.user, r.password)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	plain := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := plain.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{r.t, method + " " + path, got.StatusCode, got.Header, string(text)}
}

// want fails the test when the status is another, or a text is not in the body.
func (a answer) want(status int, texts ...string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: %d %s, want %d", a.asked, a.status, a.body, status)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Fatalf("%s: %s lacks %s", a.asked, a.body, text)
		}
	}
	return a
}

// into decodes the body.
func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%s: %v in %s", a.asked, err, a.body)
	}
}

// object is the body as one.
func (a answer) object() map[string]any {
	a.t.Helper()
	var v map[string]any
	a.into(&v)
	return v
}

// list is the body as a list of objects.
func (a answer) list() []map[string]any {
	a.t.Helper()
	var v []map[string]any
	a.into(&v)
	return v
}
