package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/web"
)

// echo is an API that answers every request with what it was asked, in every field of an answer that pages read.
type echo struct{}

func (echo) SignIn(http.ResponseWriter, *http.Request, string, string) (int, error) { return 200, nil }

func (e echo) ServeVisitor(w http.ResponseWriter, r *http.Request, _, _ string) { e.ServeHTTP(w, r) }

func (echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/api/"))
	path = quoted(strings.ToValidUTF8(strings.Map(func(r rune) rune { return max(r, ' ') }, path), "?"))
	one := `{"name":` + path + `,"vhost":` + path + `,"type":"stream","policy":` + path + `,"arguments":{` + path + `:` + path + `},"tags":[` + path + `,"administrator"],"user":` + path + `,"protocol":` + path + `,"state":` + path +
		`,"topics":[` + path + `],"id":` + path + `,"kind":"replay","queue":` + path + `,"message":` + path + `,"level":` + path + `,"fields":{"act":` + path + `},"pattern":` + path + `,"definition":{` + path + `:` + path +
		`},"source":` + path + `,"destination":` + path + `,"destination_type":"queue","routing_key":` + path + `,"payload":` + path + `,"payload_encoding":"string","consumer_details":[{"consumer_tag":` + path +
		`}],"offsets":[{"topic":` + path + `}],"cluster_name":` + path + `,"client_properties":{` + path + `:` + path + `},"reason":` + path + `,"reasons":{` + path + `:5}}`
	switch {
	case strings.HasSuffix(r.URL.Path, "/whoami"), strings.Contains(r.URL.Path, "/overview"):
		w.Write([]byte(one))
	case r.URL.Query().Has("page"), strings.HasSuffix(r.URL.Path, "/messages"):
		w.Write([]byte(`{"items":[` + one + `],"page":2,"page_count":3,"page_size":1,"filtered_count":3,"total_count":3,"next":` + path + `}`))
	case strings.Count(r.URL.EscapedPath(), "/") >= 4 && !regexp.MustCompile(`/(bindings|source|destination|channels|permissions|topic-permissions)$`).MatchString(r.URL.Path), strings.HasPrefix(r.URL.Path, "/api/jobs/"), strings.HasPrefix(r.URL.Path, "/api/users/") && strings.Count(r.URL.EscapedPath(), "/") == 3, strings.HasPrefix(r.URL.Path, "/api/connections/") && strings.Count(r.URL.EscapedPath(), "/") == 3:
		w.Write([]byte(one))
	default:
		w.Write([]byte(`[` + one + `]`))
	}
}

// Whatever stands in an address or comes from the API is shown as text.
func FuzzPages(f *testing.F) {
	pages := []string{"/", "/queues", "/queue", "/exchanges", "/exchange", "/groups", "/group", "/connections", "/connection", "/policies", "/users", "/user", "/log", "/audit", "/messages", "/replay", "/redrive", "/jobs", "/job", "/none"}
	for i := range pages {
		f.Add(i, hostile, "", "", false)
		f.Add(i, "/", "javascript:alert(1)", "regex=on&sort=type&down=1&page=2&from=last&value=3&state=acked&key=k&headers=a%3D1", true)
	}
	h := web.New(web.Options{API: echo{}}).Handler(false)
	f.Fuzz(func(t *testing.T, which int, vhost, name, more string, live bool) {
		q, _ := url.ParseQuery(more) // what can't be read is left out, as the server does
		q.Set("vhost", vhost)
		q.Set("name", name)
		q.Set("id", name)
		r := httptest.NewRequest("GET", pages[uint(which)%uint(len(pages))]+"?"+q.Encode(), nil)
		r.SetBasicAuth("x", "x")
		r.Header.Set("Accept", "text/html")
		if live {
			r.Header.Set("X-Live", "1")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if known := pages[uint(which)%uint(len(pages))] != "/none"; w.Code >= 500 || known && w.Code != 200 || !known && w.Code != 404 {
			t.Fatalf("%s: %d %s", r.URL, w.Code, w.Body)
		}
		body := w.Body.String()
		bare := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(body, `""`)
		if m := regexp.MustCompile(`(?i)<[a-z][a-z0-9]*[^>]*\s(style|on[a-z]+)\s*=|href="?\s*javascript:`).FindString(bare); m != "" {
			t.Fatalf("%s: %s", r.URL, m)
		}
		if scripts := regexp.MustCompile(`(?i)<script`).FindAllString(body, -1); len(scripts) > 1 || live && len(scripts) > 0 {
			t.Fatalf("%s has %d scripts", r.URL, len(scripts))
		}
		if regexp.MustCompile(`(?i)href="\s*javascript:`).MatchString(body) {
			t.Fatalf("%s leads to a script", r.URL)
		}
	})
}
