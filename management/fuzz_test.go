package management

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
)

// FuzzPath takes paths apart: what comes out are names of valid UTF-8, and what is found has a value for each argument of its rows.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"queues/%2F/q", "queues//q", "bindings/%2F/e/amq.topic/q/q/a.%2523~9nmLZQ", "..", "%2e%2e/x", "a%", "%ff", "connections/1%20-%3E%202/channels", "exchanges/v//publish",
		"users/", strings.Repeat("a/", 20), "queues/%2F/a+b", ""} {
		f.Add(path)
	}
	routes, err := newRouter(allRows())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		list, wrong := segmentsOf(path)
		if wrong != "" {
			if list != nil {
				t.Fatal("both")
			}
			return
		}
		if len(list) > maxSegments {
			t.Fatal("too many")
		}
		for _, s := range list {
			if !utf8.ValidString(s.text) {
				t.Fatalf("%q", s.text)
			}
		}
		again, _ := spaced(list, path)
		for _, segments := range [][]segment{list, again} {
			found, values := routes.find(segments, nil)
			if found == nil {
				continue
			}
			for _, r := range found.rows {
				if len(r.args) != len(values) {
					t.Fatalf("%s has %d values", r.path, len(values))
				}
			}
		}
	})
}

// FuzzBody reads bodies: each is taken, or refused with 400 and a reason that is not long.
func FuzzBody(f *testing.F) {
	for _, body := range []string{`{"durable":"true","arguments":{"x-max-length":1}}`, `{"arguments":[]}`, `"{}"`, "[", "null", `{"properties":{"headers":{"a":[1.5,{"b":null}]},"priority":1},"payload":"x"}`,
		`{"count":"5","ackmode":"x","encoding":"auto","truncate":1e3}`, `{"properties":{"headers":{"CC":["a"],"BCC":["b"]}}}`,
		`{"filter":{"routing_key":"a.#","headers":{"a":1,"b":null,"c":"x"},"properties":{"type":"x"},"contains":"y","reason":"rejected"}}`,
		`{"target":{"exchange":"x","routing_key":"k"},"from":"2026-11-29T10:00:00Z","to":5,"from_offset":1,"partition":0,"limit":1,"rate":2,"dry_run":true,"wait":1}`, `{"keep_deaths":true,"target":{"queue":"q"}}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		refused := func(err error) {
			var why *failure
			if err != nil && (!errors.As(asFailure(err), &why) || why.status != 400 || why.reason == "" || len(why.reason) > 4<<10) {
				t.Fatalf("%v", err)
			}
		}
		fields, err := parseFields(body)
		refused(err)
		if err != nil {
			return
		}
		refused(fill(new(queueBody), fields))
		refused(fill(new(exchangeBody), fields))
		refused(fill(new(getBody), fields))
		filter, err := filterOf(fields["filter"])
		refused(err)
		if err == nil {
			filter.Chooser()(&broker.Delivery{Key: []byte("a.b"), Properties: []byte{0, 0}})
		}
		for _, read := range []func(map[string]json.RawMessage) (broker.JobSpec, int64, error){replaySpec, redriveSpec} {
			spec, _, err := read(fields)
			refused(err)
			if text := appendJSON(nil, jobObject(&broker.Job{Spec: spec})); err == nil && !json.Valid(text) {
				t.Fatalf("a job is shown as %s", text)
			}
		}
		if _, err := arguments(fields["arguments"]); err != nil {
			refused(err)
		}
		c := &call{}
		m, err := c.inbound(fields["properties"])
		if err != nil {
			refused(err)
			return
		}
		var p field.Properties
		if err := field.RawProperties(m.Properties).Parse(&p); err != nil {
			t.Fatalf("what was made of %s is malformed: %v", fields["properties"], err)
		}
		if !json.Valid(appendJSON(nil, propertiesObject(m.Properties))) {
			t.Fatal("what is shown is no JSON")
		}
	})
}

// FuzzQuery reads what is asked for by those who look through a queue: it is taken, or refused with 400.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{"count=5&last=3", "at=0-5,1-7&truncate=9", "time=2026-11-29T10:00:00Z&until=5", "header=a:b&header=c&property=type:x&contains=%ff", "state=all&offset=9223372036854775807",
		"routing_key=a.%23.*", "reason=rejected&origin=q&encoding=base64"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		refused := func(err error) {
			var why *failure
			if err != nil && (!errors.As(asFailure(err), &why) || why.status != 400 || why.reason == "" || len(why.reason) > 4<<10) {
				t.Fatalf("%v", err)
			}
		}
		b := &browsing{q: &broker.Queue{Topic: true}}
		refused(b.read(q))
		at, err := readPlaces(q.Get("at"), 3)
		refused(err)
		for part, offset := range at {
			if part < 0 || part >= 3 || offset < 0 {
				t.Fatalf("%v", at)
			}
		}
		if filter, err := filterIn(q); err == nil {
			filter.Chooser()(&broker.Delivery{Key: []byte("a.b"), Properties: []byte{0, 0}})
		}
	})
}

// What stands in the key of a binding's properties is one segment that comes back as it was.
func FuzzPropertiesKey(f *testing.F) {
	f.Add("a.#", []byte(nil))
	f.Add("~", []byte("\x01xS\x00\x00\x00\x01a"))
	f.Fuzz(func(t *testing.T, key string, args []byte) {
		k := propertiesKey(&broker.Binding{Key: key, Args: args})
		list, wrong := segmentsOf(url.PathEscape(k))
		if wrong != "" || len(list) != 1 || list[0].text != k {
			t.Fatalf("%q is %v %s", k, list, wrong)
		}
		if len(args) == 0 && key != "" {
			if back, err := url.QueryUnescape(k); err != nil || back != key {
				t.Fatalf("%q became %q", key, back)
			}
		}
	})
}
