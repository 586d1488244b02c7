package management_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"strings"
	"testing"
)

const (
	sentAs = "Content-Type"
	asJSON = "application/json"
)

// form is an upload as a browser sends it.
func form(t *testing.T, name, file string, fields ...string) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	p, err := w.CreateFormFile("file", name)
	if err == nil {
		_, err = p.Write([]byte(file))
	}
	for i := 0; err == nil && i < len(fields); i += 2 {
		err = w.WriteField(fields[i], fields[i+1])
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

// someDefinitions are of everything that a file can hold.
const someDefinitions = `{
 "users": [{"name":"ann","password":"a","tags":["management"]}],
 "vhosts": [{"name":"v","description":"d"}],
 "permissions": [{"user":"ann","vhost":"v","configure":"","write":"^e","read":"^q"},
  {"user":"guest","vhost":"v","configure":".*","write":".*","read":".*"}],
 "topic_permissions": [{"user":"ann","vhost":"v","exchange":"e","write":"^a","read":".*"}],
 "parameters": [{"vhost":"v","component":"vhost-limits","name":"limits","value":{"max-queues":10}},
  {"vhost":"v","component":"operator_policy","name":"o","value":{"pattern":"x","definition":{"max-length":9},"priority":0,"apply-to":"queues"}}],
 "global_parameters": [{"name":"cluster_name","value":"imported"}],
 "policies": [{"vhost":"v","name":"p","pattern":"^q","apply-to":"all","definition":{"max-length":5},"priority":1}],
 "queues": [{"name":"q1","vhost":"v","durable":true,"auto_delete":false,"arguments":{"x-message-ttl":60000}}],
 "exchanges": [{"name":"e","vhost":"v","type":"topic","durable":true,"auto_delete":false,"internal":false,"arguments":{}}],
 "bindings": [{"source":"e","vhost":"v","destination":"q1","destination_type":"queue","routing_key":"a.#","arguments":{}}]
}`

func TestDefinitionsGoInAndOut(t *testing.T) {
	r := start(t)
	r.ask("POST", "definitions", someDefinitions).want(415)
	r.ask("POST", "definitions", someDefinitions, sentAs, asJSON).want(204)
	r.ask("POST", "definitions", someDefinitions, sentAs, asJSON).want(204) // twice is harmless
	r.as("ann", "a").ask("GET", "whoami", "").want(200)
	if there, _ := r.queue("v", "q1"); !there {
		t.Error("no queue is there")
	}
	r.ask("GET", "vhost-limits/v", "").want(200, `"max-queues":10`)
	r.ask("GET", "operator-policies/v/o", "").want(200)
	r.ask("GET", "cluster-name", "").want(200, "imported")
	out := r.ask("GET", "definitions", "").want(200, `"explanation": "Definitions of cluster 'imported'"`, `"product_version": "`)
	var f struct {
		Format  string           `json:"rabbitmq_definition_format"`
		Cluster string           `json:"original_cluster_name"`
		Users   []map[string]any `json:"users"`
		VHosts, Permissions, Topic, Parameters, Global, Policies,
		Queues, Exchanges, Bindings []map[string]any
	}
	out.into(&f)
	if f.Format != "cluster" || f.Cluster != "imported" || len(f.Users) != 2 || len(f.VHosts) != 2 || len(f.Permissions) != 3 || len(f.Parameters) != 2 ||
		len(f.Policies) != 1 || len(f.Queues) != 1 || len(f.Exchanges) != 1 || len(f.Bindings) != 1 {
		t.Errorf("%s", out.body)
	}
	if a := r.ask("GET", "definitions?download=all.json", "").want(200); a.header.Get("Content-Disposition") != "attachment; filename=all.json" {
		t.Errorf("%v", a.header)
	}
	r.ask("GET", "definitions?download=a%0Ab", "").want(400)
	// Another broker is the same after it.
	other := start(t)
	other.ask("POST", "definitions", out.body, sentAs, asJSON).want(204)
	again := other.ask("GET", "definitions", "").want(200)
	if again.body != out.body {
		t.Errorf("%s\nis after an import\n%s", out.body, again.body)
	}
}

func TestDefinitionsOfOneVirtualHost(t *testing.T) {
	r := start(t)
	r.ask("POST", "definitions", someDefinitions, sentAs, asJSON).want(204)
	r.ask("GET", "definitions/none", "").want(400, "vhost_not_found")
	r.ask("POST", "definitions/none", "{}", sentAs, asJSON).want(404)
	out := r.ask("GET", "definitions/v", "").want(200, `"original_vhost_name": "v"`, `"explanation": "Definitions of virtual host 'v'"`, `"product_version": "`)
	var f map[string]json.RawMessage
	out.into(&f)
	for _, key := range []string{"users", "vhosts", "permissions", "topic_permissions", "global_parameters"} {
		if f[key] != nil {
			t.Errorf("%s is exported with one virtual host", key)
		}
	}
	if strings.Contains(out.body, `"vhost":`) {
		t.Errorf("its things name it: %s", out.body)
	}
	r.ask("PUT", "vhosts/w", "").want(201)
	r.ask("POST", "definitions/w", out.body, sentAs, asJSON).want(204)
	for _, path := range []string{"policies/w/p", "operator-policies/w/o"} {
		r.ask("GET", path, "").want(200)
	}
	if there, _ := r.queue("w", "q1"); !there {
		t.Error("no queue is there")
	}
	r.ask("GET", "vhost-limits/w", "").want(200, `"max-queues":10`)
	// What a file says of the rest of the broker is none of a virtual host's, and nothing goes into another one.
	r.ask("POST", "definitions/w", `{"users":[{"name":"eve","password":"e","tags":"administrator"}],"vhosts":[{"name":"x"}],
		"permissions":[{"user":"ann","vhost":"w","configure":".*","write":".*","read":".*"}],"global_parameters":[{"name":"g","value":1}],
		"queues":[{"name":"q2","vhost":"v"}]}`, sentAs, asJSON).want(204)
	for _, path := range []string{"users/eve", "vhosts/x", "permissions/w/ann", "global-parameters/g"} {
		r.ask("GET", path, "").want(404)
	}
	for vhost, want := range map[string]bool{"v": false, "w": true} {
		if there, _ := r.queue(vhost, "q2"); there != want {
			t.Errorf("a queue in %s: %v", vhost, there)
		}
	}
}

// What is wrong with a file is said, with its place, and nothing of it is applied.
func TestAFileWithAMistakeChangesNothing(t *testing.T) {
	r := start(t)
	for file, texts := range map[string][]string{
		`{"vhosts":[{"name":"v"}],"queues":[{"name":"q","vhost":"none"}]}`:                                          {`Please create virtual host \"none\" prior to importing definitions.`},
		`{"vhosts":[{"name":"v"}],"queues":[{"name":"q"},{"vhost":"v"}]}`:                                           {"queues[1]", `\"name\" is missing`},
		`{"vhosts":[{"name":"v"}],"permissions":[{"user":"none","vhost":"v","configure":"","write":"","read":""}]}`: {"no such user 'none'"},
		`{"vhosts":[{"name":"v"}],"bindings":[{"source":"amq.direct","vhost":"v","destination":"none","destination_type":"queue","routing_key":"","arguments":{}}]}`: {
			"resources_missing", "none"},
		`{"vhosts":[{"name":"v"}],"policies":[{"vhost":"v","name":"p","pattern":"x","definition":{"bogus":1}}]}`: {"not recognised policy settings"},
		`{"vhosts":[{"name":"v"}],"users":5}`: {"users", "should be a list"},
		`{"vhosts":[{"name":"v"}]`:            {"failed_to_parse_json"},
		`[]`:                                  {"failed_to_parse_json"},
		`{"vhosts":[{"name":"v"}],"queues":[[]]}`: {"queues[0]"},
	} {
		r.ask("POST", "definitions", file, sentAs, asJSON).want(400, texts...)
		r.ask("GET", "vhosts/v", "").want(404)
	}
	for _, nothing := range []string{"", "{}", `{"what_is_this":[1]}`, "\xef\xbb\xbf{}"} {
		r.ask("POST", "definitions", nothing, sentAs, asJSON).want(204)
	}
}

func TestDefinitionsAreUploadedByAForm(t *testing.T) {
	r := start(t)
	body, kind := form(t, "defs.json", someDefinitions)
	r.ask("POST", "definitions", body, sentAs, kind).want(204)
	if there, _ := r.queue("v", "q1"); !there {
		t.Error("no queue is there")
	}
	body, kind = form(t, "defs.JSON", "{}", "redirect", "../#/import-succeeded")
	if a := r.ask("POST", "definitions", body, sentAs, kind).want(303); a.header.Get("Location") != "../#/import-succeeded" {
		t.Errorf("%v", a.header)
	}
	for _, elsewhere := range []string{"https://example.com/", "//example.com", `\\example.com`, "/\\example.com", "javascript:alert(1)", "a\r\nX: y"} {
		body, kind = form(t, "defs.json", `{"vhosts":[{"name":"w"}]}`, "redirect", elsewhere)
		r.ask("POST", "definitions", body, sentAs, kind).want(400, "redirect")
		r.ask("GET", "vhosts/w", "").want(404)
	}
	body, kind = form(t, "defs.txt", "{}")
	r.ask("POST", "definitions", body, sentAs, kind).want(400, "unsupported_file_extension")
	body, kind = form(t, "defs.json", "{")
	r.ask("POST", "definitions", body, sentAs, kind).want(400, "failed_to_parse_json")
	r.ask("POST", "definitions", "nothing of the kind", sentAs, kind).want(400, "form")
	r.ask("POST", "definitions", body, sentAs, "multipart/form-data").want(400, "boundary")
	body, kind = form(t, "defs.json", someDefinitions)
	r.ask("POST", "definitions", body[:len(body)/2], sentAs, kind).want(400, "form")
}

// A page of another site that has a browser send what its user may is refused, whatever the form of the request.
func TestAnotherSitesPageChangesNothing(t *testing.T) {
	r := start(t)
	body, kind := form(t, "defs.json", `{"vhosts":[{"name":"w"}]}`)
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		r.ask("POST", "definitions", body, append(header, sentAs, kind)...).want(401, "another site")
		r.ask("PUT", "users/eve", `{"password":"e","tags":"administrator"}`, append(header, sentAs, "text/plain")...).want(401)
		r.ask("DELETE", "vhosts/%2F", "", header...).want(401)
	}
	r.ask("GET", "vhosts/w", "").want(404)
	r.ask("GET", "users/eve", "").want(404)
	r.ask("GET", "vhosts/%2F", "").want(200)
	r.ask("POST", "definitions", body, "Origin", "http://"+r.Addr("http"), "Sec-Fetch-Site", "same-origin", sentAs, kind).want(204)
}

