package web_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestAnExchangeShowsWhereAKeyWouldGo(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.post("/exchanges/declare", "name", "logs", "vhost", "/", "type", "topic").to("/exchange?vhost=%2F&name=logs")
	at := "?vhost=%2F&name=logs"
	b.get("/exchange"+at).want(200, "Nowhere yet")
	b.api("PUT", "queues/%2F/errors", "{}")
	b.api("PUT", "queues/%2F/all", "{}")
	b.api("PUT", "exchanges/%2F/archive", `{"type":"fanout"}`)
	b.post("/exchange/bind"+at, "destination", "errors", "key", "*.error").want(303)
	b.post("/exchange/bind"+at, "destination", "archive", "kind", "exchange", "key", "eu.#").want(303)
	b.post("/exchange/bind?vhost=%2F&name=archive", "destination", "all").want(303)
	b.get("/exchange"+at).want(200, "<svg class=\"picture\"", "*.error", "archive").without("class=\"edge hit\"")
	b.get("/exchange"+at+"&key=eu.error").want(200, "It would go to", ">errors</a>", ">all</a>", "through archive", "class=\"edge hit\"")
	b.get("/exchange"+at+"&key=us.error").want(200, "It would go to", ">errors</a>").without("through archive")
	b.get("/exchange"+at+"&key=us.info").want(200, "It would go nowhere")
	b.get("/exchange"+at+"&key=x&headers=bad").want(200, "is no setting")
	b.get("/exchange?vhost=%2F&name=amq.default&key=all").want(200, "It would go to", ">all</a>")
	b.get("/queue?vhost=%2F&name=all").want(200, `<dd id="ready">0</dd>`) // nothing was published

	b.post("/exchange/publish"+at, "key", "us.info", "payload", "x").want(400, "went nowhere", ">x</textarea>")
	b.post("/exchange/publish"+at, "key", "eu.error", "payload", "x").want(303)
	b.get("/queue?vhost=%2F&name=all").want(200, `<dd id="ready">1</dd>`)
	b.post("/exchange/unbind"+at, "destination", "archive", "kind", "exchange", "properties", "eu.%23").want(303)
	b.get("/exchange"+at+"&key=eu.info").want(200, "It would go nowhere")
	b.post("/exchange/delete"+at, "confirm", "logs").to("/exchanges")
	b.get("/exchange" + at).want(404)
}

func TestHeadersDecideInATryOut(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "exchanges/%2F/h", `{"type":"headers"}`)
	b.api("PUT", "queues/%2F/acme", "{}")
	b.api("POST", "bindings/%2F/e/h/q/acme", `{"arguments":{"tenant":"acme","n":5,"x-match":"all"}}`)
	b.get("/exchange?vhost=%2F&name=h&key=&headers=tenant%3Dacme%0An%3D5").want(200, "It would go to", ">acme</a>")
	b.get("/exchange?vhost=%2F&name=h&key=&headers=tenant%3Dacme").want(200, "It would go nowhere")
}

func TestUsersAreAddedChangedAndDeleted(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.post("/users/put", "user", "ann", "password", "one", "again", "two").want(400, "not typed the same", `value="ann"`).without(`value="one"`)
	b.post("/users/put", "user", "ann").want(400, "needs a password")
	b.post("/users/put", "user", "ann", "password", "one", "again", "one", "tags", "management").to("/user?name=ann")
	b.get("/user?name=ann").want(200, "may enter no virtual host")
	b.post("/user/right?name=ann", "vhost", "/", "configure", "^ann", "write", "(", "read", ".*").want(400, `value="^ann"`)
	b.post("/user/right?name=ann", "vhost", "/", "configure", "^ann", "write", "", "read", ".*").to("/user?name=ann")
	b.get("/user?name=ann").want(200, "^ann")

	ann := b.another().signIn("ann", "one")
	ann.get("/users").want(200, "Users are for administrators").without("Add a user")
	ann.get("/user?name=guest").want(403)
	ann.get("/log").want(403)
	ann.get("/audit").want(403)
	ann.get("/").want(200).without(`href="/log"`, `href="/audit"`)
	ann.post("/users/put", "user", "eve", "password", "x", "again", "x", "tags", "administrator").want(403)

	b.post("/user/put?name=ann", "user", "ann", "keep", "on", "tags", "monitoring").to("/user?name=ann") // the password stays
	ann.get("/log").want(200)
	ann.get("/audit").want(403)
	b.post("/user/drop?name=ann", "vhost", "/").to("/user?name=ann")
	b.post("/user/delete?name=ann", "confirm", "an").want(400)
	b.post("/user/delete?name=ann", "confirm", "ann").to("/users")
	ann.get("/").to("/login")
	b.get("/audit").want(200, "user.delete", "user &#39;ann&#39;", "guest")

	b.post("/vhosts/put", "vhost", "shop", "description", "The shop").to("/users")
	b.get("/users").want(200, "The shop")
	b.post("/vhosts/delete", "vhost", "shop", "confirm", "/").want(400)
	b.post("/vhosts/delete", "vhost", "shop", "confirm", "shop").to("/users")
	b.get("/users").want(200).without("The shop")
}

