package management_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/management"
)

// ranks are the tags that let a user through to rows of each role.
var ranks = map[string][]string{
	"anybody":       {"", "management", "policymaker", "monitoring", "administrator"},
	"management":    {"management", "policymaker", "monitoring", "administrator"},
	"policymaker":   {"policymaker", "administrator"},
	"monitoring":    {"monitoring", "administrator"},
	"administrator": {"administrator"},
}

// beyond are rows for which who may do it is decided by more than the tag and the virtual host: by whose a thing is.
var beyond = []string{"connections/username/{user}", "user-limits/{user}"}

var argument = regexp.MustCompile(`{[a-z]+}`)

// Every row, asked by users of every tag, with a permission in the virtual host and without.
func TestEveryRowIsForThoseWhomItSays(t *testing.T) {
	r := start(t)
	r.ask("PUT", "vhosts/v", "{}").want(201)
	var askers []*rig
	for _, tag := range ranks["anybody"] {
		for _, in := range []string{"in", "out"} {
			name := in + tag
			r.ask("PUT", "users/"+name, `{"password":"p","tags":"`+tag+`"}`).want(201)
			if in == "in" {
				r.ask("PUT", "permissions/v/"+name, `{"configure":".*","write":".*","read":".*"}`).want(201)
			}
			askers = append(askers, r.as(name, "p"))
		}
	}
	asked := 0
	for _, row := range management.Rows() {
		path := argument.ReplaceAllStringFunc(row.Path(), func(name string) string {
			if name == "{vhost}" && (row.EntersVHost() || row.SeesVHost()) {
				return "v"
			}
			return "nothing.there"
		})
		if row.Role() != "anybody" {
			r.as("", "").ask(row.Method(), path, "{}").want(401)
		}
		for _, asker := range askers {
			tag := strings.TrimPrefix(strings.TrimPrefix(asker.user, "in"), "out")
			enters := strings.HasPrefix(asker.user, "in")
			may := slices.Contains(ranks[row.Role()], tag)
			if row.EntersVHost() && !enters && !(row.Looks() && tag == "administrator") || row.SeesVHost() && !enters && !slices.Contains(ranks["monitoring"], tag) {
				may = false
			}
			if slices.Contains(beyond, row.Path()) || row.Path() == "login" || row.Method() == "PUT" && row.Path() == "cluster-name" && tag == "" {
				continue
			}
			a := asker.ask(row.Method(), path, "{}")
			asked++
			if refused := a.status == 401; refused == may {
				t.Errorf("%s by %s: %d %s", a.asked, asker.user, a.status, a.body)
			}
			if a.status >= 500 && a.status != 503 {
				t.Errorf("%s by %s: %d %s", a.asked, asker.user, a.status, a.body)
			}
		}
	}
	if asked < 1000 {
		t.Errorf("only %d requests", asked)
	}
}

