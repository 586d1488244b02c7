package web_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestAQueueIsDeclaredFilledReadAndDeleted(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.get("/").want(200, "No queues yet", "curl")
	b.post("/queues/declare", "name", "jobs", "vhost", "/", "arguments", "x-max-length=10\nx-overflow=reject-publish").to("/queue?vhost=%2F&name=jobs")
	at := "?vhost=%2F&name=jobs"
	b.get("/queue"+at).want(200, "The queue jobs is there.", "x-max-length", "reject-publish").without("<dd>1</dd>")
	b.get("/queue" + at).want(200).without("The queue jobs is there.")
	b.post("/queue/publish"+at, "payload", "{\"a\":1}", "headers", "tenant=acme\nn=5").to("/queue" + at)
	b.get("/queue"+at).want(200, `<dd id="ready">1</dd>`)
	b.post("/queue/get"+at, "count", "5").want(200, "&#34;a&#34;: 1", "header tenant", "acme", "header n")
	b.post("/queue/get"+at, "count", "5", "take", "on").want(200, "acme", "delivered before", `<dd id="ready">0</dd>`)
	b.post("/queue/get"+at, "count", "5").want(200, "Nothing is ready")

	b.api("PUT", "exchanges/%2F/events", `{"type":"topic"}`)
	b.post("/queue/bind"+at, "source", "events", "key", "a.#").to("/queue" + at)
	b.get("/queue"+at).want(200, "events", "a.#")
	b.post("/queue/unbind"+at, "source", "events", "properties", "a.%23").to("/queue" + at)
	b.get("/queue" + at).want(200).without("a.#")

	b.post("/queue/publish"+at, "payload", "x")
	b.post("/queue/purge" + at).to("/queue" + at)
	b.get("/queue"+at).want(200, `<dd id="ready">0</dd>`)
	b.post("/queue/delete"+at, "confirm", "job").want(400, "Type the queue&#39;s name")
	b.post("/queue/delete"+at, "confirm", "jobs").to("/queues")
	b.get("/queues").want(200, "The queue jobs is deleted.", "No queues yet")
	b.get("/queue"+at).want(404, "There is nothing of that name")
	b.post("/queue/publish"+at, "payload", "x").want(400, "The queue has been deleted")
}

// Messages that are taken are shown, however much their answers take.
func TestNothingIsTakenThatIsNotShown(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "queues/%2F/jobs", "{}")
	at := "?vhost=%2F&name=jobs"
	text := strings.Repeat(`\u0001`, 20_000) // six times as much in an answer
	for range 80 {
		b.api("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"jobs","payload":"`+text+`","payload_encoding":"string"}`)
	}
	shown := b.post("/queue/get"+at, "count", "80", "take", "on").want(200, `<dd id="ready">0</dd>`)
	if n := strings.Count(shown.body, `<article class="message">`); n != 80 {
		t.Errorf("%d of 80 are shown", n)
	}
}

func TestAFormThatIsRefusedKeepsWhatWasWritten(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.post("/queues/declare", "name", "jobs", "vhost", "/", "arguments", "x-max-length").want(400, "is no setting", `value="jobs"`, ">x-max-length</textarea>")
	b.post("/queues/declare", "name", "jobs", "vhost", "/", "arguments", "x-max-length=-1").want(400, "x-max-length", `value="jobs"`)
	b.post("/queues/declare", "name", "amq.jobs", "vhost", "/").want(403, "amq.jobs")
	b.get("/queues").want(200, "No queues yet")
}

func TestListsAreFilteredSortedAndPaged(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	for i := range 60 {
		b.api("PUT", fmt.Sprintf("queues/%%2F/q%02d", i), "{}")
	}
	b.api("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q37","payload":"x","payload_encoding":"string"}`)
	b.get("/queues").want(200, "60 queues", ">q00<", ">q49<", "1 to 50 of 60", `rel="next"`).without(">q50<")
	b.get("/queues?page=2").want(200, ">q50<", ">q59<", "51 to 60 of 60", `rel="prev"`).without(">q49<", `rel="next"`)
	b.get("/queues?name=q1").want(200, "10 of 60 queues", ">q10<").without(">q20<")
	b.get("/queues?name=q[12]3&regex=on").want(200, "2 of 60 queues", ">q13<", ">q23<")
	b.get("/queues?name=%5B&regex=on").want(200, `class="wrong"`)
	b.get("/queues?name=none").want(200, "No queue has such a name")
	b.get("/queues?sort=messages_ready&down=1").want(200, `aria-sort="descending"`, ">q37<")
	b.get("/queues?page=99").want(200, `class="wrong"`)
	live := b.ask("GET", "/queues?page=2", nil, "X-Live", "1").want(200, `id="queues" data-live`, ">q59<").without("<html", "<nav aria-label=\"Sections\"")
	if live.header.Get("Cache-Control") != "no-store" {
		t.Error(live.header)
	}
}

func TestAUserSeesAndDoesWhatTheyMay(t *testing.T) {
	b := start(t)
	b.api("PUT", "queues/%2F/open", "{}")
	b.api("PUT", "queues/%2F/other", "{}")
	b.api("PUT", "vhosts/shop", "{}")
	b.api("PUT", "queues/shop/till", "{}")
	b.api("PUT", "users/ann", `{"password":"x","tags":"management"}`)
	b.api("PUT", "permissions/%2F/ann", `{"configure":"^ann","write":"^open|amq.default","read":"^open"}`)
	ann := b.another().signIn("ann", "x")
	ann.get("/queues").want(200, "open").without("till")
	ann.get("/queue?vhost=shop&name=till").want(403)
	ann.post("/queues/declare", "name", "mine", "vhost", "/").want(403)
	ann.post("/queues/declare", "name", "ann.mine", "vhost", "/").to("/queue?vhost=%2F&name=ann.mine")
	ann.post("/queue/delete?vhost=%2F&name=open", "confirm", "open").want(403)
	ann.post("/queue/purge?vhost=shop&name=till").want(403)
	ann.post("/queue/purge?vhost=%2F&name=other").want(403)
	b.signIn("guest", "guest").get("/queues").want(200, "open", "other", "till", "ann.mine")
}
