package management_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestTheClusterHasAName(t *testing.T) {
	r := start(t)
	r.ask("GET", "cluster-name", "").want(200, `"rabbit@`)
	r.ask("PUT", "cluster-name", `{"name":"ours"}`).want(204)
	r.ask("GET", "cluster-name", "").want(200, `{"name":"ours"}`)
	r.ask("PUT", "cluster-name", "{}").want(400, "{key_missing,name}")
	r.ask("PUT", "cluster-name", `{"name":null}`).want(400, "{key_missing,name}")
}

// Monitoring programs report a fault where a counter that they read is not there.
func TestFiguresThatMonitoringReadsAreThereWhenTheyAreZero(t *testing.T) {
	r := start(t)
	_, ch, _ := r.dial("guest", "guest", "/")
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}`).want(200)
	if _, ok, err := ch.Get("q", true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	out := []string{"deliver", "deliver_no_ack", "get", "get_no_ack", "get_empty", "deliver_get", "redeliver", "ack"}
	for path, names := range map[string][]string{
		"queues/%2F/q": out, "vhosts/%2F": append([]string{"publish", "confirm", "return_unroutable", "drop_unroutable"}, out...), "overview": append([]string{"publish", "confirm"}, out...),
	} {
		stats := r.ask("GET", path, "").want(200).object()["message_stats"].(map[string]any)
		for _, name := range names {
			n, ok := stats[name].(float64)
			d, _ := stats[name+"_details"].(map[string]any)
			if _, rate := d["rate"].(float64); !ok || !rate || name == "redeliver" && n != 0 {
				t.Errorf("%s: %s: %v in %v", path, name, stats[name], stats)
			}
		}
	}
	node := r.ask("GET", "nodes?node_stats_age=2&node_stats_incr=1", "").want(200).list()[0]
	for _, name := range []string{"mem_used", "fd_used", "sockets_used", "proc_used", "disk_free", "connection_created", "channel_created", "queue_declared", "queue_deleted"} {
		if _, ok := node[name].(float64); !ok {
			t.Errorf("%s: %v", name, node[name])
		}
		if d, ok := node[name+"_details"].(map[string]any); !ok || d["rate"] == nil || strings.HasSuffix(name, "_used") && d["samples"] == nil {
			t.Errorf("%s_details: %v", name, node[name+"_details"])
		}
	}
}

func TestOfWhatThereIsNoneTheListIsEmpty(t *testing.T) {
	r := start(t)
	for _, path := range []string{"shovels", "shovels/%2F", "federation-links", "federation-links/%2F", "extensions"} {
		if list := r.ask("GET", path, "").want(200, "[]").list(); len(list) != 0 {
			t.Errorf("%s: %v", path, list)
		}
	}
}

// A sum over some virtual hosts is not the past of a sum over others.
func TestUsersOfDifferentVirtualHostsHaveTheirOwnRates(t *testing.T) {
	r := start(t)
	for i := range 4 {
		r.ask("PUT", fmt.Sprint("vhosts/v", i), "{}").want(201)
		r.ask("PUT", fmt.Sprintf("queues/v%d/q", i), "{}").want(201)
	}
	publish := func(vhost string, n int) {
		for range n {
			r.ask("POST", "exchanges/"+vhost+"/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}`).want(200)
		}
	}
	publish("v0", 7)
	publish("v2", 3)
	users := map[string][]string{"ann": {"v0", "v1"}, "bob": {"v2", "v3"}, "cid": {}}
	for name, vhosts := range users {
		r.ask("PUT", "users/"+name, `{"password":"x","tags":"management"}`).want(201)
		for _, v := range vhosts {
			r.ask("PUT", "permissions/"+v+"/"+name, `{"configure":".*","write":".*","read":".*"}`).want(201)
		}
	}
	const lengths = "overview?lengths_age=2&lengths_incr=1"
	r.ask("GET", lengths, "").want(200, `"messages":10`, `"sample":10`) // everybody's is known first
	for name, n := range map[string]int{"ann": 7, "bob": 3, "cid": 0} {
		a := r.as(name, "x").ask("GET", lengths, "").want(200, fmt.Sprintf(`"messages":%d`, n))
		for _, sample := range regexp.MustCompile(`"sample":\d+`).FindAllString(a.body, -1) {
			if sample != fmt.Sprintf(`"sample":%d`, n) && sample != `"sample":0` { // the latter: none is unacked
				t.Errorf("%s, who sees %d messages, is shown %s", name, n, sample)
			}
		}
	}
}
