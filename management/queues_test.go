package management_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/management"
)

// Names with all that a path can't hold as it stands.
func TestQueuesOfAnyName(t *testing.T) {
	r := start(t)
	for path, name := range map[string]string{"q": "q", "a%2Fb": "a/b", "a%20b": "a b", "%23%3F%25": "#?%", "p+q": "p+q", "%E2%82%AC%2B%22%3C": "€+\"<", "%2E%2E": "..", "%2F%2F": "//"} {
		r.ask("PUT", "queues/%2f/"+path, `{"durable":true}`).want(201)
		r.ask("PUT", "queues/%2F/"+path, `{"durable":"true"}`).want(204)
		if got := r.ask("GET", "queues/%2F/"+path, "").want(200).object()["name"]; got != name {
			t.Errorf("%s is %v", path, got)
		}
		r.ask("DELETE", "queues/%2F/"+path, "").want(204)
		r.ask("DELETE", "queues/%2F/"+path, "").want(404)
	}
	r.ask("PUT", "queues/%2F/with%20space", "{}").want(201)
	r.ask("GET", "queues/%2F/with+space", "").want(200, `"name":"with space"`) // as some clients escape it
	r.ask("GET", "queues/nowhere/q", "").want(404)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	r.ask("PUT", "queues/%2F/q", `{"durable":false}`).want(400, `"error":"bad_request"`, `inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'`)
}

func TestListsArePagedSortedAndNarrowed(t *testing.T) {
	r := start(t)
	for i := range 6 {
		r.ask("PUT", fmt.Sprintf("queues/%%2F/Q%d", i), `{"arguments":{"x-max-length":`+fmt.Sprint(10-i)+`}}`).want(201)
	}
	names := func(list []any) (out string) {
		for _, x := range list {
			out += x.(map[string]any)["name"].(string) + " "
		}
		return out
	}
	page := r.ask("GET", "queues?page=2&page_size=2", "").want(200).object()
	if names(page["items"].([]any)) != "Q2 Q3 " || page["page_count"] != 3.0 || page["total_count"] != 6.0 || page["filtered_count"] != 6.0 || page["item_count"] != 2.0 || page["page"] != 2.0 || page["page_size"] != 2.0 {
		t.Error(page)
	}
	for query, want := range map[string]string{
		"page=1&name=q4": "Q4 ", "page=1&name=q[0-1]$&use_regex=true": "Q0 Q1 ", "page=1&sort=arguments.x-max-length&page_size=2": "Q5 Q4 ", "page=1&sort=name&sort_reverse=true&page_size=1": "Q5 ",
		"page=1&name=none": "", "page=1&sort=&page_size=1": "Q0 ", "page=1&sort=nothing.there&page_size=1": "Q0 ",
	} {
		if got := names(r.ask("GET", "queues/%2F?"+query, "").want(200).object()["items"].([]any)); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	for query, want := range map[string]string{"page=9&page_size=2": "page_out_of_range", "page=0": "invalid_pagination_parameters", "page=1&page_size=501": "invalid_pagination_parameters",
		"page=a": "Pagination parameters are invalid", "page=1&use_regex=true&name=(": "Pagination parameters are invalid"} {
		r.ask("GET", "queues?"+query, "").want(400, want)
	}
	r.ask("GET", "queues?columns=name,arguments.x-max-length,arguments.x-none,nothing", "").want(200, `[{"name":"Q0","arguments":{"x-max-length":10}},`)
	r.ask("GET", "queues/%2F/Q0?columns=name", "").want(200, `{"name":"Q0"}`)
	if a := r.ask("GET", "queues?disable_stats=true", "").want(200, `"messages_ready":0`); strings.Contains(a.body, "consumers") {
		t.Error(a.body)
	}
	r.ask("GET", "queues", "", "X-Vhost", "elsewhere").want(200, "[]")
}

func TestWhatIsWrongWithABodyIsSaid(t *testing.T) {
	r := start(t)
	for body, want := range map[string]string{"a": "not_json", "[1]": "not_json", "1": "not_json", `"{}"`: "doubly-JSON-encoded", `{"durable":"maybe"}`: "'durable' must be true or false",
		`{"durable":5}`: "'durable'", `{"arguments":5}`: "'arguments' should be an object", `{"arguments":{"x-max-length":"a"}}`: "x-max-length", `{"type":5}`: "'type' must be a string", `{"type":"odd"}`: "odd"} {
		r.ask("PUT", "queues/%2F/q", body).want(400, `"error":"bad_request"`, want)
	}
	for _, body := range []string{"", "null", "undefined", " {} ", `{"unknown":[{}],"arguments":null}`, `{"arguments":[]}`} {
		r.ask("PUT", "queues/%2F/q", body).want(map[bool]int{true: 201, false: 204}[body == ""])
		if body == "" {
			continue
		}
	}
	r.ask("PUT", "queues/%2F/q", strings.Repeat(" ", 20_000_001)+"{}").want(400, "Exceeded HTTP request body size limit")
}

func TestTheDescriptionHasEveryRow(t *testing.T) {
	r := start(t)
	d := r.as("", "").ask("GET", "openapi.json", "").want(200).object()
	paths := d["paths"].(map[string]any)
	n := 0
	for _, methods := range paths {
		n += len(methods.(map[string]any))
	}
	for _, row := range management.Rows() {
		methods, _ := paths["/"+row.Path()].(map[string]any)
		if methods[strings.ToLower(row.Method())] == nil {
			t.Errorf("no %s %s", row.Method(), row.Path())
		}
		n--
	}
	if n != 0 {
		t.Errorf("%d operations more than rows", n)
	}
}