// What would take memory without end is refused.
func TestABodyIsBounded(t *testing.T) {
	r := start(t)
	large := `{"value":"` + strings.Repeat("x", 20_000_001) + `"}`
	r.ask("PUT", "global-parameters/p", large).want(400, "Exceeded HTTP request body size limit")
	r.ask("POST", "definitions", large, sentAs, asJSON).want(400, "Exceeded HTTP request body size limit")
	r.ask("PUT", "global-parameters/p", `{"value":"`+strings.Repeat("x", 1<<20)+`"}`).want(400, "more than")
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	r.ask("PUT", "global-parameters/p", `{"value":`+deep+`}`).want(400, "nested deeper")
	r.ask("PUT", "policies/%2F/p", `{"pattern":"x","definition":{"max-length":`+deep+`}}`).want(400)
	r.ask("PUT", "users/u", `{"tags":`+deep+`}`).want(400, "'tags' must be")
	r.ask("PUT", "users/u", strings.Repeat("[", 1_000_000)).want(400, "not_json")
	r.ask("PUT", "users/u", `{"tags":"`+strings.Repeat("t,", 10)+strings.Repeat("x", 300)+`"}`).want(400, "300 bytes")
	r.ask("POST", "definitions", `{"global_parameters":[{"name":"p","value":`+deep+`}]}`, sentAs, asJSON).want(400, "nested deeper")
}

