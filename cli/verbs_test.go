package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestQueuesAreDeclaredListedShownPurgedAndDeleted(t *testing.T) {
	start(t)
	do(t, "declare queue jobs --ttl 10m --max-bytes 1MiB --dead-letter-exchange dead -a x-max-priority=5").ok("queue jobs: declared")
	do(t, "declare queue jobs --ttl 10m --max-bytes 1MiB --dead-letter-exchange dead -a x-max-priority=5").ok("queue jobs: was there")
	do(t, "declare queue jobs").ends(1, "inequivalent arg")
	do(t, "declare queue events --type stream --max-age 7D").ok()
	do(t, "show queue jobs").ok("arguments.x-message-ttl", "600000", "arguments.x-max-length-bytes", "1048576", "arguments.x-max-priority", "durable")
	do(t, "publish jobs hello").ok("1 message published")
	list := do(t, "list queues").ok("NAME", "READY", "jobs", "classic", "events", "stream").lacks("VHOST")
	if lines := strings.Split(list.out, "\n"); len(lines) != 4 || strings.Index(lines[0], "TYPE") != strings.Index(lines[2], "classic") {
		t.Errorf("it is no table:\n%s", list.out)
	}
	if got := do(t, "ls queues name messages --sort -messages --no-titles").ok().out; got != "jobs    1\nevents  0\n" {
		t.Errorf("%q", got)
	}
	var objects []map[string]any
	if err := json.Unmarshal([]byte(do(t, "list queues messages name --output json --match ^jo").ok().out), &objects); err != nil || len(objects) != 1 || len(objects[0]) != 2 || objects[0]["messages"] != 1.0 {
		t.Errorf("%v, %v", objects, err)
	}
	do(t, "list queues nothing").ends(2, `no column "nothing"`)
	do(t, "list queues --vhost nowhere").ends(1, "there is no virtual host nowhere")
	do(t, "delete queue jobs --if-empty").ends(1, "not empty")
	do(t, "purge jobs").ok("queue jobs: purged")
	do(t, "delete queue jobs --if-empty").ok("queue jobs: deleted")
	do(t, "delete queue jobs").ends(1, "there is no queue jobs in virtual host /", "leveret list queues")
	do(t, "show queue jobs").ends(1, "there is no queue jobs")
	do(t, "purge jobs").ends(1, "there is no queue jobs")
}

// Names are told apart from paths, whatever is in them.
func TestNamesMayHoldAnything(t *testing.T) {
	start(t)
	for _, name := range []string{"a/b", "..", ".", "a b?c#d%2F", "\x1b[31mred", "käse", "-dash"} {
		run(t, "", "declare", "queue", "--", name).ok()
		run(t, "x", "publish", "--", name).ok()
		run(t, "", "consume", "--count", "1", "--", name).ok("x")
		run(t, "", "show", "queue", "--", name).ok("classic").lacks("\x1b")
		run(t, "", "bind", "--", "amq.topic", name, "k/"+name).ok().lacks("\x1b")
		do(t, "list queues").ok().lacks("\x1b")
		run(t, "", "unbind", "--", "amq.topic", name, "k/"+name).ok().lacks("\x1b")
		run(t, "", "delete", "queue", "--", name).ok().lacks("\x1b")
	}
	do(t, "list queues --output json").ok("[]")
	run(t, "", "show", "queue", "").ends(2, "empty")
	run(t, "", "purge", "").ends(2, "empty")
}

func TestExchangesAndBindings(t *testing.T) {
	start(t)
	do(t, "declare exchange logs --type topic --alternate-exchange rest").ok("exchange logs: declared")
	do(t, "declare exchange rest --type fanout").ok()
	do(t, "declare queue errors").ok()
	do(t, "declare queue all").ok()
	do(t, "bind logs errors *.error").ok(`errors: bound to logs with key "*.error"`)
	do(t, "declare binding rest all").ok()
	do(t, "bind logs rest audit.* --to-exchange").ok()
	do(t, "bind amq.headers errors -a x-match=all -a n=10").ok()
	do(t, "list bindings").ok("logs", "*.error", "exchange", "n=10").lacks("FROM  TO    KIND      KEY\n  ")
	if all, some := do(t, "list bindings --all --output json").ok().out, do(t, "list bindings --output json").ok().out; strings.Count(all, `"source"`) != 6 || strings.Count(some, `"source"`) != 4 {
		t.Errorf("%s\n%s", all, some)
	}
	do(t, "list exchanges").ok("logs", "alternate-exchange=rest", "amq.topic")
	do(t, "show exchange logs").ok("arguments.alternate-exchange", "rest")
	run(t, "", "show", "exchange", "").ok("direct")
	do(t, "publish --exchange logs --key web.error boom").ok()
	do(t, "publish -x logs -k web.info fine").ok() // by the alternate exchange
	do(t, "consume errors --count 1").ok("boom")
	do(t, "consume all --count 1").ok("fine")
	do(t, "bind nope errors").ends(1, "there is no exchange nope")
	do(t, "bind logs nope").ends(1, "there is no queue nope")
	do(t, "bind logs nope --to-exchange").ends(1, "there is no exchange logs or nope")
	do(t, "unbind logs errors other").ends(1, "no such binding")
	do(t, "unbind amq.headers errors").ends(1, "no such binding")
	do(t, "unbind amq.headers errors -a x-match=all -a n=10").ok()
	do(t, "delete binding logs errors --all").ok(`no longer bound to logs with key "*.error"`)
	do(t, "unbind logs rest audit.* --to-exchange").ok()
	do(t, "delete exchange rest --if-unused").ends(1)
	do(t, "delete exchange rest logs").ok("exchange rest: deleted", "exchange logs: deleted")
}

