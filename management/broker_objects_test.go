package management_test

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// channel opens an AMQP connection with a channel.
func (r *rig) channel() (*amqp.Connection, *amqp.Channel) {
	r.t.Helper()
	conn, err := amqp.Dial(r.AMQPURL())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, ch
}

// until asks until what comes back is as ok wants it.
func (r *rig) until(path string, ok func(answer) bool) answer {
	r.t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(10 * time.Millisecond) {
		if a := r.ask("GET", path, ""); ok(a) {
			return a
		}
	}
	r.t.Fatalf("%s stays %s", path, r.ask("GET", path, "").body)
	return answer{}
}

func TestExchangesAreDeclaredAndDeleted(t *testing.T) {
	r := start(t)
	r.ask("PUT", "exchanges/%2F/x", `{"type":"topic","durable":true,"arguments":{"alternate-exchange":"amq.fanout"}}`).want(201)
	r.ask("PUT", "exchanges/%2F/x", `{"type":"topic","durable":true,"arguments":{"alternate-exchange":"amq.fanout"}}`).want(204)
	r.ask("GET", "exchanges/%2F/x", "").want(200, `"type":"topic"`, `"alternate-exchange":"amq.fanout"`, `"policy":null`)
	r.ask("PUT", "exchanges/%2F/x", `{"type":"fanout"}`).want(400, "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'")
	r.ask("PUT", "exchanges/%2F/y", `{"type":"odd"}`).want(400, "unknown exchange type 'odd'")
	r.ask("PUT", "exchanges/%2F/amq.new", `{"type":"topic"}`).want(401, "not_authorised")
	r.ask("DELETE", "exchanges/%2F/amq.topic", "").want(401)
	r.ask("DELETE", "exchanges/%2F/amq.default", "").want(401)
	r.ask("GET", "exchanges/%2F/amq.default", "").want(200, `"name":""`)
	if n := len(r.ask("GET", "exchanges/%2F", "").want(200).list()); n != 7 {
		t.Errorf("%d exchanges", n)
	}
	r.ask("PUT", "queues/%2F/q", "{}").want(201)
	r.ask("POST", "bindings/%2F/e/x/q/q", "{}").want(201)
	r.ask("DELETE", "exchanges/%2F/x?if-unused=true", "").want(400, "in use")
	r.ask("DELETE", "exchanges/%2F/x", "").want(204)
	r.ask("DELETE", "exchanges/%2F/x", "").want(404)
}

func TestBindingsAreKnownByTheirProperties(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", "{}").want(201)
	for _, b := range []struct{ body, key string }{
		{`{}`, "~"}, {`{"routing_key":"a b.#"}`, "a+b.%23"}, {`{"routing_key":"~"}`, "%7E"}, {`{"routing_key":"k","arguments":{"x":1}}`, "k~"}, {`{"arguments":{"x":1}}`, "~"},
	} {
		a := r.ask("POST", "bindings/%2F/e/amq.headers/q/q", b.body).want(201)
		r.ask("POST", "bindings/%2F/e/amq.headers/q/q", b.body).want(201)
		if !strings.HasPrefix(a.header.Get("Location"), "q/") {
			t.Error(a.header)
		}
	}
	list := r.ask("GET", "bindings/%2F/e/amq.headers/q/q", "").want(200).list()
	if len(list) != 5 {
		t.Fatal(list)
	}
	if n := len(r.ask("GET", "queues/%2F/q/bindings", "").want(200).list()); n != 6 {
		t.Errorf("%d bindings with the default one", n)
	}
	for _, b := range list {
		key := b["properties_key"].(string)
		escaped := strings.NewReplacer("%", "%25", "+", "%2B").Replace(key)
		if got := r.ask("GET", "bindings/%2F/e/amq.headers/q/q/"+escaped, "").want(200).object()["routing_key"]; got != b["routing_key"] {
			t.Errorf("%s: %v", key, got)
		}
		r.ask("DELETE", "bindings/%2F/e/amq.headers/q/q/"+escaped, "").want(204)
		r.ask("DELETE", "bindings/%2F/e/amq.headers/q/q/"+escaped, "").want(404)
	}
	r.ask("POST", "bindings/%2F/e/amq.headers/e/amq.fanout", `{"routing_key":"k"}`).want(201)
	r.ask("GET", "exchanges/%2F/amq.headers/bindings/source", "").want(200, `"destination":"amq.fanout"`, `"destination_type":"exchange"`)
	r.ask("GET", "exchanges/%2F/amq.fanout/bindings/destination", "").want(200, `"source":"amq.headers"`)
	r.ask("DELETE", "bindings/%2F/e/amq.headers/e/amq.fanout/k", "").want(204)
	r.ask("POST", "bindings/%2F/e/amq.default/q/q", `{"routing_key":"k"}`).want(401)
	r.ask("POST", "bindings/%2F/e/none/q/q", "{}").want(404, "exchange_not_found")
	r.ask("POST", "bindings/%2F/e/amq.topic/q/none", "{}").want(404, "queue_not_found")
	r.ask("POST", "bindings/%2F/e/amq.topic/q/q", "a").want(400, "not_json")
	r.ask("GET", "bindings/%2F/e/amq.topic/z/q", "").want(404)
}

