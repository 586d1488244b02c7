package management_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// dial opens a connection, and a channel that tells why either was closed.
func (r *rig) dial(user, password, vhost string) (*amqp.Connection, *amqp.Channel, chan *amqp.Error) {
	r.t.Helper()
	conn, err := amqp.DialConfig("amqp://"+user+":"+password+"@"+r.Addr("amqp")+"/", amqp.Config{Vhost: vhost, Heartbeat: 10 * time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	ch, err := conn.Channel()
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, ch, closed
}

// refusedDial is why a connection is not let in.
func (r *rig) refusedDial(user, password, vhost string) string {
	r.t.Helper()
	conn, err := amqp.DialConfig("amqp://"+user+":"+password+"@"+r.Addr("amqp")+"/", amqp.Config{Vhost: vhost})
	if err == nil {
		_ = conn.Close()
		return ""
	}
	return err.Error()
}

// queue looks for a queue over AMQP: whether it is there, and how many messages it has.
func (r *rig) queue(vhost, name string) (there bool, messages int) {
	r.t.Helper()
	conn, ch, _ := r.dial("guest", "guest", vhost)
	defer conn.Close()
	q, err := ch.QueueDeclarePassive(name, false, false, false, false, nil)
	return err == nil, q.Messages
}

// gone waits for a connection's end and returns why.
func gone(t *testing.T, closed chan *amqp.Error) string {
	t.Helper()
	select {
	case err := <-closed:
		if err == nil {
			return "closed without a word"
		}
		return err.Reason
	case <-time.After(40 * time.Second):
		t.Fatal("the connection is still there")
		return ""
	}
}

const everything = `{"configure":".*","write":".*","read":".*"}`

func TestAVirtualHostComesAndGoesOverHTTP(t *testing.T) {
	r := start(t)
	r.ask("GET", "vhosts/v", "").want(404, `"Object Not Found"`)
	r.ask("PUT", "vhosts/v", `{"description":"d","tags":"a, b","default_queue_type":"quorum"}`).want(201)
	r.ask("PUT", "vhosts/a%2Fb%20%23", "").want(201)
	r.ask("PUT", "vhosts/a%2Fb%20%23", `{"tracing":true}`).want(204)
	r.ask("GET", "vhosts/a%2Fb%20%23", "").want(200, `"tracing":false`)
	v := r.ask("GET", "vhosts/v", "").want(200).object()
	if m, ok := v["metadata"].(map[string]any); !ok || m["default_queue_type"] != "quorum" {
		t.Errorf("%v", v["metadata"])
	}
	if v["description"] != "d" || fmt.Sprint(v["tags"]) != "[a b]" || v["default_queue_type"] != "quorum" || v["tracing"] != false || v["protected_from_deletion"] != false {
		t.Errorf("%v", v)
	}
	r.ask("PUT", "vhosts/v", `{}`).want(204)
	if v := r.ask("GET", "vhosts/v", "").object(); v["description"] != "" || len(v["tags"].([]any)) != 0 || v["default_queue_type"] != "quorum" {
		t.Errorf("a later PUT clears what it does not say but the type of queue: %v", v)
	}
	var names []string
	for _, v := range r.ask("GET", "vhosts", "").want(200).list() {
		names = append(names, v["name"].(string))
	}
	if strings.Join(names, " ") != "/ a/b # v" {
		t.Errorf("%q", names)
	}
	// Who makes one may do everything in it; the type of queue is obeyed.
	_, ch, closed := r.dial("guest", "guest", "v")
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Errorf("what says no type is not of the virtual host's: %v", err)
	}
	deliveries, err := ch.Consume("q", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Publish("", "q", false, false, amqp.Publishing{Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	<-deliveries
	r.askRaw("PUT", "/api/vhosts//", "").want(204) // as some clients write it
	r.askRaw("GET", "/api/vhosts//", "").want(200, `"name":"/"`)
	r.askRaw("DELETE", "/api/vhosts//", "").want(404)
	r.ask("GET", "vhosts/%2F", "").want(200)
	r.ask("DELETE", "vhosts/v", "").want(204)
	if why := gone(t, closed); !strings.Contains(why, "vhost 'v' is deleted") {
		t.Errorf("the client was told %q", why)
	}
	r.ask("DELETE", "vhosts/v", "").want(404)
	if why := r.refusedDial("guest", "guest", "v"); !strings.Contains(why, "vhost v not found") {
		t.Errorf("%q", why)
	}
	r.ask("GET", "permissions/v/guest", "").want(404)
	r.ask("PUT", "vhosts/v", "").want(201)
	if there, _ := r.queue("v", "q"); there {
		t.Error("the new one holds what the old one did")
	}
	for body, text := range map[string]string{
		`{"default_queue_type":"bogus"}`: "bogus is not a valid queue type",
		`{"tags":5}`:                     "'tags' must be",
		`{"tags":[5]}`:                   "'tags' must be",
		`{"description":5}`:              "'description' must be a string",
		`{"tracing":"maybe"}`:            "tracing",
		`[]`:                             "not_json",
		`{`:                              "not_json",
	} {
		r.ask("PUT", "vhosts/w", body).want(400, text)
	}
	r.ask("GET", "vhosts/w", "").want(404)
	r.ask("PUT", "vhosts/"+strings.Repeat("x", 256), "").want(400, "longer than 255")
}

func TestAProtectedVirtualHostIsNotDeleted(t *testing.T) {
	r := start(t)
	r.ask("PUT", "vhosts/v", `{"protected_from_deletion":true}`).want(201)
	r.ask("DELETE", "vhosts/v", "").want(412, "Refusing to delete virtual host 'v' because it is protected from deletion")
	r.ask("PUT", "vhosts/v", `{"description":"still"}`).want(204)
	r.ask("DELETE", "vhosts/v", "").want(412)
	r.ask("DELETE", "vhosts/v/deletion/protection", "").want(204)
	r.ask("POST", "vhosts/v/deletion/protection", "").want(204)
	r.ask("DELETE", "vhosts/v", "").want(412)
	r.ask("DELETE", "vhosts/v/deletion/protection", "").want(204)
	r.ask("DELETE", "vhosts/v", "").want(204)
	r.ask("POST", "vhosts/v/deletion/protection", "").want(404)
}

func TestAUserComesAndGoesOverHTTP(t *testing.T) {
	r := start(t)
	r.ask("PUT", "users/ann", `{"password":"s3cret"}`).want(400, "tags_not_present")
	r.ask("PUT", "users/ann", `{"password":"s3cret","tags":5}`).want(400, "'tags' must be")
	r.ask("PUT", "users/ann", `{"password":"a","password_hash":"b","tags":""}`).want(400, "both_password_and_password_hash_are_provided")
	r.ask("PUT", "users/ann", `{"password_hash":"?","tags":""}`).want(400, "base64")
	r.ask("PUT", "users/ann", `{"password_hash":"","hashing_algorithm":"rot13","tags":""}`).want(400, "rot13")
	r.ask("GET", "users/ann", "").want(404, `"Object Not Found"`)
	r.ask("PUT", "users/ann", `{"password":"s3cret","tags":"management, odd"}`).want(201)
	u := r.ask("GET", "users/ann", "").want(200).object()
	if u["name"] != "ann" || fmt.Sprint(u["tags"]) != "[management odd]" || u["password_hash"] == "" || u["hashing_algorithm"] == "" {
		t.Errorf("%v", u)
	}
	if list := r.ask("GET", "users/without-permissions", "").want(200).list(); len(list) != 1 || list[0]["name"] != "ann" {
		t.Errorf("%v", list)
	}
	if why := r.refusedDial("ann", "s3cret", "/"); !strings.Contains(why, "refused for user 'ann'") {
		t.Errorf("without a permission: %q", why)
	}
	r.ask("PUT", "permissions/%2F/ann", everything).want(201)
	r.ask("PUT", "permissions/%2F/ann", everything).want(204)
	conn, _, closed := r.dial("ann", "s3cret", "/")
	r.ask("PUT", "users/ann", `{"password":"other","tags":["monitoring"]}`).want(204)
	r.as("ann", "s3cret").ask("GET", "whoami", "").want(401)
	r.as("ann", "other").ask("GET", "whoami", "").want(200, `"tags":["monitoring"]`)
	if conn.IsClosed() {
		t.Error("a new password closes a connection")
	}
	r.ask("DELETE", "users/ann", "").want(204)
	if why := gone(t, closed); !strings.Contains(why, "user 'ann' is deleted") {
		t.Errorf("the client was told %q", why)
	}
	r.ask("DELETE", "users/ann", "").want(404)
	r.as("ann", "other").ask("GET", "whoami", "").want(401)
	r.ask("GET", "permissions/%2F/ann", "").want(404)
	// A hash of RabbitMQ's, nobody by password, and several at once.
	var hashed struct{ OK string }
	r.ask("GET", "auth/hash_password/"+"p%C3%A4ss%2Fword", "").want(200).into(&hashed)
	body, _ := json.Marshal(map[string]any{"password_hash": hashed.OK, "tags": "management"})
	r.ask("PUT", "users/hash", string(body)).want(201)
	r.ask("GET", "users/hash", "").want(200, hashed.OK, "rabbit_password_hashing_sha256")
	r.as("hash", "päss/word").ask("GET", "whoami", "").want(200)
	r.ask("PUT", "users/nobody", `{"tags":"management"}`).want(201)
	r.as("nobody", "").ask("GET", "whoami", "").want(401)
	r.ask("POST", "users/bulk-delete", `{"users":["hash","nobody","unknown"]}`).want(204)
	r.ask("POST", "users/bulk-delete", `{}`).want(400, "{key_missing,users}")
	r.ask("POST", "users/bulk-delete", `{"users":"hash"}`).want(400)
	r.ask("POST", "users/bulk-delete", `{"users":["nobody",null]}`).want(400, "users[1]")
	if list := r.ask("GET", "users", "").want(200).list(); len(list) != 1 || list[0]["name"] != "guest" {
		t.Errorf("%v", list)
	}
	r.ask("GET", "users?page=1&page_size=1", "").want(200, `"total_count":1`)
}

func TestAProtectedUserIsNotChangedOverHTTP(t *testing.T) {
	r := start(t)
	r.ask("PUT", "users/root", `{"password":"x","tags":"administrator,protected"}`).want(201)
	r.ask("PUT", "users/root", `{"password":"y","tags":""}`).want(401, "protected")
	r.ask("DELETE", "users/root", "").want(401, "protected")
	r.ask("PUT", "users/other", `{"tags":""}`).want(201)
	r.ask("POST", "users/bulk-delete", `{"users":["other","root"]}`).want(401, "protected")
	r.ask("GET", "users/other", "").want(200) // all of them or none
	r.as("root", "x").ask("GET", "whoami", "").want(200)
}

func TestPermissionsHoldAtOnce(t *testing.T) {
	r := start(t)
	r.ask("PUT", "users/ann", `{"password":"a","tags":""}`).want(201)
	for _, path := range []string{"permissions/none/ann", "permissions/%2F/none", "topic-permissions/none/ann", "topic-permissions/%2F/none"} {
		r.ask("PUT", path, `{}`).want(400, "vhost_or_user_not_found")
		r.ask("GET", path, "").want(404)
		r.ask("DELETE", path, "").want(404)
	}
	r.ask("PUT", "permissions/%2F/ann", `{"configure":""}`).want(400, "{key_missing,write}", "{key_missing,read}")
	r.ask("PUT", "permissions/%2F/ann", `{"configure":"[","write":"","read":""}`).want(400)
	r.ask("PUT", "permissions/%2F/ann", `{"configure":5,"write":"","read":""}`).want(400, "'configure' must be a string")
	r.ask("PUT", "permissions/%2F/ann", `{"configure":"^q","write":"^amq.default$","read":"^q"}`).want(201)
	want := `{"user":"ann","vhost":"/","configure":"^q","write":"^amq.default$","read":"^q"}`
	r.ask("GET", "permissions/%2F/ann", "").want(200, want)
	for _, path := range []string{"permissions", "vhosts/%2F/permissions", "users/ann/permissions"} {
		r.ask("GET", path, "").want(200, want)
	}
	_, ch, closed := r.dial("ann", "a", "/")
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	cancelled := ch.NotifyCancel(make(chan string, 1))
	if _, err := ch.Consume("q", "c", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	r.ask("PUT", "permissions/%2F/ann", `{"configure":"","write":"","read":""}`).want(204)
	select {
	case <-cancelled:
	case <-time.After(40 * time.Second):
		t.Error("who may not read any more still consumes")
	}
	r.ask("DELETE", "permissions/%2F/ann", "").want(204)
	if why := gone(t, closed); !strings.Contains(why, "refused for user 'ann'") {
		t.Errorf("%q", why)
	}
	r.ask("DELETE", "permissions/%2F/ann", "").want(404)
	r.ask("GET", "users/none/permissions", "").want(404)
}

func TestTopicPermissionsHoldAtOnce(t *testing.T) {
	r := start(t)
	r.ask("PUT", "users/ann", `{"password":"a","tags":""}`).want(201)
	r.ask("PUT", "permissions/%2F/ann", everything).want(201)
	r.ask("GET", "topic-permissions/%2F/ann", "").want(404)
	r.ask("PUT", "topic-permissions/%2F/ann", `{"exchange":"amq.topic","write":"^a"}`).want(400, "{key_missing,read}")
	r.ask("PUT", "topic-permissions/%2F/ann", `{"exchange":"amq.topic","write":"^a","read":"^b"}`).want(201)
	r.ask("PUT", "topic-permissions/%2F/ann", `{"exchange":"other","write":"","read":""}`).want(204)
	if a := r.ask("PUT", "topic-permissions/%2F/ann", `{"exchange":"other","write":"(","read":""}`).want(400, `invalid regular expression \"(\"`); strings.Contains(a.body, "record") {
		t.Error(a.body)
	}
	if list := r.ask("GET", "topic-permissions/%2F/ann/other", "").want(200).list(); len(list) != 1 || list[0]["exchange"] != "other" {
		t.Errorf("%v", list)
	}
	r.ask("GET", "topic-permissions/%2F/ann/none", "").want(404)
	want := `{"user":"ann","vhost":"/","exchange":"amq.topic","write":"^a","read":"^b"}`
	for _, path := range []string{"topic-permissions", "topic-permissions/%2F/ann", "vhosts/%2F/topic-permissions", "users/ann/topic-permissions"} {
		if list := r.ask("GET", path, "").want(200, want).list(); len(list) != 2 {
			t.Errorf("%s: %v", path, list)
		}
	}
	_, ch, _ := r.dial("ann", "a", "/")
	failed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Publish("amq.topic", "b", false, false, amqp.Publishing{}); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil || err.Code != amqp.AccessRefused {
		t.Errorf("%v", err)
	}
	r.ask("DELETE", "topic-permissions/%2F/ann/none", "").want(404)
	r.ask("DELETE", "topic-permissions/%2F/ann/other", "").want(204)
	r.ask("GET", "topic-permissions/%2F/ann", "").want(200, want)
	r.ask("DELETE", "topic-permissions/%2F/ann", "").want(204)
	r.ask("DELETE", "topic-permissions/%2F/ann", "").want(404)
}

func TestPoliciesHoldAtOnce(t *testing.T) {
	r := start(t)
	for _, kind := range []string{"policies", "operator-policies"} {
		for body, texts := range map[string][]string{
			`{}`:                               {"{key_missing,pattern}", "{key_missing,definition}"},
			`{"pattern":"^q","definition":{}}`: {`Validation failed\n\nno policy provided\n`},
			`{"pattern":"^q","definition":{"bogus":3}}`:                                          {`Validation failed\n\n[{\u003c\u003c\"bogus\"\u003e\u003e,3}] are not recognised policy settings\n`},
			`{"pattern":"^q","definition":{"ha-mode":"all"}}`:                                    {"ha-mode", "not recognised policy settings"},
			`{"pattern":"(","definition":{"max-length":3}}`:                                      {"pattern should be regular expression but is invalid"},
			`{"pattern":5,"definition":{"max-length":3}}`:                                        {"pattern should be"},
			`{"pattern":"^q","definition":{"max-length":-3}}`:                                    {"-3 is not a valid maximum length"},
			`{"pattern":"^q","definition":{"max-length":"3"}}`:                                   {"is not a valid maximum length"},
			`{"pattern":"^q","definition":{"max-length":3},"apply-to":"x"}`:                      {"apply-to 'x' unrecognised; should be one of"},
			`{"pattern":"^q","definition":{"max-length":3},"apply-to":5}`:                        {"apply-to '5' unrecognised"},
			`{"pattern":"^q","definition":{"max-length":3},"priority":"1"}`:                      {`priority should be a number, actually was \u003c\u003c\"1\"\u003e\u003e`},
			`{"pattern":"^q","definition":{"max-length":3},"priority":1.5}`:                      {"priority should be a number, actually was 1.5"},
			`{"pattern":"^q","definition":"max-length"}`:                                         {"definition must be a dictionary"},
			`{"pattern":"^q","definition":[]}`:                                                   {"definition must be a dictionary"},
			`{"pattern":"^q","definition":{"max-length":3},"definition":{"max-length":"twice"}}`: {"is not a valid maximum length"},
		} {
			r.ask("PUT", kind+"/%2F/p", body).want(400, texts...)
		}
		r.ask("PUT", kind+"/none/p", `{"pattern":"^q","definition":{"max-length":3}}`).want(404, `"not_found"`, "vhost_not_found")
		r.ask("GET", kind+"/none", "").want(404)
		r.ask("GET", kind+"/%2F/p", "").want(404)
		r.ask("DELETE", kind+"/%2F/p", "").want(404)
	}
	r.ask("PUT", "operator-policies/%2F/p", `{"pattern":"^q","definition":{"dead-letter-exchange":"x"}}`).want(400, "dead-letter-exchange")
	_, ch, _ := r.dial("guest", "guest", "/")
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		d, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: []byte("x")})
		if err != nil || !d.Wait() {
			t.Fatal(err)
		}
	}
	count := func() int {
		t.Helper()
		_, n := r.queue("/", "q")
		return n
	}
	r.ask("PUT", "policies/%2F/p", `{"pattern":"^q","definition":{"max-length":3},"priority":2}`).want(201)
	if n := count(); n != 3 {
		t.Errorf("%d messages", n)
	}
	r.ask("PUT", "operator-policies/%2F/p", `{"pattern":"^q","definition":{"max-length":2},"apply-to":"queues"}`).want(201)
	if n := count(); n != 2 {
		t.Errorf("%d messages", n)
	}
	want := `{"vhost":"/","name":"p","pattern":"^q","apply-to":"all","definition":{"max-length":3},"priority":2}`
	for _, path := range []string{"policies", "policies/%2F", "policies/%2F/p"} {
		r.ask("GET", path, "").want(200, want)
	}
	r.ask("GET", "operator-policies/%2F/p", "").want(200, `"apply-to":"queues"`)
	r.ask("PUT", "policies/%2F/p", `{"pattern":"^q","definition":{"max-length":4}}`).want(204)
	r.ask("DELETE", "policies/%2F/p", "").want(204)
	r.ask("DELETE", "operator-policies/%2F/p", "").want(204)
	for range 3 {
		if err := ch.Publish("", "q", false, false, amqp.Publishing{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	d, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: []byte("x")})
	if err != nil || !d.Wait() {
		t.Fatal(err)
	}
	if n := count(); n != 6 {
		t.Errorf("%d messages where no policy is left", n)
	}
}

func TestLimitsHoldAtOnce(t *testing.T) {
	r := start(t)
	const sent, kind = "Content-Type", "application/json"
	r.ask("PUT", "vhosts/v", "").want(201)
	r.ask("PUT", "users/ann", `{"password":"a","tags":"management"}`).want(201)
	r.ask("PUT", "permissions/v/ann", everything).want(201)
	for _, of := range []string{"vhost-limits/v/", "user-limits/ann/"} {
		r.ask("PUT", of+"max-connections", `{"value":1}`).want(415)
		r.ask("PUT", of+"max-connections", `{}`, sent, kind).want(400, "{key_missing,value}")
		r.ask("PUT", of+"max-connections", `{"value":"a"}`, sent, kind).want(400, "max-connections should be number, actually was")
		r.ask("PUT", of+"max-connections", `{"value":1.5}`, sent, kind).want(400, "1.5")
		r.ask("PUT", of+"max-connections", `{"value":-2}`, sent, kind).want(400, "max-connections")
		r.ask("PUT", of+"bogus", `{"value":1}`, sent, kind).want(400, "bogus")
		r.ask("DELETE", of+"bogus", "").want(400, "bogus")
	}
	r.ask("PUT", "vhost-limits/none/max-queues", `{"value":1}`, sent, kind).want(404, "vhost_not_found")
	r.ask("PUT", "user-limits/none/max-channels", `{"value":1}`, sent, kind).want(404, "user_not_found")
	for _, path := range []string{"vhost-limits", "vhost-limits/v", "user-limits", "user-limits/ann"} {
		if a := r.ask("GET", path, "").want(200); a.body != "[]" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	r.ask("PUT", "vhost-limits/v/max-queues", `{"value":1}`, sent, kind).want(204)
	r.ask("PUT", "vhost-limits/v/max-connections", `{"value":-1}`, sent, kind).want(204)
	for _, path := range []string{"vhost-limits", "vhost-limits/v"} {
		r.ask("GET", path, "").want(200, `[{"vhost":"v","value":{"max-connections":-1,"max-queues":1}}]`)
	}
	_, ch, _ := r.dial("ann", "a", "v")
	if _, err := ch.QueueDeclare("a", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("b", false, false, false, false, nil); err == nil || !strings.Contains(err.Error(), "queue limit in vhost 'v' (1) is reached") {
		t.Errorf("%v", err)
	}
	r.ask("PUT", "vhost-limits/v/max-connections", `{"value":0}`, sent, kind).want(204)
	if why := r.refusedDial("ann", "a", "v"); !strings.Contains(why, "connection limit (0) is reached") {
		t.Errorf("%q", why)
	}
	r.ask("DELETE", "vhost-limits/v/max-connections", "").want(204)
	r.ask("DELETE", "vhost-limits/v/max-connections", "").want(204)
	r.ask("PUT", "user-limits/ann/max-connections", `{"value":1}`, sent, kind).want(204)
	if why := r.refusedDial("ann", "a", "v"); !strings.Contains(why, "user connection limit (1) is reached") {
		t.Errorf("%q", why)
	}
	r.ask("GET", "user-limits", "").want(200, `[{"user":"ann","value":{"max-connections":1}}]`)
	r.as("ann", "a").ask("GET", "user-limits/ann", "").want(200, `"max-connections":1`)
	r.as("ann", "a").ask("GET", "user-limits/guest", "").want(401)
	r.ask("PUT", "user-limits/guest/max-channels", `{"value":1000}`, sent, kind).want(204)
	if list := r.as("ann", "a").ask("GET", "user-limits", "").want(200).list(); len(list) != 1 || list[0]["user"] != "ann" {
		t.Errorf("%v", list)
	}
	r.ask("GET", "users/ann", "").want(200, `"limits":{"max-connections":1}`)
	r.ask("DELETE", "user-limits/ann/max-connections", "").want(204)
	if why := r.refusedDial("ann", "a", "v"); why != "" {
		t.Errorf("%q", why)
	}
}

func TestParametersAreThoseOfComponentsThatAreHere(t *testing.T) {
	r := start(t)
	limits := "parameters/vhost-limits/%2F/limits"
	r.ask("PUT", "parameters/shovel/%2F/s", `{"value":{"src-uri":"amqp://"}}`).want(400, `Validation failed\n\ncomponent shovel not found\n`)
	r.ask("PUT", "parameters/shovel/%2F/s", `{}`).want(400, "{key_missing,value}")
	r.ask("GET", "parameters/bogus", "").want(200, "[]")
	r.ask("GET", "parameters/shovel", "").want(200, "[]")
	r.ask("PUT", limits, `{"value":{"max-queues":7}}`).want(201)
	r.ask("PUT", limits, `{"value":{"max-queues":8}}`).want(204)
	r.ask("PUT", limits, `{"value":{"max-queues":"8"}}`).want(400, "max-queues should be number")
	r.ask("PUT", limits, `{"value":8}`).want(400, "should be an object")
	r.ask("PUT", limits, `{}`).want(400, "{key_missing,value}")
	r.ask("GET", "vhost-limits/%2F", "").want(200, `"max-queues":8`)
	r.ask("PUT", "parameters/operator_policy/%2F/o", `{"value":{"pattern":"^o","definition":{"max-length":5}}}`).want(201)
	r.ask("GET", "operator-policies/%2F/o", "").want(200)
	for path, n := range map[string]int{"parameters": 2, "parameters/vhost-limits": 1, "parameters/operator_policy/%2F": 1} {
		if list := r.ask("GET", path, "").want(200).list(); len(list) != n {
			t.Errorf("%s: %v", path, list)
		}
	}
	r.ask("GET", limits, "").want(200, `{"value":{"max-queues":8},"vhost":"/","component":"vhost-limits","name":"limits"}`)
	// They are administrators', who else may write parameters.
	r.ask("PUT", "users/pol", `{"password":"p","tags":"policymaker"}`).want(201)
	r.ask("PUT", "permissions/%2F/pol", everything).want(201)
	pol := r.as("pol", "p")
	pol.ask("PUT", limits, `{"value":{"max-queues":100}}`).want(401, "Not administrator user")
	pol.ask("DELETE", limits, "").want(401)
	pol.ask("PUT", "parameters/operator_policy/%2F/o", `{"value":{"pattern":"^o","definition":{"max-length":50}}}`).want(401)
	pol.ask("DELETE", "parameters/operator_policy/%2F/o", "").want(401)
	r.ask("DELETE", limits, "").want(204)
	r.ask("DELETE", limits, "").want(404)
	r.ask("DELETE", "parameters/operator_policy/%2F/o", "").want(204)
	if list := r.ask("GET", "parameters", "").want(200).list(); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

func TestGlobalParametersAndTheNameOfTheCluster(t *testing.T) {
	r := start(t)
	first := r.ask("GET", "cluster-name", "").want(200).object()["name"].(string)
	if !strings.HasPrefix(first, "rabbit@") {
		t.Errorf("%q", first)
	}
	r.ask("GET", "global-parameters/cluster_name", "").want(200, first)
	r.ask("PUT", "cluster-name", `{"name":5}`).want(400, "'name' must be a string")
	r.ask("PUT", "cluster-name", `{}`).want(400, "{key_missing,name}")
	r.ask("PUT", "cluster-name", `{"name":"ours <b>"}`).want(204)
	if name := r.ask("GET", "cluster-name", "").object()["name"]; name != "ours <b>" {
		t.Errorf("%v", name)
	}
	r.ask("PUT", "global-parameters/mqtt%2Fx", `{"value":{"a":[1,null]}}`).want(201)
	r.ask("PUT", "global-parameters/mqtt%2Fx", `{"value":null}`).want(204)
	r.ask("GET", "global-parameters/mqtt%2Fx", "").want(200, `{"name":"mqtt/x","value":null}`)
	if list := r.ask("GET", "global-parameters", "").want(200).list(); len(list) != 2 {
		t.Errorf("%v", list)
	}
	r.ask("PUT", "global-parameters/none", `{}`).want(400, "{key_missing,value}")
	r.ask("DELETE", "global-parameters/mqtt%2Fx", "").want(204)
	r.ask("DELETE", "global-parameters/mqtt%2Fx", "").want(404)
	r.ask("DELETE", "global-parameters/cluster_name", "").want(204)
	if name := r.ask("GET", "cluster-name", "").object()["name"]; name != first {
		t.Errorf("%v", name)
	}
}

// What is changed over HTTP reaches connections of every protocol.
func TestDeletionClosesConnectionsOfEveryProtocol(t *testing.T) {
	r := start(t)
	stomp := func(vhost string) *bufio.Reader {
		t.Helper()
		conn, err := net.Dial("tcp", r.Addr("stomp"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "CONNECT\naccept-version:1.2\nhost:%s\nlogin:ann\npasscode:a\n\n\x00", vhost); err != nil {
			t.Fatal(err)
		}
		from := bufio.NewReader(conn)
		if frame, err := from.ReadString(0); err != nil || !strings.HasPrefix(frame, "CONNECTED") {
			t.Fatalf("%q %v", frame, err)
		}
		return from
	}
	kafka := func() (conn net.Conn) {
		t.Helper()
		dial := func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return conn, err
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(r.Addr("kafka")), kgo.SASL(plain.Auth{User: "ann", Pass: "a"}.AsMechanism()), kgo.Dialer(dial))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := client.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		return conn // from which the client does not read while it asks nothing
	}
	begin := func() {
		t.Helper()
		r.ask("PUT", "vhosts/v", "")
		r.ask("PUT", "users/ann", `{"password":"a","tags":""}`)
		r.ask("PUT", "permissions/v/ann", everything).want(201)
	}
	for _, c := range []struct{ path, why string }{{"users/ann", "user 'ann' is deleted"}, {"vhosts/v", "vhost 'v' is deleted"}, {"permissions/v/ann", "refused for user 'ann'"}} {
		begin()
		_, _, amqpClosed := r.dial("ann", "a", "v")
		from := stomp("v")
		conn := kafka()
		r.ask("DELETE", c.path, "").want(204)
		if why := gone(t, amqpClosed); !strings.Contains(why, c.why) {
			t.Errorf("%s: AMQP: %q", c.path, why)
		}
		if frame, err := from.ReadString(0); err != nil || !strings.Contains(frame, "ERROR") || !strings.Contains(frame, c.why) {
			t.Errorf("%s: STOMP: %q %v", c.path, frame, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(40 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: Kafka: %d %v", c.path, n, err)
		}
	}
}

func TestLoginsAreCountedByProtocol(t *testing.T) {
	r := start(t)
	node := r.ask("GET", "overview", "").want(200).object()["node"].(string)
	count := func(protocol, what string) float64 {
		t.Helper()
		for _, o := range r.ask("GET", "auth/attempts/"+node, "").want(200).list() {
			if o["protocol"] == protocol {
				return o[what].(float64)
			}
		}
		return 0
	}
	before := count("http", "auth_attempts")
	r.dial("guest", "guest", "/")
	r.refusedDial("guest", "wrong", "/")
	r.as("guest", "wrong").ask("GET", "whoami", "").want(401)
	if all, good, bad := count("amqp091", "auth_attempts"), count("amqp091", "auth_attempts_succeeded"), count("amqp091", "auth_attempts_failed"); all != 2 || good != 1 || bad != 1 {
		t.Errorf("AMQP: %v, %v, %v", all, good, bad)
	}
	if bad := count("http", "auth_attempts_failed"); bad != 1 || count("http", "auth_attempts") <= before {
		t.Errorf("HTTP: %v refused", bad)
	}
	if a := r.ask("GET", "auth/attempts/"+node, ""); strings.Contains(a.body, "kafka") || strings.Contains(a.body, "xmpp") {
		t.Errorf("it names protocols that clients do not know: %s", a.body)
	}
	r.ask("GET", "auth/attempts/rabbit@elsewhere", "").want(404)
}

// Who unbinds what may be gone asks first.
func TestBindingsOfAQueueThatIsNotThereAreNone(t *testing.T) {
	r := start(t)
	if a := r.ask("GET", "queues/%2F/none/bindings", "").want(200); a.body != "[]" {
		t.Error(a.body)
	}
}

func TestAVirtualHostShowsWhatIsInIt(t *testing.T) {
	r := start(t)
	_, ch, _ := r.dial("guest", "guest", "/")
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if d, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{}); err != nil || !d.Wait() {
			t.Fatal(err)
		}
	}
	if _, ok, err := ch.Get("q", false); !ok || err != nil {
		t.Fatal(ok, err)
	}
	v := r.ask("GET", "vhosts/%2F", "").want(200, `"publish":3`, `"deliver_get":1`).object()
	if v["messages"] != 3.0 || v["messages_ready"] != 2.0 || v["messages_unacknowledged"] != 1.0 {
		t.Errorf("%v", v)
	}
	r.ask("PUT", "vhosts/v", "").want(201)
	r.ask("GET", "vhosts/v", "").want(200, `"messages":0`, `"message_stats":{}`)
}

// Who is who, and sees what, is in the table of roles; this is what the rows say of virtual hosts besides.
func TestListsHoldWhatTheUserMaySee(t *testing.T) {
	r := start(t)
	r.ask("PUT", "vhosts/mine", "").want(201)
	r.ask("PUT", "vhosts/other", "").want(201)
	for _, tag := range []string{"management", "policymaker", "monitoring"} {
		r.ask("PUT", "users/"+tag, `{"password":"p","tags":"`+tag+`"}`).want(201)
		r.ask("PUT", "permissions/mine/"+tag, everything).want(201)
	}
	for _, v := range []string{"mine", "other"} {
		r.ask("PUT", "policies/"+v+"/p", `{"pattern":"x","definition":{"max-length":1}}`).want(201)
	}
	for _, tag := range []string{"management", "policymaker", "monitoring"} {
		u := r.as(tag, "p")
		if list := u.ask("GET", "policies", "").want(200).list(); len(list) != 1 {
			t.Errorf("%s: %v", tag, list)
		}
		for path, sees := range map[string]bool{"vhosts/other": tag == "monitoring", "policies/other": false, "policies/other/p": false, "operator-policies/other": false,
			"vhost-limits/other": tag == "monitoring", "vhosts/mine": true, "policies/mine/p": true} {
			status := http.StatusUnauthorized
			if sees {
				status = http.StatusOK
			}
			u.ask("GET", path, "").want(status)
		}
	}
	pol := r.as("policymaker", "p")
	pol.ask("PUT", "policies/mine/q", `{"pattern":"x","definition":{"max-length":1}}`).want(201)
	pol.ask("PUT", "policies/other/q", `{"pattern":"x","definition":{"max-length":1}}`).want(401)
	pol.ask("DELETE", "policies/other/p", "").want(401)
	r.ask("PUT", "users/policymaker", `{"password":"p","tags":"policymaker,monitoring"}`).want(204) // looking everywhere is not writing everywhere
	pol.ask("GET", "vhosts/other", "").want(200)
	pol.ask("PUT", "policies/other/q", `{"pattern":"x","definition":{"max-length":1}}`).want(401)
	pol.ask("DELETE", "policies/other/p", "").want(401)
	pol.ask("GET", "parameters/vhost-limits/other", "").want(401)
	r.as("management", "p").ask("PUT", "policies/mine/q", `{"pattern":"x","definition":{"max-length":1}}`).want(401, "Not policymaker user")
}
