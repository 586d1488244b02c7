package management_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// page is an answer of browse.
type page struct {
	Items []struct {
		Partition  int
		Offset     int64
		Timestamp  int64
		Exchange   string
		RoutingKey string `json:"routing_key"`
		Properties any
		Payload    string
		Encoding   string `json:"payload_encoding"`
		Bytes      int    `json:"payload_bytes"`
		Truncated  bool
		State      *string
	}
	LookedAt   int `json:"looked_at"`
	Complete   bool
	Next       *string
	Partitions []struct{ Partition, First, End int64 }
}

func (r *rig) browse(queue, query string) (p page) {
	r.t.Helper()
	r.ask("GET", "queues/%2F/"+queue+"/messages?"+query, "").want(200).into(&p)
	return p
}

func (p page) payloads() string {
	var list []string
	for _, i := range p.Items {
		list = append(list, i.Payload)
	}
	return strings.Join(list, " ")
}

func TestAQueueIsLookedThroughAndNothingTaken(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	for i := range 3 {
		r.send("q", fmt.Sprint("early", i))
	}
	time.Sleep(5 * time.Millisecond)
	middle := time.Now()
	time.Sleep(5 * time.Millisecond)
	for i := range 4 {
		r.send("q", fmt.Sprint("late", i))
	}
	at := func(t time.Time) string { return fmt.Sprint(t.UnixMilli()) }
	for query, want := range map[string]string{
		"":                                 "early0 early1 early2 late0 late1 late2 late3",
		"offset=5":                         "late2 late3",
		"offset=700":                       "",
		"count=2":                          "early0 early1",
		"last=2":                           "late2 late3",
		"last=1000":                        "early0 early1 early2 late0 late1 late2 late3",
		"at=0-6":                           "late3",
		"time=" + at(middle):               "late0 late1 late2 late3",
		"until=" + at(middle):              "early0 early1 early2",
		"last=1&until=" + at(middle):       "early2",
		"contains=late&count=1":            "late0",
		"contains=early&last=2":            "early1 early2",
		"routing_key=q.%23&count=1":        "early0",
		"routing_key=x":                    "",
		"exchange=amq.default&count=1":     "early0",
		"state=unacked":                    "",
		"state=ready&partition=0&offset=6": "late3",
		"time=" + url.QueryEscape(middle.Format(time.RFC3339Nano)) + "&count=1": "late0",
	} {
		if got := r.browse("q", query).payloads(); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	p := r.browse("q", "count=2")
	if p.Next == nil || *p.Next != "0-2" || p.Complete || p.Partitions[0].End != 7 {
		t.Errorf("%+v", p)
	}
	var all []string
	for next := "0-0"; ; next = *p.Next {
		p = r.browse("q", "count=3&at="+next)
		all = append(all, p.payloads())
		if p.Next == nil {
			break
		}
	}
	if got := strings.Join(all, " | "); got != "early0 early1 early2 | late0 late1 late2 | late3" || !p.Complete {
		t.Errorf("%s, %+v", got, p)
	}
	r.ask("POST", "queues/%2F/q/get", `{"count":10,"ackmode":"ack_requeue_true","encoding":"auto"}`).want(200, "early0", `"redelivered":false`, `"message_count":6`)
}

func TestALookSaysWhereMessagesStand(t *testing.T) {
	r := start(t)
	_, ch := r.channel()
	for name, args := range map[string]amqp.Table{"plain": nil, "history": {"x-retention": "1h"}, "stream": {"x-queue-type": "stream"}} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			r.send(name, fmt.Sprint(i))
		}
	}
	states := func(queue, query string) string {
		t.Helper()
		var list []string
		for _, i := range r.browse(queue, query).Items {
			if i.State == nil {
				list = append(list, i.Payload+"?")
			} else {
				list = append(list, i.Payload+*i.State)
			}
		}
		return strings.Join(list, " ")
	}
	for _, queue := range []string{"plain", "history"} {
		var got []amqp.Delivery
		for range 4 {
			d, ok, err := ch.Get(queue, false)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			got = append(got, d)
		}
		if err := got[1].Ack(false); err != nil {
			t.Fatal(err)
		}
		if err := got[2].Nack(false, true); err != nil {
			t.Fatal(err)
		}
		r.until("queues/%2F/"+queue, func(a answer) bool { return a.object()["messages_unacknowledged"] == 2.0 })
	}
	for _, c := range []struct{ queue, query, want string }{
		{"plain", "", "0unacked 2ready 3unacked 4ready"},
		{"plain", "state=all", "0unacked 1acked 2ready 3unacked 4ready"},
		{"plain", "state=unacked&last=1", "3unacked"},
		{"history", "", "0unacked 1acked 2ready 3unacked 4ready"},
		{"history", "state=acked", "1acked"},
		{"stream", "", "0? 1? 2? 3? 4?"},
	} {
		if got := states(c.queue, c.query); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.queue, c.query, got, c.want)
		}
	}
}