func TestMessagesArePublishedAndGot(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	body := `{"properties":{"content_type":"text/plain","delivery_mode":2,"priority":3,"timestamp":1700000000,"expiration":"60000","headers":{"n":1,"f":1.5,"s":"ä","t":{"a":[1,true,null]}}},"routing_key":"q","payload":"%s","payload_encoding":"%s"}`
	r.ask("POST", "exchanges/%2F/amq.default/publish", fmt.Sprintf(body, "häll", "string")).want(200, `{"routed":true}`)
	r.ask("POST", "exchanges/%2F/amq.default/publish", fmt.Sprintf(body, base64.StdEncoding.EncodeToString([]byte{0xff, 0, 1}), "base64")).want(200, `{"routed":true}`)
	r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"nowhere","payload":"","payload_encoding":"string"}`).want(200, `{"routed":false}`)
	get := func(count, mode, encoding string, more string) []map[string]any {
		return r.ask("POST", "queues/%2F/q/get", `{"count":`+count+`,"ackmode":"`+mode+`","encoding":"`+encoding+`"`+more+`}`).want(200).list()
	}
	first := get("5", "ack_requeue_true", "auto", "")
	if len(first) != 2 || first[0]["payload"] != "häll" || first[0]["payload_bytes"] != 5.0 || first[0]["redelivered"] != false || first[0]["message_count"] != 1.0 || first[1]["payload_encoding"] != "base64" {
		t.Fatal(first)
	}
	properties := first[0]["properties"].(map[string]any)
	if fmt.Sprint(properties["headers"]) != "map[f:1.5 n:1 s:ä t:map[a:[1 true <nil>]]]" || properties["delivery_mode"] != 2.0 || properties["expiration"] != "60000" || properties["timestamp"] != 1.7e9 {
		t.Error(properties)
	}
	again := get(`"1"`, "reject_requeue_true", "base64", `,"truncate":2`)
	if len(again) != 1 || again[0]["redelivered"] != true || again[0]["payload"] != base64.StdEncoding.EncodeToString([]byte("h\xc3")) || again[0]["payload_bytes"] != 5.0 {
		t.Fatal(again)
	}
	if taken := get("-1", "ack_requeue_false", "auto", ""); len(taken) != 2 {
		t.Fatal(taken)
	}
	r.ask("POST", "queues/%2F/q/get", `{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}`).want(200, "[]")
	r.ask("POST", "queues/%2F/q/get", `{"count":1,"ackmode":"odd","encoding":"auto"}`).want(400, "ackmode")
	r.ask("POST", "queues/%2F/q/get", `{}`).want(400, "{key_missing,count}", "{key_missing,ackmode}", "{key_missing,encoding}")
	r.ask("POST", "queues/%2F/none/get", `{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}`).want(404)
	for properties, want := range map[string]string{`{"priority":"a"}`: "not_int", `{"expiration":5}`: "'expiration'", `{"content_type":null}`: "content_type", `{"headers":5}`: "headers", `{"user_id":"other"}`: "user_id", `5`: "properties", `{"expiration":"soon"}`: "expiration"} {
		r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":`+properties+`,"routing_key":"q","payload":"","payload_encoding":"string"}`).want(400, want)
	}
	r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":[],"routing_key":"q","payload":"","payload_encoding":"hex"}`).want(400, "unsupported_encoding")
	r.ask("POST", "exchanges/%2F/none/publish", `{"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}`).want(404)
	r.ask("PUT", "queues/%2F/full", `{"arguments":{"x-max-length":1,"x-overflow":"reject-publish"}}`).want(201)
	for i, status := range []int{200, 400} {
		a := r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"full","payload":"","payload_encoding":"string"}`).want(status)
		if i == 1 {
			a.want(400, "Check queue limits")
		}
	}
	r.ask("DELETE", "queues/%2F/full/contents", "").want(204)
	r.ask("GET", "queues/%2F/full", "").want(200, `"messages":0`)
}

func TestConnectionsChannelsAndConsumersAreShown(t *testing.T) {
	r := start(t)
	conn, ch := r.channel()
	if err := ch.Qos(7, 0, false); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("mine", false, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("q", "tag", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	c := r.ask("GET", "connections", "").want(200).list()[0]
	for name, want := range map[string]any{"user": "guest", "vhost": "/", "protocol": "AMQP 0-9-1", "state": "running", "channels": 1.0, "ssl": false, "auth_mechanism": "PLAIN", "timeout": 10.0} {
		if c[name] != want {
			t.Errorf("%s is %v, not %v", name, c[name], want)
		}
	}
	if c["client_properties"].(map[string]any)["capabilities"].(map[string]any)["basic.nack"] != true {
		t.Error(c["client_properties"])
	}
	name := strings.ReplaceAll(c["name"].(string), " ", "%20")
	r.ask("GET", "connections/"+name, "").want(200, `"name":"`+strings.ReplaceAll(c["name"].(string), ">", `\u003e`))
	r.ask("GET", "connections/"+name+"/channels", "").want(200, `"confirm":true`, `"prefetch_count":7`, `"consumer_count":1`)
	r.ask("GET", "channels/"+name+"%20(1)", "").want(200, `"consumer_tag":"tag"`, `"transactional":false`)
	r.ask("GET", "vhosts/%2F/channels", "").want(200, `"number":1`)
	r.ask("GET", "consumers/%2F", "").want(200, `"consumer_tag":"tag"`, `"ack_required":true`, `"prefetch_count":7`, `"exclusive":true`, `"activity_status":"up"`, `"queue":{"name":"q","vhost":"/"}`, `"number":1`)
	r.ask("GET", "queues/%2F/q", "").want(200, `"exclusive_consumer_tag":"tag"`, `"consumers":1`)
	if o, _ := r.ask("GET", "queues/%2F/mine", "").want(200).object()["owner_pid_details"].(map[string]any); o["name"] != c["name"] {
		t.Error(o)
	}
	r.ask("GET", "connections/username/guest", "").want(200, `"user":"guest"`)
	r.ask("GET", "connections/username/nobody", "").want(200, "[]")
	r.ask("GET", "connections/none", "").want(404)
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	r.ask("DELETE", "connections/"+name, "", "X-Reason", "because").want(204)
	if err := <-closed; err == nil || err.Code != 320 || err.Reason != "CONNECTION_FORCED - because" {
		t.Error(err)
	}
	conn, _ = r.channel()
	closed = conn.NotifyClose(make(chan *amqp.Error, 1))
	r.ask("DELETE", "connections/username/guest", "").want(204)
	if err := <-closed; err == nil || err.Reason != "CONNECTION_FORCED - Closed via management plugin" {
		t.Error(err)
	}
}

