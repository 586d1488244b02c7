package management_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// lines reads a stream of events, a message a line.
func (r *rig) lines(path string, header ...string) (next func() string, stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.Addr("http")+"/api/"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.SetBasicAuth(r.user, r.password)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatal(answer.Status)
	}
	read := bufio.NewScanner(answer.Body)
	return func() string {
			r.t.Helper()
			for read.Scan() {
				if data, ok := strings.CutPrefix(read.Text(), "data: "); ok {
					return data
				}
			}
			r.t.Fatal("the stream ends: ", read.Err())
			return ""
		}, func() {
			cancel()
			_ = answer.Body.Close()
		}
}

func (r *rig) send(queue, payload string) {
	r.t.Helper()
	r.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"`+queue+`","payload":"`+payload+`","payload_encoding":"string"}`).want(200, "true")
}

func TestAQueueIsWatchedAndNothingTaken(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	r.send("q", "one")
	all, stopAll := r.lines("queues/%2F/q/stream?from=first")
	defer stopAll()
	fresh, stopFresh := r.lines("queues/%2F/q/stream")
	defer stopFresh()
	r.send("q", "two")
	for _, want := range []string{"one", "two"} {
		if got := all(); !strings.Contains(got, `"payload":"`+want+`"`) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := fresh(); !strings.Contains(got, `"payload":"two"`) {
		t.Error(got)
	}
	again, stopAgain := r.lines("queues/%2F/q/stream", "Last-Event-ID", "0-0")
	defer stopAgain()
	if got := again(); !strings.Contains(got, `"payload":"two"`) {
		t.Error(got)
	}
	r.ask("GET", "queues/%2F/q", "").want(200, `"messages_ready":2`, `"messages_unacknowledged":0`)
	r.ask("GET", "queues/%2F/q/stream", "", "Accept", "application/json").want(406)
	r.ask("GET", "queues/%2F/none/stream", "").want(404)
	r.ask("GET", "queues/%2F/q/stream", "", "Last-Event-ID", "odd").want(400)
}

func TestAWatcherWhoTakesEmptiesTheQueue(t *testing.T) {
	r := start(t)
	r.ask("PUT", "queues/%2F/q", `{"durable":true}`).want(201)
	next, stop := r.lines("queues/%2F/q/stream?take=true")
	for _, payload := range []string{"one", "two"} {
		r.send("q", payload)
		if got := next(); !strings.Contains(got, `"payload":"`+payload+`"`) {
			t.Error(got)
		}
	}
	r.until("queues/%2F/q", func(a answer) bool { return strings.Contains(a.body, `"messages":0`) })
	stop()
	r.until("queues/%2F/q", func(a answer) bool { return strings.Contains(a.body, `"consumers":0`) })
	r.send("q", "three")
	r.ask("GET", "queues/%2F/q", "").want(200, `"messages_ready":1`)
}
