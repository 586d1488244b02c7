package management_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func (r *rig) jobs(method, path, body string, status int) map[string]any {
	r.t.Helper()
	return r.ask(method, path, body).want(status).object()
}

func TestAQueueIsReplayedOverHTTP(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/jobs", `{"durable":true,"arguments":{"x-retention":"1h"}}`).want(201)
	r.ask("PUT", "queues/%2F/copy", `{"durable":true}`).want(201)
	r.send("jobs", "early")
	time.Sleep(5 * time.Millisecond)
	from := time.Now()
	time.Sleep(5 * time.Millisecond)
	r.send("jobs", "late")
	r.ask("POST", "queues/%2F/jobs/get", `{"count":2,"ackmode":"ack_requeue_false","encoding":"auto"}`).want(200)
	j := r.jobs("POST", "queues/%2F/jobs/replay", fmt.Sprintf(`{"target":{"queue":"copy"},"from":%d,"wait":10}`, from.UnixMilli()), 200)
	if j["state"] != "done" || j["copied"] != 1.0 || j["kind"] != "replay" || j["user"] != "guest" || j["position"] != "" || fmt.Sprint(j["target"]) != "map[queue:copy]" {
		t.Errorf("%v", j)
	}
	r.ask("POST", "queues/%2F/copy/get", `{"count":2,"ackmode":"ack_requeue_false","encoding":"auto"}`).want(200, `"payload":"late"`, `"x-replayed-from":"jobs"`, `"x-replayed-offset":1`)
	a := r.ask("POST", "queues/%2F/jobs/replay", fmt.Sprintf(`{"target":{"exchange":"amq.default","routing_key":"copy"},"to":%q,"dry_run":true,"wait":10,"filter":{"routing_key":"*"}}`, from.Format(time.RFC3339Nano))).want(200)
	if j = a.object(); j["matched"] != 1.0 || j["copied"] != 0.0 || fmt.Sprint(j["filter"]) != "map[routing_key:*]" {
		t.Errorf("%v", j)
	}
	if at := a.header.Get("Location"); at != "/api/jobs/"+j["id"].(string) {
		t.Error(at)
	}
	if list := r.ask("GET", "jobs", "").want(200).list(); len(list) != 2 || list[0]["id"] != j["id"] {
		t.Errorf("%v", list)
	}
}