func TestTheNodeIsWell(t *testing.T) {
	r := start(t)
	node := r.ask("GET", "nodes", "").want(200).list()[0]
	for name, kind := range map[string]string{"name": "string", "os_pid": "string", "uptime": "float64", "run_queue": "float64", "processors": "float64", "fd_total": "float64", "proc_total": "float64", "mem_used": "float64",
		"mem_limit": "float64", "mem_alarm": "bool", "disk_free": "float64", "disk_free_limit": "float64", "disk_free_alarm": "bool", "rates_mode": "string", "being_drained": "bool", "running": "bool"} {
		if got := fmt.Sprintf("%T", node[name]); got != kind {
			t.Errorf("%s is %s", name, got)
		}
	}
	name := node["name"].(string)
	r.ask("GET", "nodes/"+name+"?memory=true", "").want(200, `"memory":{`)
	r.ask("GET", "nodes/"+name+"/memory", "").want(200, `"total":{"rss":`, `"queue_procs":`)
	r.ask("GET", "nodes/rabbit@elsewhere", "").want(404)
	for _, check := range []string{"alarms", "local-alarms", "virtual-hosts", "node-is-quorum-critical", "protocol-listener/amqp", "protocol-listener/mqtt,amqp091", "certificate-expiration/4/weeks", "port-listener/" + port(r.Addr("amqp")),
		"is-in-service", "ready-to-serve-clients", "below-node-connection-limit", "reached-target-cluster-size", "metadata-store/initialized", "metadata-store/initialized/with-data",
		"quorum-queues-without-elected-leaders/all-vhosts/pattern/.*", "quorum-queues-without-elected-leaders/vhost/%2F/pattern/%5Eq"} {
		r.ask("GET", "health/checks/"+check, "").want(200, `"status":"ok"`)
	}
	r.ask("GET", "health/checks/port-listener/1", "").want(503, `"status":"failed"`, `"missing":1`, "No active listener")
	r.ask("GET", "health/checks/protocol-listener/mqtt", "").want(503, `"missing":"mqtt"`, `"amqp"`)
	r.ask("GET", "health/checks/port-listener/x", "").want(400)
	r.ask("GET", "health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/(", "").want(400)
	r.ask("GET", "health/checks/certificate-expiration/4/fortnights", "").want(400)
	r.ask("GET", "aliveness-test/%2F", "").want(200, `{"status":"ok"}`)
	o := r.ask("GET", "overview", "").want(200).object()
	if o["rabbitmq_version"] != "4.0.5" || o["product_name"] != "Leveret" || len(o["listeners"].([]any)) < 4 || o["object_totals"].(map[string]any)["queues"] != 1.0 {
		t.Error(o)
	}
}