func TestLimitsAreSetAndTakenAway(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "users/ann", `{"password":"x","tags":"management"}`)
	b.api("PUT", "permissions/%2F/ann", `{"configure":".*","write":".*","read":".*"}`)
	page := b.get("/user?name=ann").want(200, `<option>max-connections</option>`)
	names := regexp.MustCompile(`<option>(m[a-z-]+|[a-z_]+)</option>`).FindAllStringSubmatch(page.body, -1)
	if len(names) != 7 {
		t.Fatalf("the limits to choose from are %v", names)
	}
	for _, n := range names { // of each the API knows the name, for both
		b.post("/user/limit?name=ann", "limit", n[1], "value", "5000").to("/user?name=ann")
		b.post("/vhosts/limit", "vhost", "/", "limit", n[1], "value", "6000").to("/users")
	}
	b.get("/user?name=ann").want(200, "max-channels", "5000")
	b.get("/users").want(200, "max-queues 6000")
	b.post("/user/limit?name=ann", "limit", "max-channels", "value", "many").want(400, "limit is a whole number", `value="many"`)
	b.post("/user/limit?name=ann", "limit", "max-channels", "value", "-5").want(400)
	b.post("/vhosts/limit", "vhost", "/", "limit", "max-queues").to("/users")
	b.get("/users").want(200, "max-channels 6000").without("max-queues 6000")
	for _, n := range names {
		b.post("/user/limit?name=ann", "limit", n[1]).to("/user?name=ann")
	}
	b.get("/user?name=ann").want(200, `<p class="none">None.</p>`)
	ann := b.another().signIn("ann", "x")
	ann.get("/users").want(200, "max-channels 6000").without("Limit one")
	ann.post("/vhosts/limit", "vhost", "/", "limit", "max-queues", "value", "1").want(403)
	ann.post("/user/limit?name=ann", "limit", "max-queues", "value", "1").want(403)
}

func TestRoutingKeysOfAUserAreBounded(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "users/ann", `{"password":"x","tags":"management"}`)
	b.api("PUT", "permissions/%2F/ann", `{"configure":".*","write":".*","read":".*"}`)
	b.post("/user/topic?name=ann", "vhost", "/", "exchange", "amq.topic", "write", "(", "read", ".*").want(400, `value="amq.topic"`, `value="("`)
	b.post("/user/topic?name=ann", "vhost", "/", "exchange", "amq.topic", "write", `^eu\.`, "read", ".*").to("/user?name=ann")
	b.get("/user?name=ann").want(200, `^eu\.`)
	ann := b.another().signIn("ann", "x")
	at := "/exchange/publish?vhost=%2F&name=amq.topic"
	b.api("PUT", "queues/%2F/all", "{}")
	b.api("POST", "bindings/%2F/e/amq.topic/q/all", `{"routing_key":"#"}`)
	ann.post(at, "key", "eu.x", "payload", "x").want(303)
	ann.post(at, "key", "us.x", "payload", "x").want(403)
	ann.post("/user/droptopic?name=ann", "vhost", "/", "exchange", "amq.topic").want(403)
	b.api("PUT", "topic-permissions/%2F/ann", `{"exchange":"","write":"^$","read":"^$"}`)
	b.post("/user/droptopic?name=ann", "vhost", "/", "exchange", "").want(400, "exchange is missing", `^eu\.`)
	b.post("/user/droptopic?name=ann", "vhost", "/", "exchange", "amq.topic").to("/user?name=ann")
	ann.post(at, "key", "us.x", "payload", "x").want(303)
}

