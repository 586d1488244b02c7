package management_test

import (
	"testing"
)

func TestWhoAsksMustLogIn(t *testing.T) {
	r := start(t)
	r.ask("GET", "whoami", "").want(200, `"name":"guest"`, `"tags":["administrator"]`)
	if a := r.as("", "").ask("GET", "whoami", "").want(401); a.body != "" || a.header.Get("WWW-Authenticate") != `Basic realm="RabbitMQ Management"` {
		t.Errorf("%q %v", a.body, a.header)
	}
	a := r.as("guest", "wrong").ask("GET", "whoami", "").want(401, `{"error":"not_authorized","reason":"Not_Authorized"}`)
	if a.header.Get("WWW-Authenticate") != "" {
		t.Error("a browser would ask its user for another password")
	}
}

func TestMethodsAndPathsThatThereAreNot(t *testing.T) {
	r := start(t)
	if a := r.ask("PUT", "whoami", "{}").want(405); a.body != "" || a.header.Get("Allow") != "HEAD, GET, OPTIONS" {
		t.Errorf("%q, Allow: %s", a.body, a.header.Get("Allow"))
	}
	if a := r.as("", "").ask("OPTIONS", "whoami", "").want(200); a.header.Get("Allow") != "HEAD, GET, OPTIONS" || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error(a.header)
	}
	if a := r.ask("HEAD", "whoami", "").want(200); a.body != "" || a.header.Get("Content-Length") == "" {
		t.Errorf("%q %v", a.body, a.header)
	}
	for _, path := range []string{"nothing", "whoami/more", "/whoami", "whoami//", "x/../whoami", "./whoami", "%2e%2e/whoami", "wh%ffoami"} {
		r.ask("GET", path, "").want(404, "Object Not Found")
	}
	r.ask("GET", "whoami/", "").want(200)
	r.ask("GET", "whoami", "", "Accept", "text/html").want(406)
	for _, accept := range []string{"*/*", "application/bert, application/json;q=0.1", "text/html, application/*;q=0.1"} {
		r.ask("GET", "whoami", "", "Accept", accept).want(200)
	}
	a := r.ask("GET", "whoami", "").want(200)
	if a.header.Get("Vary") != "accept, accept-encoding, origin" || a.header.Get("Cache-Control") != "no-cache" || a.header.Get("Content-Type") != "application/json" {
		t.Error(a.header)
	}
}