func port(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }

// What goes through a queue is counted by how it went.
func TestTrafficIsCounted(t *testing.T) {
	r := start(t)
	_, ch := r.channel()
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	publish := func(key string, mandatory bool) {
		t.Helper()
		confirm, err := ch.PublishWithDeferredConfirm("", key, mandatory, false, amqp.Publishing{Body: []byte("12345"), DeliveryMode: 2})
		if err != nil {
			t.Fatal(err)
		}
		confirm.Wait()
	}
	for range 4 {
		publish("q", false)
	}
	publish("nowhere", false)
	publish("nowhere", true)
	if _, ok, err := ch.Get("q", true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	m, _, err := ch.Get("q", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Nack(false, true); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m := <-deliveries
		if err := m.Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	a := r.until("overview", func(a answer) bool { return strings.Contains(a.body, `"ack":2`) })
	stats := a.object()["message_stats"].(map[string]any)
	for name, want := range map[string]float64{"publish": 6, "confirm": 6, "return_unroutable": 1, "drop_unroutable": 1, "get": 1, "get_no_ack": 1, "deliver": 3, "deliver_get": 5, "redeliver": 1, "ack": 2} {
		if stats[name] != want {
			t.Errorf("%s is %v, not %v", name, stats[name], want)
		}
	}
	q := r.ask("GET", "queues/%2F/q?msg_rates_age=60&msg_rates_incr=5", "").want(200).object()
	for name, want := range map[string]float64{"messages": 1, "messages_unacknowledged": 1, "message_bytes": 5, "message_bytes_unacknowledged": 5, "messages_persistent": 1} {
		if q[name] != want {
			t.Errorf("%s is %v, not %v", name, q[name], want)
		}
	}
	details := q["message_stats"].(map[string]any)["publish_details"].(map[string]any)
	if samples, ok := details["samples"].([]any); !ok || len(samples) != 13 {
		t.Error(details)
	}
}

// What is rejected without going back is a dead letter, and what is acked is none.
func TestARejectedMessageIsADeadLetter(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/dead", "{}").want(201)
	r.ask("PUT", "queues/%2F/q", `{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"dead"}}`).want(201)
	for _, mode := range []string{"ack_requeue_false", "reject_requeue_false"} {
		r.send("q", mode)
		r.ask("POST", "queues/%2F/q/get", `{"count":1,"ackmode":"`+mode+`","encoding":"auto"}`).want(200, mode)
	}
	r.until("queues/%2F/dead", func(a answer) bool { return strings.Contains(a.body, `"messages_ready":1,`) })
	r.ask("POST", "queues/%2F/dead/get", `{"count":2,"ackmode":"ack_requeue_false","encoding":"auto"}`).want(200, `"payload":"reject_requeue_false"`, `"reason":"rejected"`)
}

// What a channel holds for its client is told while it does.
func TestAChannelTellsWhatIsNotCommitted(t *testing.T) {
	r := start(t)
	_, ch := r.channel()
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	r.send("q", "one")
	if err := ch.Tx(); err != nil {
		t.Fatal(err)
	}
	m, _, err := ch.Get("q", false)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := ch.Publish("", "q", false, false, amqp.Publishing{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Ack(false); err != nil {
		t.Fatal(err)
	}
	r.until("channels", func(a answer) bool {
		return strings.Contains(a.body, `"messages_unconfirmed":0,"messages_uncommitted":3,"acks_uncommitted":1`)
	})
	if err := ch.TxCommit(); err != nil {
		t.Fatal(err)
	}
	r.ask("GET", "channels", "").want(200, `"messages_uncommitted":0,"acks_uncommitted":0`)
}

// How old what waits is can be asked of one queue and of many.
func TestAQueueTellsHowOldItsOldestMessageIs(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	r.ask("GET", "queues/%2F/q", "").want(200, `"head_message_timestamp":null,"oldest_message_at":null`)
	before := time.Now().UnixMilli()
	r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{"timestamp":77},"routing_key":"q","payload":"x","payload_encoding":"string"}`).want(200, "true")
	r.send("q", "another")
	for _, path := range []string{"queues/%2F/q", "queues"} {
		var one struct {
			Head   int64 `json:"head_message_timestamp"`
			Oldest int64 `json:"oldest_message_at"`
		}
		a := r.ask("GET", path, "")
		a.body = strings.Trim(a.body, "[]")
		if a.into(&one); one.Head != 77 || one.Oldest < before || one.Oldest > time.Now().UnixMilli() {
			t.Errorf("%s: %+v, published from %d on", path, one, before)
		}
	}
	r.ask("POST", "queues/%2F/q/get", `{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}`).want(200, `"x"`)
	r.ask("GET", "queues/%2F/q", "").want(200, `"head_message_timestamp":null,"oldest_message_at":1`)
}

func TestANodeTellsWhatWaitsForAProcessor(t *testing.T) {
	r := start(t)
	var stop atomic.Bool
	defer stop.Store(true)
	for range 4 * runtime.GOMAXPROCS(0) {
		go func() {
			for !stop.Load() { // it is runnable, or runs
				runtime.Gosched()
			}
		}()
	}
	r.until("nodes", func(a answer) bool { return !strings.Contains(a.body, `"run_queue":0,`) })
}

func TestAnExchangeTellsWhatWasPublishedToIt(t *testing.T) {
	r := start(t)
	r.ask("PUT", "exchanges/%2F/x", `{"type": "fanout"}`).want(201)
	r.ask("GET", "exchanges/%2F/x", "").want(200, `"message_stats":{}`)
	for _, q := range []string{"a", "b"} {
		r.ask("PUT", "queues/%2F/"+q, `{}`).want(201)
		r.ask("POST", "bindings/%2F/e/x/q/"+q, `{}`).want(201)
	}
	r.ask("POST", "exchanges/%2F/x/publish", `{"properties": {}, "routing_key": "", "payload": "m", "payload_encoding": "string"}`).want(200)
	r.ask("GET", "exchanges/%2F/x", "").want(200, `"publish_in":1,`, `"publish_out":2,`)
	r.ask("GET", "exchanges?columns=name,message_stats.publish_in", "").want(200, `"publish_in":1`)
}

// AMQP has a byte for the length of a name: what is longer could be delivered to none of its clients.
func TestNamesAreAsLongAsAMQPCanSay(t *testing.T) {
	r := start(t)
	fits := strings.Repeat("n", 255)
	for _, kind := range []string{"queues", "exchanges"} {
		r.ask("PUT", kind+"/%2F/"+fits, "{}").want(201)
		r.ask("PUT", kind+"/%2F/"+fits+"n", "{}").want(400, "256 bytes")
	}
	bind, publish := "bindings/%2F/e/amq.topic/q/"+fits, "exchanges/%2F/amq.topic/publish"
	r.ask("POST", bind, `{"routing_key":"`+fits+`"}`).want(201)
	r.ask("POST", bind, `{"routing_key":"`+fits+`n"}`).want(400, "256 bytes")
	r.ask("POST", publish, `{"properties":{},"routing_key":"`+fits+`","payload":"x","payload_encoding":"string"}`).want(200, `"routed":true`)
	r.ask("POST", publish, `{"properties":{},"routing_key":"`+fits+`n","payload":"x","payload_encoding":"string"}`).want(400, "longer than 255 bytes")
}