func TestPoliciesTellWhatTheyMatch(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.get("/policies").want(200, "No policies yet")
	for _, q := range []string{"jobs.a", "jobs.b", "other"} {
		b.api("PUT", "queues/%2F/"+q, "{}")
	}
	b.post("/policies/put", "name", "short", "vhost", "/", "pattern", `^jobs\.`, "to", "queues", "priority", "high", "definition", "max-length=5").want(400, "whole number")
	b.post("/policies/put", "name", "short", "vhost", "/", "pattern", `^jobs\.`, "to", "queues", "priority", "3", "definition", "nonsense=5").want(400, "nonsense")
	b.post("/policies/put", "name", "short", "vhost", "/", "pattern", `^jobs\.`, "to", "queues", "priority", "3", "definition", "max-length=5").to("/policies")
	b.get("/policies").want(200, "2 queues", "max-length")
	b.get("/queue?vhost=%2F&name=jobs.a").want(200, "policy short", "By policies")
	b.post("/policies/put", "name", "cap", "vhost", "/", "pattern", ".*", "to", "queues", "operator", "on", "definition", "max-length=9").to("/policies")
	b.get("/policies").want(200, "operator</span>", "3 queues")
	b.post("/policies/delete", "name", "short", "vhost", "/").to("/policies")
	b.post("/policies/delete", "name", "cap", "vhost", "/", "operator", "on").to("/policies")
	b.get("/policies").want(200, "No policies yet")
}

