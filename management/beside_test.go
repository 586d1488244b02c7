package management_test

import "testing"

func TestWhereAMessageWouldGoIsToldWithoutPublishing(t *testing.T) {
	r := start(t)
	r.ask("PUT", "exchanges/%2F/x", `{"type":"topic","arguments":{"alternate-exchange":"rest"}}`).want(201)
	r.ask("PUT", "exchanges/%2F/rest", `{"type":"fanout"}`).want(201)
	r.ask("PUT", "exchanges/%2F/loop", `{"type":"fanout"}`).want(201)
	for _, q := range []string{"a", "b", "lost"} {
		r.ask("PUT", "queues/%2F/"+q, "{}").want(201)
	}
	r.ask("POST", "bindings/%2F/e/x/q/a", `{"routing_key":"k.*"}`).want(201)
	r.ask("POST", "bindings/%2F/e/x/q/a", `{"routing_key":"k.#"}`).want(201) // the same queue twice
	r.ask("POST", "bindings/%2F/e/x/e/loop", `{"routing_key":"k.1"}`).want(201)
	r.ask("POST", "bindings/%2F/e/loop/e/x", `{}`).want(201)
	r.ask("POST", "bindings/%2F/e/loop/q/b", `{}`).want(201)
	r.ask("POST", "bindings/%2F/e/rest/q/lost", `{}`).want(201)
	for key, want := range map[string]string{
		"k.1": `{"routed":true,"queues":[{"name":"a","vhost":"/"},{"name":"b","vhost":"/"}],"through":["loop"],"delayed":false}`,
		"k.2": `{"routed":true,"queues":[{"name":"a","vhost":"/"}],"through":[],"delayed":false}`,
		"no":  `{"routed":true,"queues":[{"name":"lost","vhost":"/"}],"through":["rest"],"delayed":false}`,
	} {
		r.ask("POST", "exchanges/%2F/x/route", `{"routing_key":"`+key+`"}`).want(200, want)
	}
	r.ask("PUT", "exchanges/%2F/later", `{"type":"x-delayed-message","arguments":{"x-delayed-type":"fanout"}}`).want(201)
	r.ask("POST", "bindings/%2F/e/later/q/b", `{}`).want(201)
	r.ask("POST", "exchanges/%2F/later/route", `{"routing_key":"x","properties":{"headers":{"x-delay":60000}}}`).want(200, `{"routed":true,"queues":[{"name":"b","vhost":"/"}],"through":[],"delayed":true}`)
	r.ask("POST", "exchanges/%2F/amq.default/route", `{"routing_key":"b"}`).want(200, `"queues":[{"name":"b","vhost":"/"}]`)
	r.ask("POST", "exchanges/%2F/amq.default/route", `{"routing_key":"none"}`).want(200, `{"routed":false,"queues":[],"through":[],"delayed":false}`)
	r.ask("POST", "exchanges/%2F/x/route", `{}`).want(400, "key_missing")
	r.ask("POST", "exchanges/%2F/none/route", `{"routing_key":"b"}`).want(404)
	if got := r.ask("GET", "overview", "").want(200).object()["queue_totals"].(map[string]any)["messages"]; got != 0.0 {
		t.Errorf("%v messages are in queues", got)
	}
}