// Who has a file of definitions is told that it is still what is defined.
// A first start makes the default user, whose password it hashes behind the start. A file without it would let nobody in.
func TestDefinitionsWaitForThePasswordsOfTheStart(t *testing.T) {
	if a := start(t).ask("GET", "definitions", "").want(200, `"password_hash":"`); strings.Contains(a.body, `"password_hash":""`) {
		t.Errorf("%s", a.body)
	}
}

func TestDefinitionsHaveATag(t *testing.T) {
	r := start(t)
	for _, path := range []string{"definitions", "definitions/%2F"} {
		tag := r.ask("GET", path, "").want(200).header.Get("ETag")
		if again := r.ask("GET", path, "", "Accept-Encoding", "gzip").want(200).header.Get("ETag"); tag == "" || again != tag {
			t.Errorf("%s: %q, then %q", path, tag, again)
		}
		for _, have := range []string{tag, "*", `"x", ` + strings.TrimPrefix(tag, "W/")} {
			if a := r.ask("GET", path, "", "If-None-Match", have).want(304); a.body != "" || a.header.Get("ETag") != tag {
				t.Errorf("%s with %s: %q %v", path, have, a.body, a.header)
			}
		}
		r.ask("PUT", "queues/%2F/"+strings.ReplaceAll(path, "/", "-"), `{"durable":true}`).want(201)
		if changed := r.ask("GET", path, "", "If-None-Match", tag).want(200, `"queues"`).header.Get("ETag"); changed == tag {
			t.Errorf("%s: the tag is the same after a change", path)
		}
	}
}