func TestUsersPermissionsVHostsAndPolicies(t *testing.T) {
	start(t)
	do(t, "declare vhost shop --description orders --tags a,b --default-queue-type quorum").ok("virtual host shop: declared")
	do(t, "declare vhost shop --description stock").ok("virtual host shop: changed")
	do(t, "list vhosts").ok("shop", "stock", "quorum")
	run(t, "s3cret\n", "declare", "user", "ann", "--new-password-file", "-", "--tags", "management").ok("user ann: declared")
	do(t, "list queues --user ann --password wrong").ends(1, "does not know user ann with this password", "--password")
	do(t, "list users --user ann --password s3cret").ends(1, "user ann may not do this", "administrator")
	do(t, "list queues --user ann --password s3cret --vhost shop").ends(1)
	do(t, "declare permissions ann --vhost shop --configure ^ann").ok("permissions of ann in shop: declared")
	do(t, "declare queue ann.q --vhost shop --user ann --password s3cret").ok()
	do(t, "declare queue bob.q --vhost shop --user ann --password s3cret").ends(1, "bob.q")
	do(t, "list permissions --vhost shop").ok("ann", "^ann").lacks("VHOST")
	do(t, "list permissions").ok("VHOST", "shop")
	do(t, "show permissions ann --vhost shop").ok("^ann")
	do(t, "declare topic-permissions ann amq.topic --vhost shop --write ^a").ok()
	do(t, "list topic-permissions").ok("amq.topic", "^a")
	do(t, "show topic-permissions ann --vhost shop").ok("amq.topic")
	do(t, "delete topic-permissions ann --vhost shop").ok("taken away")
	do(t, "set tags ann monitoring policymaker").ok("tags are monitoring, policymaker")
	do(t, "show user ann").ok("monitoring, policymaker")
	do(t, "list connections --user ann --password s3cret").ok() // the password is as it was
	run(t, "", "declare", "user", "ann", "--new-password", "other").ok("user ann: changed")
	do(t, "list queues --user ann --password s3cret").ends(1, "does not know")
	run(t, "", "declare", "user", "bob", "--no-password").ok()
	do(t, "declare user carl").ends(2, "--new-password-file")
	run(t, "\n", "declare", "user", "carl", "--new-password-file", "-").ends(2, "empty")
	run(t, "", "declare", "policy", "short", `^tmp\.`, "max-length=10", "message-ttl=10m", "--apply-to", "queues", "--priority", "3").ok("policy short: declared")
	run(t, "", "declare", "policy", "short", `^tmp\.`, `{"max-length": 11}`).ok("policy short: changed")
	run(t, "", "declare", "operator-policy", "cap", `.*`, `max-length=1000`).ok()
	do(t, "declare policy short . max-length=many").ends(1, "is not a valid maximum length")
	do(t, "list policies").ok("short", `^tmp\.`, "max-length=11")
	do(t, "show policy short").ok("definition.max-length", "11")
	do(t, "list operator-policies").ok("cap")
	do(t, "declare queue tmp.a").ok()
	do(t, "show queue tmp.a").ok("short", "cap")
	do(t, "delete policy short").ok("deleted")
	do(t, "delete operator-policy cap").ok("deleted")
	do(t, "delete permissions ann --vhost shop").ok("taken away")
	do(t, "delete user ann bob").ok("user ann: deleted", "user bob: deleted")
	do(t, "delete vhost shop").ok("vhost shop: deleted")
	do(t, "set tags nobody").ends(1, "there is no user nobody")
}