// As on RabbitMQ: they may give themselves the permission anyway, and their tools list what there is before they have any.
func TestAdministratorsSeeWhatIsInVirtualHostsThatTheyMayNotEnter(t *testing.T) {
	r := start(t)
	r.ask("PUT", "vhosts/v", "{}").want(201)
	r.ask("PUT", "queues/v/q", "{}").want(201)
	r.ask("PUT", "exchanges/v/x", "{}").want(201)
	r.ask("POST", "bindings/v/e/x/q/q", `{"routing_key":"k"}`).want(201)
	for _, tag := range []string{"administrator", "monitoring"} {
		r.ask("PUT", "users/"+tag, `{"password":"p","tags":"`+tag+`"}`).want(201)
	}
	_, ch, _ := r.dial("guest", "guest", "v")
	if _, err := ch.Consume("q", "tag", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	sees, not := r.as("administrator", "p"), r.as("monitoring", "p")
	for path, shows := range map[string]string{"queues": `"name":"q"`, "exchanges": `"name":"x"`, "bindings": `"routing_key":"k"`} {
		sees.ask("GET", path, "").want(200, shows)
		sees.ask("GET", path+"/v", "").want(200, shows)
		not.ask("GET", path+"/v", "").want(401)
	}
	for _, u := range []*rig{sees, not} { // who may look at everything sees who consumes, too
		u.ask("GET", "consumers", "").want(200, `"consumer_tag":"tag"`)
		u.ask("GET", "consumers/v", "").want(200, `"consumer_tag":"tag"`)
	}
	sees.ask("GET", "queues?page=1", "").want(200, `"total_count":1`)
	sees.ask("GET", "queues/v/q", "").want(200, `"name":"q"`)
	sees.ask("HEAD", "queues/v/q", "").want(200)
	not.ask("GET", "queues", "").want(200, "[]")
	not.ask("GET", "queues/v/q", "").want(401)
	for _, c := range [][3]string{
		{"PUT", "queues/v/q2", "{}"}, {"DELETE", "queues/v/q", ""}, {"DELETE", "queues/v/q/contents", ""},
		{"POST", "queues/v/q/get", `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`}, {"GET", "queues/v/q/messages", ""}, {"GET", "queues/v/q/stream", ""},
		{"GET", "aliveness-test/v", ""}, {"POST", "exchanges/v/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}`},
	} {
		sees.ask(c[0], c[1], c[2]).want(401)
	}
}

// What the broker refuses a user in a virtual host, it refuses over HTTP: configure, write and read of the names that they match.
func TestPermissionsHoldOverHTTP(t *testing.T) {
	r := start(t)
	r.ask("PUT", "users/u", `{"password":"p","tags":"administrator"}`).want(201)
	r.ask("PUT", "permissions/%2F/u", `{"configure":"^c","write":"^w|^amq.default$","read":"^r"}`).want(201)
	u := r.as("u", "p")
	for _, q := range []string{"c", "w", "r", "other"} {
		r.ask("PUT", "queues/%2F/"+q, `{}`).want(201)
		r.ask("PUT", "exchanges/%2F/"+q, `{"type":"fanout"}`).want(201)
	}
	get := `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`
	publish := `{"properties":{},"routing_key":"k","payload":"","payload_encoding":"string"}`
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", "queues/%2F/c2", "{}", 201}, {"PUT", "queues/%2F/d", "{}", 401}, {"DELETE", "queues/%2F/c2", "", 204}, {"DELETE", "queues/%2F/other", "", 401},
		{"PUT", "exchanges/%2F/c2", "{}", 201}, {"PUT", "exchanges/%2F/d", "{}", 401}, {"DELETE", "exchanges/%2F/c2", "", 204}, {"DELETE", "exchanges/%2F/other", "", 401},
		{"POST", "queues/%2F/r/get", get, 200}, {"POST", "queues/%2F/w/get", get, 401}, {"DELETE", "queues/%2F/r/contents", "", 204}, {"DELETE", "queues/%2F/w/contents", "", 401},
		{"POST", "exchanges/%2F/w/publish", publish, 200}, {"POST", "exchanges/%2F/r/publish", publish, 401}, {"POST", "exchanges/%2F/amq.default/publish", publish, 200},
		{"POST", "bindings/%2F/e/r/q/w", "{}", 201}, {"POST", "bindings/%2F/e/w/q/w", "{}", 401}, {"POST", "bindings/%2F/e/r/q/r", "{}", 401}, {"POST", "bindings/%2F/e/r/e/w", "{}", 201},
		{"DELETE", "bindings/%2F/e/r/q/w/~", "", 204}, {"GET", "queues/%2F/w/stream", "", 401},
	} {
		u.ask(c.method, c.path, c.body).want(c.status)
	}
}

// Who may not look at everything sees their own connections, and closes no others.
func TestConnectionsOfOthersAreNotForEverybody(t *testing.T) {
	r := start(t)
	for _, tag := range []string{"management", "monitoring"} {
		r.ask("PUT", "users/"+tag, `{"password":"p","tags":"`+tag+`"}`).want(201)
		r.ask("PUT", "permissions/%2F/"+tag, `{"configure":".*","write":".*","read":".*"}`).want(201)
	}
	r.channel()
	name := strings.ReplaceAll(r.ask("GET", "connections", "").want(200).list()[0]["name"].(string), " ", "%20")
	own, all := r.as("management", "p"), r.as("monitoring", "p")
	own.ask("GET", "connections", "").want(200, "[]")
	own.ask("GET", "channels", "").want(200, "[]")
	own.ask("GET", "connections/"+name, "").want(401)
	own.ask("DELETE", "connections/"+name, "").want(401)
	own.ask("GET", "connections/username/guest", "").want(401)
	own.ask("GET", "connections/username/management", "").want(200, "[]")
	all.ask("GET", "connections", "").want(200, `"user":"guest"`)
	all.ask("GET", "connections/"+name, "").want(200)
	all.ask("DELETE", "connections/"+name, "").want(401)
	all.ask("DELETE", "connections/username/guest", "").want(401)
}

func TestAnotherSitesPageMayNotWrite(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", "{}", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").want(401, "another site", "https://evil.example")
	r.ask("GET", "queues/%2F/q", "", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").want(404)
	r.ask("PUT", "queues/%2F/q", "{}", "Sec-Fetch-Site", "same-origin").want(201)
}