func TestDeadLettersAreRedrivenOverHTTP(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/orders", `{"durable":true,"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"dead"}}`).want(201)
	r.ask("PUT", "queues/%2F/dead", `{"durable":true}`).want(201)
	for i := range 3 {
		r.send("orders", fmt.Sprint(i))
	}
	r.ask("POST", "queues/%2F/orders/get", `{"count":3,"ackmode":"reject_requeue_false","encoding":"auto"}`).want(200)
	r.until("queues/%2F/dead", func(a answer) bool { return a.object()["messages_ready"] == 3.0 })
	if got := r.browse("dead", "reason=rejected&origin=orders&last=1").payloads(); got != "2" {
		t.Error(got)
	}
	j := r.jobs("POST", "queues/%2F/dead/redrive", `{"dry_run":true,"wait":10}`, 200)
	if fmt.Sprint(j["reasons"], j["origins"], j["matched"], j["target"]) != "map[rejected:3] map[orders:3] 3 <nil>" {
		t.Errorf("%v", j)
	}
	j = r.jobs("POST", "queues/%2F/dead/redrive", `{"filter":{"contains":"1"},"wait":10}`, 200)
	if j["copied"] != 1.0 {
		t.Errorf("%v", j)
	}
	r.until("queues/%2F/dead", func(a answer) bool { return a.object()["messages_ready"] == 2.0 })
	r.ask("POST", "queues/%2F/orders/get", `{"count":3,"ackmode":"ack_requeue_false","encoding":"auto"}`).want(200, `"payload":"1"`, `"x-redriven-from":"dead"`, `"redelivered":false`)
}

func TestAJobIsWatchedCancelledAndResumed(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/jobs", `{"durable":true}`).want(201)
	r.ask("PUT", "queues/%2F/copy", `{"durable":true}`).want(201)
	for i := range 30 {
		r.send("jobs", fmt.Sprint(i))
	}
	id := r.jobs("POST", "queues/%2F/jobs/replay", `{"target":{"queue":"copy"},"rate":1}`, 202)["id"].(string)
	next, stop := r.lines("jobs/" + id + "/events")
	defer stop()
	for {
		var j map[string]any
		if err := json.Unmarshal([]byte(next()), &j); err != nil {
			t.Fatal(err)
		}
		if j["copied"].(float64) > 0 {
			break
		}
	}
	r.ask("DELETE", "jobs/"+id, "").want(400, "running")
	r.ask("POST", "jobs/"+id+"/resume", "").want(400, "running")
	r.ask("POST", "jobs/"+id+"/cancel", "").want(204)
	for last := ""; !strings.Contains(last, `"state":"cancelled"`); {
		last = next()
	}
	r.ask("POST", "jobs/"+id+"/cancel", "").want(400, "not running")
	for _, u := range []struct{ name, tag string }{{"other", "management"}, {"looks", "monitoring"}} {
		r.ask("PUT", "users/"+u.name, `{"password":"p","tags":"`+u.tag+`"}`).want(201)
		r.ask("PUT", "permissions/%2F/"+u.name, `{"configure":".*","write":".*","read":".*"}`).want(201)
	}
	other, looks := r.as("other", "p"), r.as("looks", "p")
	other.ask("GET", "jobs", "").want(200, "[]")
	other.ask("GET", "jobs/"+id, "").want(401)
	other.ask("GET", "jobs/"+id+"/events", "").want(401)
	looks.ask("GET", "jobs/"+id, "").want(200, id)
	for _, who := range []*rig{other, looks} {
		who.ask("POST", "jobs/"+id+"/resume", "").want(401)
		who.ask("POST", "jobs/"+id+"/cancel", "").want(401)
		who.ask("DELETE", "jobs/"+id, "").want(401)
	}
	r.ask("POST", "jobs/"+id+"/resume", "").want(202, `"state":"running"`)
	r.ask("POST", "jobs/"+id+"/cancel", "").want(204)
	r.ask("DELETE", "jobs/"+id, "").want(204)
	r.ask("GET", "jobs/"+id, "").want(404)
}

func TestAJobThatMakesNoSenseIsRefused(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	r.ask("PUT", "queues/%2F/s", `{"durable":true,"arguments":{"x-queue-type":"stream"}}`).want(201)
	for _, c := range []struct {
		path, body string
		status     int
		reason     string
	}{
		{"q/replay", `{}`, 400, "key_missing,target"},
		{"q/replay", `{"target":null}`, 400, "target"},
		{"q/replay", `{"target":{}}`, 400, "'queue' or an 'exchange'"},
		{"q/replay", `{"target":{"queue":"q","exchange":""}}`, 400, "not both"},
		{"q/replay", `{"target":{"queue":"q","routing_key":"k"}}`, 400, "needs no 'routing_key'"},
		{"q/replay", `{"target":{"queue":"none"}}`, 404, "no queue 'none'"},
		{"q/replay", `{"target":{"exchange":"none"}}`, 404, "no exchange 'none'"},
		{"q/replay", `{"target":{"queue":"q"},"from":"yesterday"}`, 400, "'from' must be a time"},
		{"q/replay", `{"target":{"queue":"q"},"from_offset":-1}`, 400, "'from_offset'"},
		{"q/replay", `{"target":{"queue":"q"},"partition":1}`, 400, "no partition 1"},
		{"q/replay", `{"target":{"queue":"q"},"limit":0}`, 400, "'limit'"},
		{"q/replay", `{"target":{"queue":"q"},"rate":-5}`, 400, "'rate'"},
		{"q/replay", `{"target":{"queue":"q"},"wait":31}`, 400, "'wait'"},
		{"q/replay", `{"target":{"queue":"q"},"dryrun":true}`, 400, "no field 'dryrun'"},
		{"q/replay", `{"target":{"queue":"q","key":"k"}}`, 400, "no field 'key'"},
		{"q/replay", `{"target":{"queue":"q"},"filter":{"header":{}}}`, 400, "no field 'header'"},
		{"q/replay", `{"target":{"queue":"q"},"filter":[]}`, 400, "'filter' must be an object"},
		{"q/replay", `{"target":{"queue":"q"},"filter":{"headers":{"a":[]}}}`, 400, "must be a text"},
		{"q/redrive", `{"filter":{"properties":{"colour":"red"}}}`, 400, "no property 'colour'"},
		{"q/redrive", `[]`, 400, "not_json"},
		{"s/redrive", `{}`, 400, "replay it"},
		{"none/redrive", `{}`, 404, "queue_not_found"},
	} {
		r.ask("POST", "queues/%2F/"+c.path, c.body).want(c.status, c.reason)
	}
	r.ask("PUT", "users/u", `{"password":"p","tags":"management"}`).want(201)
	r.ask("PUT", "permissions/%2F/u", `{"configure":".*","write":"^q$","read":".*"}`).want(201)
	u := r.as("u", "p")
	u.ask("POST", "queues/%2F/q/replay", `{"target":{"queue":"q"}}`).want(401, "amq.default")
	u.ask("POST", "queues/%2F/q/redrive", `{}`).want(401, "amq.default")
	u.ask("POST", "queues/%2F/q/replay", `{"target":{"exchange":"amq.topic"}}`).want(401, "write access")
	r.ask("PUT", "permissions/%2F/u", `{"configure":".*","write":".*","read":"^x"}`).want(204)
	u.ask("POST", "queues/%2F/q/replay", `{"target":{"queue":"q"}}`).want(401, "read access")
}