func TestMessagesArePublishedAndConsumed(t *testing.T) {
	start(t)
	do(t, "declare queue q").ok()
	do(t, "declare queue dead").ok()
	run(t, "", "declare", "queue", "work", "-a", "x-dead-letter-exchange=", "--dead-letter-key", "dead").ok()
	lines := write(t, "one\r\ntwo\n\nfour")
	run(t, "", "publish", "q", "--lines", "--file", lines).ok("4 messages published")
	if got := do(t, "consume q --drain").ok().out; got != "one\ntwo\n\nfour\n" {
		t.Errorf("%q", got)
	}
	run(t, "a\nb\nc\n", "publish", "q", "--lines", "--at-once", "8", "--quiet").ok()
	got := strings.Fields(do(t, "consume q -n 3").ok().out)
	slices.Sort(got)
	if strings.Join(got, "") != "abc" {
		t.Error(got)
	}
	binary := "\xff\x00binary\n"
	run(t, binary, "publish", "q").ok()
	if got := do(t, "consume q -n 1 --no-newline").ok().out; got != binary {
		t.Errorf("%q", got)
	}
	run(t, "", "publish", "q", "m", "-H", "n=3", "-H", "s=\"3\"", "-P", "correlation_id=17", "-P", "timestamp=5", "--content-type", "text/plain", "--priority", "2", "--expiration", "10m", "--message-id", "i", "--transient", "--delay", "0s").ok()
	var m struct {
		Properties map[string]any `json:"properties"`
		Key        string         `json:"routing_key"`
	}
	if err := json.Unmarshal([]byte(do(t, "consume q -n 1 --requeue -o json").ok().out), &m); err != nil {
		t.Fatal(err)
	}
	h, _ := m.Properties["headers"].(map[string]any)
	for name, want := range map[string]any{"correlation_id": "17", "timestamp": 5.0, "content_type": "text/plain", "priority": 2.0, "expiration": "600000", "message_id": "i", "delivery_mode": 1.0} {
		if m.Properties[name] != want {
			t.Errorf("%s is %v", name, m.Properties[name])
		}
	}
	if h["n"] != 3.0 || h["s"] != "3" || h["x-delay"] != 0.0 || m.Key != "q" {
		t.Errorf("%v, %v", h, m)
	}
	do(t, "consume q -n 1 -o full").ok(`exchange ""`, `key "q"`, "redelivered", "correlation_id=17")
	do(t, "consume q -n 1 --drain").ends(1, "no message was there")
	begun := time.Now()
	do(t, "consume q -n 1 --wait 20ms").ends(1, "no message was there")
	do(t, "consume q --wait 20ms").ok()
	if time.Since(begun) > 30*time.Second {
		t.Error("it waited for long")
	}
	do(t, "publish work bad -n 2").ok("2 messages")
	do(t, "consume work -n 1 --reject").ok("bad")
	do(t, "consume dead -n 1").ok("bad")
	do(t, "publish nowhere x").ends(1, "there is no queue nowhere", "leveret declare queue nowhere")
	do(t, "publish -x amq.fanout x").ends(1, "no queue takes the key", "amq.fanout")
	do(t, "publish -x amq.fanout x --allow-unrouted").ok()
	do(t, "publish -x nope x").ends(1, "there is no exchange nope")
	do(t, "publish q x --vhost nowhere").ends(1)
	run(t, strings.Repeat("x", 15<<20), "publish", "q").ends(1, "more than the HTTP API takes")
	run(t, "a\nb\n", "publish", "nowhere", "--lines").ends(1, "there is no queue nowhere")
	do(t, "consume nowhere").ends(1, "there is no queue nowhere")
}

func TestTailFollowsAndTakesNothing(t *testing.T) {
	start(t)
	do(t, "declare queue q").ok()
	do(t, "publish q first").ok()
	if got := do(t, "tail q --first -n 1").ok().out; got != "first\n" {
		t.Errorf("%q", got)
	}
	do(t, "tail q --offset 0 -n 1 -o full").ok("offset 0", "first")
	l := begin(t, "tail", "q", "-n", "2")
	for begun := time.Now(); len(l.done) == 0 && time.Since(begun) < time.Minute; time.Sleep(10 * time.Millisecond) { // it begins at what is new, whenever that is
		do(t, "publish q next").ok()
	}
	if got := l.wait().ok().out; got != "next\nnext\n" {
		t.Errorf("%q", got)
	}
	do(t, "consume q -n 1").ok("first")
	do(t, "tail nowhere").ends(1, "there is no queue nowhere")
}

// A broker that is started anew is waited for, and nothing is told twice.
func TestTailOutlivesABroker(t *testing.T) {
	r := start(t)
	do(t, "declare queue q").ok()
	do(t, "publish q one").ok()
	l := begin(t, "tail", "q", "--first", "-n", "2")
	l.until("one\n")
	r.Restart()
	do(t, "publish q two").ok()
	if got := l.wait().ok(); got.out != "one\ntwo\n" || !strings.Contains(got.err, "the broker went away") {
		t.Errorf("%q, %q", got.out, got.err)
	}
}