func TestALookShowsAsMuchOfAPayloadAsIsAskedFor(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{"type":"order","headers":{"tenant":"acme","n":3}},"routing_key":"q","payload":"ääää","payload_encoding":"string"}`).want(200)
	r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"/w==","payload_encoding":"base64"}`).want(200)
	p := r.browse("q", "truncate=5")
	if i := p.Items[0]; i.Payload != "ää" || i.Encoding != "string" || !i.Truncated || i.Bytes != 8 {
		t.Errorf("%+v", i)
	}
	if i := p.Items[1]; i.Payload != "/w==" || i.Encoding != "base64" || i.Truncated || i.Bytes != 1 {
		t.Errorf("%+v", i)
	}
	if i := r.browse("q", "truncate=5&encoding=base64").Items[0]; i.Payload != "w6TDpMM=" || i.Encoding != "base64" || !i.Truncated {
		t.Errorf("%+v", i)
	}
	if i := r.browse("q", "header=n:3&header=tenant&property=type:order").Items; len(i) != 1 || fmt.Sprint(i[0].Properties) != "map[headers:map[n:3 tenant:acme] type:order]" {
		t.Errorf("%+v", i)
	}
	if p := r.browse("q", "header=n:4"); len(p.Items) != 0 || p.LookedAt != 2 || !p.Complete {
		t.Errorf("%+v", p)
	}
}

func TestALookGoesThroughEachPartition(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true,"arguments":{"x-max-priority":2}}`).want(201)
	for i, priority := range []int{0, 2, 1, 2, 0} {
		r.ask("POST", "exchanges/%2F/amq.default/publish", fmt.Sprintf(`{"properties":{"priority":%d},"routing_key":"q","payload":"%d","payload_encoding":"string"}`, priority, i)).want(200)
		time.Sleep(2 * time.Millisecond)
	}
	if got := r.browse("q", "last=3").payloads(); got != "2 3 4" {
		t.Error(got)
	}
	var all []string
	query := "count=1"
	for range 10 {
		p := r.browse("q", query)
		all = append(all, p.payloads())
		if p.Next == nil {
			break
		}
		query = "count=1&at=" + *p.Next
	}
	if len(all) != 5 {
		t.Error(all)
	}
	r.ask("GET", "queues/%2F/q/messages?offset=1", "").want(400, "'offset' needs 'partition'")
}

// Large messages are not all gathered before they are sent: the answer ends, and says where to go on.
func TestALookIsBounded(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	large := strings.Repeat("x", 1<<20)
	for range 12 {
		r.send("q", large)
	}
	p := r.browse("q", "truncate=1048576")
	if len(p.Items) != 8 || p.Next == nil || *p.Next != "0-8" || p.Complete {
		t.Errorf("%d items, next %v", len(p.Items), p.Next)
	}
	if p = r.browse("q", "last=12&truncate=1048576"); len(p.Items) < 6 || len(p.Items) > 8 || p.Items[len(p.Items)-1].Offset != 11 || p.Complete {
		t.Errorf("%d items, complete %v", len(p.Items), p.Complete)
	}
	if p = r.browse("q", "last=12"); len(p.Items) != 12 || !p.Complete {
		t.Errorf("%d items, complete %v", len(p.Items), p.Complete)
	}
}

func TestALookThatMakesNoSenseIsRefused(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	for query, reason := range map[string]string{
		"count=0": "'count' must be a number from 1 to 1000", "count=x": "'count'", "last=-1": "'last'", "offset=-1": "'offset'", "time=yesterday": "'time' must be a time",
		"until=1e3": "'until'", "at=0": "'at' must be", "at=1-0": "'at' must be", "at=0-x": "'at'", "offset=1&time=3": "offset and time", "partition=1": "'partition'",
		"encoding=utf8": "encoding", "state=gone": "'state'", "headers=x": "there is no parameter 'headers'", "header=": "NAME:VALUE", "property=colour:red": "no property 'colour'",
		"truncate=1048577": "'truncate'", "routing_key=" + strings.Repeat("a", 256): "longer than 255",
	} {
		r.ask("GET", "queues/%2F/q/messages?"+query, "").want(400, `"error":"bad_request"`, reason)
	}
	r.ask("GET", "queues/%2F/none/messages", "").want(404)
	r.ask("PUT", "users/u", `{"password":"p","tags":"management"}`).want(201)
	r.ask("PUT", "permissions/%2F/u", `{"configure":".*","write":".*","read":"^x"}`).want(201)
	r.as("u", "p").ask("GET", "queues/%2F/q/messages", "").want(401, "read access")
}

// What is one connection's alone is not shown to others, whatever they may read.
func TestAnExclusiveQueueIsNotLookedThrough(t *testing.T) {
	r := start(t)
	conn, err := amqp.Dial("amqp://guest:guest@" + r.Addr("amqp") + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("mine", false, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	r.ask("GET", "queues/%2F/mine/messages", "").want(400, "exclusive")
	r.ask("GET", "queues/%2F/mine/stream", "").want(400, "exclusive")
	r.ask("POST", "queues/%2F/mine/replay", `{"target":{"queue":"mine"}}`).want(400, "exclusive")
}
