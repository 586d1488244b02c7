package web_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// browser is somebody who looks at the pages of a broker.
type browser struct {
	t      *testing.T
	server *testkit.Server
	base   string
	http   *http.Client
}

// start starts a broker and opens a browser in which nobody signed in.
func start(t *testing.T) *browser {
	t.Helper()
	s := testkit.Start(t, func(c *config.Config) { c.Sync = config.SyncOS })
	return (&browser{t: t, server: s, base: "http://" + s.Addr("http")}).another()
}

// another is a browser of its own at the same broker.
func (b *browser) another() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &browser{b.t, b.server, b.base, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// seen is what came back.
type seen struct {
	t      *testing.T
	asked  string
	status int
	header http.Header
	body   string
}

func (b *browser) ask(method, path string, form url.Values, header ...string) seen {
	b.t.Helper()
	r, err := http.NewRequest(method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,*/*")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Authorization" {
			r.Header["Authorization"] = []string{header[i+1]}
		}
	}
	answer, err := b.http.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return seen{b.t, method + " " + path, answer.StatusCode, answer.Header, string(text)}
}

func (b *browser) get(path string) seen { b.t.Helper(); return b.ask(http.MethodGet, path, nil) }

// post sends a form of names and values in turn.
func (b *browser) post(path string, fields ...string) seen {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.ask(http.MethodPost, path, form)
}

// signIn signs in, and returns the browser.
func (b *browser) signIn(name, password string) *browser {
	b.t.Helper()
	b.post("/login", "name", name, "password", password).want(303)
	return b
}

// api does something over the API as the first user.
func (b *browser) api(method, path, body string) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.base+"/api/"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.SetBasicAuth("guest", "guest")
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode >= 300 {
		b.t.Fatalf("%s %s: %d %s", method, path, answer.StatusCode, text)
	}
}

// want fails the test when the status is another, or a text is not on the page.
func (s seen) want(status int, texts ...string) seen {
	s.t.Helper()
	if s.status != status {
		s.t.Fatalf("%s: %d, want %d\n%s", s.asked, s.status, status, s.body)
	}
	for _, text := range texts {
		if !strings.Contains(s.body, text) {
			s.t.Fatalf("%s lacks %q:\n%s", s.asked, text, s.body)
		}
	}
	return s
}

// without fails the test when a text is on the page.
func (s seen) without(texts ...string) seen {
	s.t.Helper()
	for _, text := range texts {
		if strings.Contains(s.body, text) {
			s.t.Fatalf("%s has %q:\n%s", s.asked, text, s.body)
		}
	}
	return s
}

// to fails the test when the answer does not lead there.
func (s seen) to(place string) {
	s.t.Helper()
	if s.want(303); s.header.Get("Location") != place {
		s.t.Fatalf("%s leads to %s, not to %s", s.asked, s.header.Get("Location"), place)
	}
}

func TestWhoLooksMustSignIn(t *testing.T) {
	b := start(t)
	b.get("/").to("/login")
	b.get("/queues?sort=type").to("/login?to=%2Fqueues%3Fsort%3Dtype")
	b.post("/queues/declare", "name", "x", "vhost", "/").to("/login")
	if a := b.ask("GET", "/queues", nil, "X-Live", "1"); a.status != 401 || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("the script was answered %d %v", a.status, a.header)
	}
	b.post("/login", "name", "guest", "password", "mistyped").want(401, "The name or the password is wrong", `value="guest"`).without("mistyped")
	b.post("/login", "name", "nobody", "password", "x").want(401, "The name or the password is wrong")
	a := b.post("/login", "name", "guest", "password", "guest", "to", "/queues")
	a.to("/queues")
	if c := a.header.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Strict") || !strings.Contains(c, "Path=/") {
		t.Errorf("the cookie is %s", c)
	}
	b.get("/").want(200, "Overview", "guest")
	b.get("/login?to=/queues").to("/queues")
	b.post("/logout").to("/login")
	b.get("/").to("/login")
}

func TestNobodyIsLedElsewhere(t *testing.T) {
	b := start(t)
	for _, to := range []string{"https://example.com/", "//example.com", `/\example.com`, "javascript:alert(1)", "/\n/example.com", ""} {
		b.another().post("/login", "name", "guest", "password", "guest", "to", to).to("/")
	}
}

func TestABasicLoginNeedsNoSession(t *testing.T) {
	b := start(t)
	b.ask("GET", "/queues", nil, "Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=").want(200, "No queues yet")
	b.ask("GET", "/queues", nil, "Authorization", "Basic Z3Vlc3Q6d3Jvbmc=").want(401, "You can&#39;t sign in")
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	form := url.Values{"name": {"evil"}, "vhost": {"/"}}
	b.ask("POST", "/queues/declare", form, "Origin", "https://example.com").want(403)
	b.ask("POST", "/queues/declare", form, "Sec-Fetch-Site", "cross-site").want(403)
	b.ask("POST", "/queues/declare", form, "Sec-Fetch-Site", "same-site").want(403)
	b.ask("POST", "/queues/declare", form, "Origin", "null").want(403)
	b.get("/queues").without("evil")
	b.ask("POST", "/queues/declare", form, "Origin", b.base, "Sec-Fetch-Site", "same-origin").to("/queue?vhost=%2F&name=evil")
}

func TestTheCookieIsNoLoginOfTheAPI(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.get("/api/whoami").want(401)
}

func TestASessionEndsWithItsPassword(t *testing.T) {
	b := start(t)
	b.api("PUT", "users/ann", `{"password":"one","tags":"management"}`)
	ann := b.another().signIn("ann", "one")
	ann.get("/").want(200)
	b.api("PUT", "users/ann", `{"password":"two","tags":"management"}`)
	ann.get("/").to("/login")
	ann.signIn("ann", "two").get("/").want(200)
	b.api("DELETE", "users/ann", "")
	ann.get("/").to("/login")
}

func TestATagThatIsTakenAwayTakesThePagesAway(t *testing.T) {
	b := start(t)
	b.api("PUT", "users/ann", `{"password":"one","tags":"management"}`)
	ann := b.another().signIn("ann", "one")
	b.api("PUT", "users/bob", `{"password":"one","tags":""}`)
	b.another().post("/login", "name", "bob", "password", "one").want(403, "none of the tags")
	hash := regexp.MustCompile(`"password_hash":"([^"]+)"`).FindStringSubmatch(b.ask("GET", "/api/users/ann", nil, "Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=").body)[1]
	b.api("PUT", "users/ann", `{"password_hash":"`+hash+`","tags":""}`)
	ann.get("/").want(403, "You can&#39;t sign in", "Not management user")
	ann.get("/login").want(200, "Password") // as somebody who may
	ann.signIn("guest", "guest").get("/").want(200)
}

// Whoever comes by can't have the broker hold a form of megabytes.
func TestTheFormToSignInIsBounded(t *testing.T) {
	b := start(t)
	b.post("/login", "name", "guest", "password", strings.Repeat("x", 20<<10)).want(400, "too large")
	b.signIn("guest", "guest").get("/").want(200)
}

func TestEveryAnswerHasThePolicy(t *testing.T) {
	b := start(t)
	own := b.another().signIn("guest", "guest")
	for _, a := range []seen{b.get("/login"), b.get("/nothing"), own.get("/"), own.get("/nothing"), own.get("/queue?vhost=/&name=none"), own.post("/queues/declare")} {
		p := a.header.Get("Content-Security-Policy")
		if !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %q", a.asked, p)
		}
		if a.status == 200 && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept by a cache", a.asked)
		}
	}
}

func TestAssetsAreNamedByWhatTheyHold(t *testing.T) {
	b := start(t)
	paths := regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`).FindAllStringSubmatch(b.get("/login").body, -1)
	if len(paths) < 3 {
		t.Fatalf("%v", paths)
	}
	for _, p := range paths {
		if a := b.get(p[1]).want(200); !strings.Contains(a.header.Get("Cache-Control"), "immutable") || strings.Contains(a.header.Get("Content-Type"), "plain") {
			t.Errorf("%s: %v", p[1], a.header)
		}
	}
	b.get("/static/000000000000/app.js").want(404)
	for path, allow := range map[string]string{"/queues": "HEAD, GET", "/logout": "POST", "/login": "HEAD, GET, POST"} {
		if a := b.ask(http.MethodPut, path, nil).want(405); a.header.Get("Allow") != allow {
			t.Errorf("PUT %s: %q", path, a.header)
		}
	}
	b.get(paths[0][1] + "x").want(404)
}

// hostile is a name that would be a script where somebody forgot to escape it.
const hostile = `<script>alert("x")</script>'"><img src=x onerror=alert(1)>&{{.}}`

// places are the links on a page.
func places(s seen) (list []string) {
	for _, m := range regexp.MustCompile(`href="(/[^"]*)"`).FindAllStringSubmatch(s.body, -1) {
		place, _, _ := strings.Cut(html.UnescapeString(m[1]), "#")
		list = append(list, place)
	}
	return list
}

// escaped holds what must hold for each page.
func escaped(t *testing.T, s seen) {
	t.Helper()
	for _, bad := range []string{"<script>", "<img src=x", `onerror=alert(1)>`, "ZgotmplZ", "<nil>", "%!"} {
		if i := strings.Index(s.body, bad); i >= 0 {
			t.Errorf("%s has %q: …%s", s.asked, bad, s.body[max(0, i-80):min(len(s.body), i+80)])
		}
	}
	bare := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(s.body, `""`)
	if m := regexp.MustCompile(`<[a-z]+[^>]* (style|on[a-z]+)=`).FindString(bare); m != "" {
		t.Errorf("%s has what the policy forbids: %s", s.asked, m)
	}
}

func TestStoredNamesAreNeverMarkup(t *testing.T) {
	b := start(t)
	name := url.PathEscape(hostile)
	b.api("PUT", "vhosts/"+name, `{"description":`+quoted(hostile)+`}`)
	for _, vhost := range []string{"%2F", name} {
		b.api("PUT", "queues/"+vhost+"/"+name, `{"durable":true,"arguments":{`+quoted(hostile)+`:`+quoted(hostile)+`}}`)
		b.api("PUT", "exchanges/"+vhost+"/"+name, `{"type":"topic","arguments":{`+quoted(hostile)+`:1}}`)
		b.api("POST", "bindings/"+vhost+"/e/"+name+"/q/"+name, `{"routing_key":`+quoted(hostile)+`,"arguments":{`+quoted(hostile)+`:1}}`)
		b.api("PUT", "policies/"+vhost+"/"+name, `{"pattern":"script","definition":{"max-length":100},"apply-to":"all"}`)
		b.api("POST", "exchanges/"+vhost+"/"+name+"/publish", `{"properties":{"headers":{`+quoted(hostile)+`:`+quoted(hostile)+`},"content_type":`+quoted(hostile)+`},"routing_key":`+quoted(hostile)+`,"payload":`+quoted(hostile)+`,"payload_encoding":"string"}`)
	}
	b.api("PUT", "users/"+name, `{"password":"x","tags":`+quoted("administrator,"+strings.ReplaceAll(hostile, ",", ""))+`}`)
	b.api("PUT", "permissions/%2F/"+name, `{"configure":".*","write":".*","read":".*"}`)
	b.api("PUT", "permissions/"+name+"/"+name, `{"configure":".*","write":".*","read":".*"}`)
	b.api("PUT", "cluster-name", `{"name":`+quoted(hostile)+`}`)
	b.signIn(hostile, "x")

	todo, done := []string{"/"}, map[string]bool{}
	for len(todo) > 0 {
		at := todo[0]
		if todo = todo[1:]; done[at] || strings.HasPrefix(at, "/static/") || strings.HasPrefix(at, "/api/") {
			continue
		}
		done[at] = true
		a := b.get(at).want(200)
		escaped(t, a)
		todo = append(todo, places(a)...)
		if len(done) > 400 {
			t.Fatal("the pages do not end")
		}
	}
	for _, want := range []string{"/queues", "/queue?", "/exchange?", "/user?", "/policies", "/groups", "/connections", "/audit", "/log"} {
		if !slices.ContainsFunc(todoOf(done), func(p string) bool { return strings.HasPrefix(p, want) }) {
			t.Errorf("no link leads to %s: %v", want, todoOf(done))
		}
	}
	at := "?" + url.Values{"vhost": {"/"}, "name": {hostile}}.Encode()
	escaped(t, b.post("/queue/get"+at, "count", "5").want(200, "alert"))
	escaped(t, b.post("/queue/bind"+at, "source", hostile+"x", "key", hostile).want(404, "alert"))
	escaped(t, b.post("/queues/declare", "name", hostile, "vhost", hostile+"x", "arguments", hostile).want(404, "alert"))
	escaped(t, b.another().post("/login", "name", hostile, "password", "no", "to", hostile).want(401, "alert"))
}

func todoOf(done map[string]bool) (list []string) {
	for p := range done {
		list = append(list, p)
	}
	return list
}

// quoted is a text in JSON.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