func TestAConsumerTellsWhyItTakesNoMore(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.api("PUT", "queues/%2F/jobs", "{}")
	c, err := amqp.DialConfig(b.server.AMQPURL(), amqp.Config{Properties: amqp.Table{"connection_name": "worker <1>"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Qos(2, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume("jobs", "tag", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := "/queue?vhost=%2F&name=jobs"
	b.get(at).want(200, "takes what comes")
	for range 3 {
		b.post("/queue/publish?vhost=%2F&name=jobs", "payload", "x").want(303)
	}
	<-deliveries
	<-deliveries
	b.get(at).want(200, "holds as many as its prefetch allows", `<dd id="ready">1</dd>`)
	b.get("/connections").want(200, "worker &lt;1&gt;", "AMQP 0-9-1")
	var place string
	for _, p := range places(b.get("/connections")) {
		if strings.HasPrefix(p, "/connection?") {
			place = p
		}
	}
	b.get(place).want(200, "worker &lt;1&gt;", "Close the connection")
	b.api("PUT", "users/ann", `{"password":"x","tags":"monitoring"}`)
	ann := b.another().signIn("ann", "x")
	ann.get(place).want(200).without("Close the connection")
	ann.post(strings.Replace(place, "/connection?", "/connection/close?", 1)).want(403)
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	b.post(strings.Replace(place, "/connection?", "/connection/close?", 1)).to("/connections")
	if err := <-closed; err == nil || err.Code != 320 {
		t.Errorf("the client was told %v", err)
	}
}

func TestTheLogIsShownNewestFirst(t *testing.T) {
	b := start(t)
	b.post("/login", "name", "mallory<b>", "password", "x").want(401)
	b.signIn("guest", "guest")
	b.get("/audit").want(200, "login", "mallory&lt;b&gt;", "refused")
	b.get("/audit?name=mallory").want(200, "mallory&lt;b&gt;")
	b.get("/audit?name=nothing-like-it").want(200, "No line has that text")
	b.get("/log").want(200)
}

func TestAGroupShowsHowFarBehindItIs(t *testing.T) {
	b := start(t).signIn("guest", "guest")
	b.get("/groups").want(200, "No groups yet")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	k, err := kgo.NewClient(kgo.SeedBrokers(b.server.Addr("kafka")), kgo.ConsumeTopics("greetings"), kgo.ConsumerGroup("shippers"), kgo.DisableAutoCommit(),
		kgo.AllowAutoTopicCreation(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DefaultProduceTopic("greetings"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, text := range []string{"a", "b", "c"} {
		if err := k.ProduceSync(ctx, kgo.StringRecord(text)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	first := k.PollRecords(ctx, 1).Records()
	if len(first) != 1 {
		t.Fatal("nothing was read")
	}
	if err := k.CommitRecords(ctx, first...); err != nil {
		t.Fatal(err)
	}
	b.get("/groups").want(200, ">shippers</a>", ">greetings</a>", `<td class="n">2</td>`)
	b.get("/group?vhost=%2F&name=shippers").want(200, ">greetings</a>", "<dt>Lag</dt><dd>2</dd>")
	b.get("/group?vhost=%2F&name=none").want(404)
	b.get("/queue?vhost=%2F&name=greetings").want(200, "As a topic", ">shippers</a>", `<td>0</td><td class="n">0</td><td class="n">3</td>`)

	reset := "/group/reset?vhost=%2F&name=shippers"
	b.post(reset, "topic", "greetings", "to", "first").want(400, "has members")
	k.Close()
	b.post(reset, "topic", "greetings", "to", "offset", "value", "3").to("/group?vhost=%2F&name=shippers")
	b.get("/group?vhost=%2F&name=shippers").want(200, "<dt>Lag</dt><dd>0</dd>")
	b.post(reset, "topic", "greetings", "to", "offset", "value", "4").want(400, "goes from 0 to 3", `value="4"`)
	b.post(reset, "topic", "greetings", "to", "offset", "value", "x").want(400, "whole number")
	b.post(reset, "topic", "greetings", "to", "time", "value", "soon").want(400, "must be a time")
	b.post(reset, "topic", "greetings", "to", "time", "value", "2020-01-01 10:00").want(303)
	b.get("/group?vhost=%2F&name=shippers").want(200, "<dt>Lag</dt><dd>3</dd>")
	b.post(reset, "topic", "greetings", "to", "time", "value", "2120-01-01").want(303)
	b.get("/group?vhost=%2F&name=shippers").want(200, "<dt>Lag</dt><dd>0</dd>")
	b.post(reset, "topic", "greetings", "to", "first").want(303)
	b.get("/group?vhost=%2F&name=shippers").want(200, "<dt>Lag</dt><dd>3</dd>")
	b.post(reset, "topic", "greetings", "to", "last").want(303)
	b.get("/group?vhost=%2F&name=shippers").want(200, "<dt>Lag</dt><dd>0</dd>")
	b.post(reset, "topic", "none", "to", "last").want(404)
	b.post("/group/reset?vhost=%2F&name=none", "topic", "greetings", "to", "last").want(404)

	b.api("PUT", "users/ann", `{"password":"x","tags":"monitoring"}`)
	ann := b.another().signIn("ann", "x")
	b.api("PUT", "permissions/%2F/ann", `{"configure":"","write":"","read":"^greet"}`)
	ann.post(reset, "topic", "greetings", "to", "first").want(403)
	ann.post("/group/delete?vhost=%2F&name=shippers", "confirm", "shippers").want(403)
	b.api("PUT", "permissions/%2F/ann", `{"configure":"^greet","write":"","read":"^ship"}`) // it sees the topic, and may not read it
	ann.post(reset, "topic", "greetings", "to", "first").want(403)
	b.api("DELETE", "permissions/%2F/ann", "")
	b.api("PUT", "vhosts/shop", "{}")
	b.api("PUT", "permissions/shop/ann", `{"configure":".*","write":".*","read":".*"}`)
	ann.get("/groups").want(200).without("shippers")
	ann.get("/group?vhost=%2F&name=shippers").want(403)
	b.post("/group/delete?vhost=%2F&name=shippers", "confirm", "ship").want(400)
	b.post("/group/delete?vhost=%2F&name=shippers", "confirm", "shippers").to("/groups")
	b.get("/groups").want(200, "No groups yet")
}
