package web_test

import (
	"html"
	"strings"
	"testing"
	"time"
)

// over waits until a job on its page is over.
func (b *browser) over(place string) seen {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s := b.get(place).want(200)
		if !strings.Contains(s.body, "<h2>running") {
			return s
		}
		if time.Now().After(end) {
			b.t.Fatalf("the job is not over:\n%s", s.body)
		}
	}
}

func TestMessagesAreLookedThroughWithoutTakingAny(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "queues/%2F/jobs", "{}")
	at := "?vhost=%2F&name=jobs"
	b.get("/messages"+at).want(200, "The queue is empty")
	for _, text := range []string{"one", "two", "three"} {
		b.post("/queue/publish"+at, "payload", text, "headers", "tenant="+text).want(303)
	}
	b.get("/messages"+at).want(200, "one", "two", "three", "3 messages", "header tenant", "ready")
	b.get("/messages"+at+"&header=tenant:two").want(200, "two", "1 message of 3").without("three")
	b.get("/messages"+at+"&contains=thr").want(200, "three").without(">one<")
	b.get("/messages"+at+"&from=offset&value=2").want(200, "three").without(">one<")
	b.get("/messages"+at+"&from=last&value=1").want(200, "three").without(">one<")
	b.get("/messages"+at+"&from=time&value=2001-01-01+10:00").want(200, "one", "two", "three")
	b.get("/messages"+at+"&until=2001-01-01").want(200, "No message is like that")
	b.get("/messages"+at+"&from=time&value=yesterday").want(200, `class="wrong"`, `value="yesterday"`)
	b.get("/queue"+at).want(200, `<dd id="ready">3</dd>`)
	b.post("/queue/get"+at, "count", "3").want(200).without(`<span class="tag">delivered before`) // looking has not marked them

	b.api("PUT", "users/ann", `{"password":"x","tags":"management"}`)
	b.api("PUT", "permissions/%2F/ann", `{"configure":"","write":"","read":"^other"}`)
	b.another().signIn("ann", "x").get("/messages" + at).want(403)
}

func TestAReplayCopiesAndTellsHowFarItIs(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "queues/%2F/jobs", "{}")
	b.api("PUT", "queues/%2F/again", "{}")
	at := "?vhost=%2F&name=jobs"
	b.get("/jobs").want(200, "No jobs yet")
	for range 3 {
		b.post("/queue/publish"+at, "payload", "x").want(303)
	}
	b.post("/replay"+at).want(400, "Say where the copies shall go")
	b.post("/replay"+at, "queue", "again", "begin", "nonsense", "rate", "5").want(400, `value="nonsense"`, `value="again"`, `value="5"`)
	b.post("/replay"+at, "queue", "again", "rate", "fast").want(400, "The rate must be a number")
	dry := b.post("/replay"+at, "queue", "again", "dry", "on").want(303).header.Get("Location")
	b.over(dry).want(200, "Dry run", "<dt>Match</dt><dd>3</dd>", "Do it for real")
	b.get("/queue?vhost=%2F&name=again").want(200, `<dd id="ready">0</dd>`)
	real := b.post("/replay"+at, "queue", "again", "begin", "2001-01-01", "limit", "2").want(303).header.Get("Location")
	b.over(real).want(200, "<h2>done", "<dt>Copied</dt><dd>2</dd>")
	b.get("/queue?vhost=%2F&name=again").want(200, `<dd id="ready">2</dd>`)
	b.get("/jobs").want(200, "Replay of jobs", "Dry run: replay of jobs", "the queue again")
	b.post(strings.Replace(real, "/job?", "/job/drop?", 1)).to("/jobs")
	b.get(real).want(404)
}

func TestDeadLettersGoBackToWhereTheyCameFrom(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "queues/%2F/dead", "{}")
	b.api("PUT", "queues/%2F/jobs", `{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"dead"}}`)
	b.post("/queue/publish?vhost=%2F&name=jobs", "payload", "x").want(303)
	b.api("POST", "queues/%2F/jobs/get", `{"count":1,"ackmode":"reject_requeue_false","encoding":"auto"}`)
	at := "?vhost=%2F&name=dead"
	for end := time.Now().Add(time.Minute); !strings.Contains(b.get("/queue"+at).body, `<dd id="ready">1</dd>`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no dead letter came")
		}
	}
	b.get("/messages"+at+"&reason=rejected&origin=jobs").want(200, "1 message")
	b.get("/messages"+at+"&reason=expired").want(200, "No message is like that")
	dry := b.post("/redrive"+at, "dry", "on").want(303).header.Get("Location")
	b.over(dry).want(200, "Why they died", "rejected", "Where they died", "jobs")
	narrow := b.post("/redrive"+at, "dry", "on", "reason", "expired", "header", "tenant:a&b", "key", "eu.#").want(303).header.Get("Location")
	real := "/redrive" + at + "&key=eu.%23&header=tenant%3Aa%26b&reason=expired"
	b.over(narrow).want(200, html.EscapeString(real)) // and not for all letters
	b.get(real).want(200, `value="eu.#"`, `value="tenant:a&amp;b"`, "<option selected>expired")
	b.get("/queue"+at).want(200, `<dd id="ready">1</dd>`)
	b.over(b.post("/redrive"+at, "reason", "rejected").want(303).header.Get("Location")).want(200, "<h2>done", "where each message came from")
	b.get("/queue"+at).want(200, `<dd id="ready">0</dd>`)
	b.get("/queue?vhost=%2F&name=jobs").want(200, `<dd id="ready">1</dd>`)
}