func TestConnectionsAreListedAndClosed(t *testing.T) {
	r := start(t)
	conn, err := amqp.Dial(r.AMQPURL())
	if err != nil {
		t.Fatal(err)
	}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("q", "me", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	do(t, "list connections").ok("guest", "AMQP 0-9-1")
	do(t, "list channels").ok("guest")
	do(t, "list consumers").ok("q", "me")
	name := conn.LocalAddr().String() + " -> " + r.Addr("amqp")
	run(t, "", "show", "connection", name).ok("peer_port")
	run(t, "", "close", "connection", name, "--reason", "go home").ok("closed") // close is what delete is also called
	if why := <-closed; why == nil || !strings.Contains(why.Reason, "go home") {
		t.Errorf("it was told %v", why)
	}
	run(t, "", "delete", "connection", name).ends(1, "there is no connection")
}

func TestGroupsAreListedWithTheirLag(t *testing.T) {
	r := start(t)
	do(t, "declare queue events").ok()
	run(t, "a\nb\nc\n", "publish", "events", "--lines").ok()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Addr("kafka")), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	got := cl.PollRecords(ctx, 10)
	if err := got.Err(); err != nil {
		t.Fatal(err)
	}
	if err := cl.CommitRecords(ctx, got.Records()[0]); err != nil {
		t.Fatal(err)
	}
	list := do(t, "list groups name state members topics lag --no-titles").ok().out
	if strings.Join(strings.Fields(list), " ") != "billing active 1 events 2" {
		t.Error(list)
	}
	do(t, "show group billing").ok("offset=1", "lag=2")
	do(t, "show group nobody").ends(1, "there is no group nobody", "leveret list groups")
	do(t, "delete group billing").ends(1, "group 'billing' in vhost '/' has members: stop its consumers first")
	cl.Close()
	do(t, "delete group billing").ok("billing: deleted")
	do(t, "list groups --no-titles").ok()
	do(t, "delete group billing").ends(1, "no group 'billing'")
}

func TestDefinitionsGoOutAndIn(t *testing.T) {
	start(t)
	do(t, "declare queue jobs").ok()
	do(t, "declare vhost shop").ok()
	do(t, "declare queue carts --vhost shop").ok()
	dir := t.TempDir()
	all, one := filepath.Join(dir, "all.json"), filepath.Join(dir, "shop.json")
	run(t, "", "export", all).ok()
	run(t, "", "export", "--vhost", "shop", "--output", one).ok()
	do(t, "export").ok(`"jobs"`, `"carts"`)
	for _, name := range []string{all, one} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%v, %v", info, err)
		}
	}
	do(t, "export --vhost nowhere").ends(1, "there is no virtual host nowhere")
	do(t, "export --data-dir somewhere --vhost shop").ok("directory somewhere vhost shop")
	do(t, "delete queue jobs").ok()
	do(t, "delete vhost shop").ok()
	run(t, "", "import", all).ok("imported")
	do(t, "list queues name vhost").ok("jobs", "carts", "shop")
	do(t, "declare vhost other").ok()
	run(t, "", "import", one, "--vhost", "other").ok()
	do(t, "show queue carts --vhost other").ok()
	text, err := os.ReadFile(all)
	if err != nil {
		t.Fatal(err)
	}
	run(t, string(text), "import", "-").ok("imported")
	run(t, `{"queues":[{"name":7}]}`, "import", "-").ends(1, "nothing was done", "queues[0].name")
	run(t, "", "import", filepath.Join(dir, "none")).ends(1, "no such file")
	run(t, "", "import", one, "--vhost", "nowhere").ends(1, "nowhere")
}

func TestStatusIsOneLookAtTheBroker(t *testing.T) {
	r := start(t)
	do(t, "declare queue jobs").ok()
	do(t, "publish jobs x").ok()
	do(t, "status").ok("up for", "amqp on "+r.Addr("amqp"), "1 queue,", "1: 1 ready", r.DataDir(), "alarms")
	var report map[string]any
	if err := json.Unmarshal([]byte(do(t, "status --output json").ok().out), &report); err != nil || report["messages"] != 1.0 || report["version"] != "test" || len(report["listeners"].([]any)) < 6 {
		t.Errorf("%v, %v", report, err)
	}
	run(t, "", "declare", "user", "ann", "--new-password", "p", "--tags", "management").ok()
	do(t, "status --user ann --password p").ok("leveret", "queue")
}
