package stomp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/broker"
)

// fill puts numbered messages into a queue.
func (p *peer) fill(destination string, n int) {
	p.t.Helper()
	var frames []string
	for i := range n {
		frames = append(frames, fmt.Sprintf("SEND\ndestination:%s\n\n%d", destination, i))
	}
	p.send(frames...)
	p.call("BEGIN\ntransaction:fill")
	p.call("ABORT\ntransaction:fill")
}

// messages reads n messages.
func (p *peer) messages(n int) (list []got) {
	p.t.Helper()
	for range n {
		g := p.read()
		if g.command != "MESSAGE" {
			p.t.Fatalf("no message, but %s", g)
		}
		list = append(list, g)
	}
	return list
}

func bodies(list []got) string {
	var all []string
	for _, g := range list {
		all = append(all, g.body)
	}
	return strings.Join(all, " ")
}

// What is acked does not come again when the connection ends, and what is not does, in order.
func TestAckModes(t *testing.T) {
	for mode, c := range map[string]struct {
		acks func([]got) []string
		left string
	}{
		"auto":              {nil, ""},
		"client":            {func(m []got) []string { return []string{"ACK\nid:" + m[2].get("ack")} }, "3 4"},
		"client-individual": {func(m []got) []string { return []string{"ACK\nid:" + m[2].get("ack"), "ACK\nid:" + m[0].get("ack")} }, "1 3 4"},
	} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			p := r.connect("1.2")
			p.fill("/queue/a", 5)
			p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:" + mode)
			list := p.messages(5)
			if (list[0].get("ack") == "") != (mode == "auto") {
				t.Errorf("the header ack is %q", list[0].get("ack"))
			}
			if c.acks != nil {
				for _, a := range c.acks(list) {
					p.call(a)
				}
			}
			p.call("DISCONNECT")
			n := len(strings.Fields(c.left))
			if ready := r.ready("a"); ready != int64(n) {
				t.Fatalf("%d are ready, want %s", ready, c.left)
			}
			q := r.connect("1.2")
			q.call("SUBSCRIBE\nid:1\ndestination:/queue/a")
			if left := bodies(q.messages(n)); left != c.left {
				t.Errorf("%s are left, want %s", left, c.left)
			}
		})
	}
}

// An ACK of one subscription settles nothing of another, however its messages were mixed.
func TestCumulativeAcksAreOfTheirSubscription(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.1")
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client")
	p.call("SUBSCRIBE\nid:2\ndestination:/queue/b\nack:client")
	var last got
	for i := range 4 {
		p.send(fmt.Sprintf("SEND\ndestination:/queue/%c\n\n%d", "ab"[i%2], i))
		last = p.read()
	}
	if last.get("subscription") != "2" {
		t.Fatal(last)
	}
	p.call("ACK\nsubscription:2\nmessage-id:" + last.get("message-id"))
	p.call("DISCONNECT")
	if a, b := r.ready("a"), r.ready("b"); a != 2 || b != 0 {
		t.Errorf("%d and %d are left, want 2 and 0", a, b)
	}
}

func TestNACKPutsBackOrDrops(t *testing.T) {
	for header, want := range map[string]int64{"": 1, "requeue:true\n": 1, "requeue:false\n": 0, "requeue:False\n": 0} {
		r := newRig(t, rigOptions{})
		p := r.connect("1.2")
		p.fill("/queue/a", 1)
		p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client-individual")
		m := p.messages(1)[0]
		p.send("NACK\n" + header + "id:" + m.get("ack") + "\n\n")
		if want == 1 {
			again := p.messages(1)[0]
			if again.get("redelivered") != "true" || again.get("ack") == m.get("ack") {
				t.Errorf("%q: %v", header, again)
			}
		}
		p.call("DISCONNECT")
		if n := r.ready("a"); n != want {
			t.Errorf("%q: %d are left, want %d", header, n, want)
		}
	}
}

func TestPrefetchBoundsWhatIsUnacked(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.fill("/queue/a", 5)
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client\nprefetch-count:2")
	list := p.messages(2)
	p.call("BEGIN\ntransaction:t") // and nothing comes before its receipt
	p.send("ACK\nid:" + list[1].get("ack") + "\n\n")
	if got := bodies(p.messages(2)); got != "2 3" {
		t.Error(got)
	}
}

// A client may ack what it holds when it unsubscribes, and hears of nothing new.
func TestUnsubscribe(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.fill("/queue/a", 2)
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client-individual\nprefetch-count:2")
	list := p.messages(2)
	p.call("UNSUBSCRIBE\nid:1")
	p.fill("/queue/a", 1)
	p.call("ACK\nid:" + list[1].get("ack"))
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client-individual")
	if m := p.messages(1)[0]; m.body != "0" || m.get("redelivered") != "false" {
		t.Errorf("not what came meanwhile: %s", m)
	}
	p.send("ACK\nid:" + list[1].get("ack") + "\n\n")
	p.ended("Message not found", "unknown delivery tag 2")
	if n := r.ready("a"); n != 2 {
		t.Errorf("%d are left, want 2", n)
	}
}

// In 1.0 a subscription needs no identifier.
func TestASubscriptionWithoutAnIdentifierIsKnownByItsDestination(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.0")
	p.call("SUBSCRIBE\ndestination:/queue/a")
	p.send("SEND\ndestination:/queue/a\n\nx")
	p.expect("MESSAGE message-id:1 redelivered:false destination:/queue/a [x]")
	p.call("UNSUBSCRIBE\ndestination:/queue/a")
	p.fill("/queue/a", 1)
	if n := r.ready("a"); n != 1 {
		t.Errorf("%d are ready", n)
	}
}

func TestAnIdentifierIsOfOneSubscription(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/a")
	p.send("SUBSCRIBE\nid:1\ndestination:/queue/b\n\n")
	p.ended("Duplicated subscription identifier", "'1' already exists")
}

func TestTopicsAreQueuesOfTheirOwn(t *testing.T) {
	r := newRig(t, rigOptions{})
	if _, err := r.session.DeclareExchange("x", broker.ExchangeOptions{Type: "direct", Durable: true}); err != nil {
		t.Fatal(err)
	}
	p, q := r.connect("1.2"), r.connect("1.2")
	for _, one := range []*peer{p, q} {
		one.call("SUBSCRIBE\nid:t\ndestination:/topic/a.*")
		one.call("SUBSCRIBE\nid:x\ndestination:/exchange/x/k")
	}
	before := len(r.vhost.Queues())
	q.send("SEND\ndestination:/topic/a.b\n\n1", "SEND\ndestination:/topic/a/c\n\n2", "SEND\ndestination:/topic/b.b\n\nno", "SEND\ndestination:/exchange/x/k\n\n3", "SEND\ndestination:/exchange/x\n\nno")
	for _, one := range []*peer{p, q} {
		list := one.messages(3)
		seen := map[string]string{}
		for _, m := range list {
			seen[m.body] = m.get("subscription") + " " + m.get("destination")
		}
		if fmt.Sprint(seen) != "map[1:t /topic/a.b 2:t /topic/a.c 3:x /exchange/x/k]" {
			t.Error(seen)
		}
	}
	p.call("UNSUBSCRIBE\nid:t")
	p.call("DISCONNECT")
	p.next()
	if after := len(r.vhost.Queues()); after != before-2 {
		t.Errorf("%d queues, and %d when one of two has left", before, after)
	}
}

// With durable:true, an identifier and auto-delete:false a subscription gets what came while its client was away.
func TestLastingSubscriptions(t *testing.T) {
	r := newRig(t, rigOptions{})
	const subscribe = "SUBSCRIBE\nid:news\ndestination:/topic/a.#\nauto-delete:false\nack:client\ndurable:true"
	p := r.connect("1.2")
	p.call(subscribe)
	p.call("DISCONNECT")
	other := r.connect("1.2")
	other.send("SEND\ndestination:/topic/a.b\nreceipt:1\n\nmeanwhile")
	other.expect("RECEIPT receipt-id:1")
	p = r.connect("1.2")
	p.call(subscribe)
	if m := p.messages(1)[0]; m.body != "meanwhile" {
		t.Error(m)
	}
	p.call("UNSUBSCRIBE\nid:news\ndurable:true")
	if n := len(r.vhost.Queues()); n != 0 {
		t.Errorf("%d queues are left", n)
	}
	p.send("SUBSCRIBE\ndestination:/topic/a\ndurable:true\n\n")
	p.ended("Missing Header", "'id' is required for durable subscriptions")
}

func TestHeadersAreArgumentsOfTheQueue(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.call("SUBSCRIBE\nid:1\ndestination:/topic/k\nx-queue-name:mine\nx-message-ttl: 5000 \nx-max-length:7\nx-overflow:reject-publish\nx-dead-letter-exchange:dlx\nx-single-active-consumer:true\nexclusive:false")
	q, err := r.session.LookAt("mine")
	if err != nil {
		t.Fatal(err)
	}
	s := q.Settings()
	if s.MessageTTL != 5000 || s.MaxLength != 7 || s.Overflow != broker.RejectPublish || !s.SingleActive || q.Exclusive || !q.AutoDelete || q.Durable {
		t.Errorf("%+v", s)
	}
	p.send("SUBSCRIBE\nid:2\ndestination:/queue/b\nx-message-ttl:soon\n\n")
	p.ended("Invalid header", "'x-message-ttl' is not a number: 'soon'")
}

func TestStreamsAreReadFromWhereTheClientSays(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.send("SEND\ndestination:/queue/s\nx-queue-type:stream\n\n0")
	for i := 1; i < 4; i++ {
		p.send(fmt.Sprintf("SEND\ndestination:/amq/queue/s\n\n%d", i))
	}
	p.call("BEGIN\ntransaction:t") // all of it is there
	for offset, want := range map[string]string{"first": "0 1 2 3", "offset=2": "2 3", "offset:3": "3", "timestamp=1": "0 1 2 3", "last": ""} {
		q := r.connect("1.2")
		q.call("SUBSCRIBE\nid:1\ndestination:/amq/queue/s\nack:client\nprefetch-count:10\nx-stream-offset:" + offset)
		if offset == "last" {
			continue // from the last batch on, whatever is in it
		}
		if got := bodies(q.messages(len(strings.Fields(want)))); got != want {
			t.Errorf("%s: %s, want %s", offset, got, want)
		}
	}
	p.send("SUBSCRIBE\nid:1\ndestination:/amq/queue/s\nx-stream-offset:offset=x\n\n")
	p.ended("Invalid header", "'x-stream-offset'")
}

// A question goes out with a queue for the answer that its client has named.
func TestTemporaryQueues(t *testing.T) {
	r := newRig(t, rigOptions{})
	asks, answers := r.connect("1.2"), r.connect("1.2")
	answers.call("SUBSCRIBE\nid:1\ndestination:/queue/questions")
	for range 2 { // the second uses the same queue
		asks.send("SEND\ndestination:/queue/questions\nreply-to:/temp-queue/mine\n\nwhy?")
		question := answers.messages(1)[0]
		to := question.get("reply-to")
		if !strings.HasPrefix(to, "/reply-queue/amq.gen-") {
			t.Fatalf("reply-to is %q", to)
		}
		answers.send("SEND\ndestination:" + to + "\n\nbecause")
		if m := asks.messages(1)[0]; m.body != "because" || m.get("subscription") != "/temp-queue/mine" {
			t.Error(m)
		}
	}
	if n := len(r.vhost.Queues()); n != 2 {
		t.Errorf("%d queues", n)
	}
	asks.send("SUBSCRIBE\nid:9\ndestination:/temp-queue/other\n\n", "SEND\ndestination:/queue/questions\nreply-to:/temp-queue/other\n\nwhy?")
	answers.send("SEND\ndestination:" + answers.messages(1)[0].get("reply-to") + "\n\nso")
	if m := asks.messages(1)[0]; m.get("subscription") != "9" {
		t.Errorf("a reply to a queue that was subscribed to: %s", m)
	}
	// One to which replies go has the subscription that its client asks for in the place of its own.
	asks.call("SUBSCRIBE\nid:10\ndestination:/temp-queue/mine\nack:client-individual")
	for range 2 { // of which none goes to a subscription that the client does not know of
		asks.send("SEND\ndestination:/queue/questions\nreply-to:/temp-queue/mine\n\nwhy?")
		answers.send("SEND\ndestination:" + answers.messages(1)[0].get("reply-to") + "\n\nso")
		m := asks.messages(1)[0]
		if m.get("subscription") != "10" {
			t.Errorf("a reply to a queue that was subscribed to later: %s", m)
		}
		asks.call("ACK\nid:" + m.get("ack"))
	}
	asks.call("SUBSCRIBE\nid:11\ndestination:/temp-queue/mine")
	asks.call("UNSUBSCRIBE\nid:10")
	asks.send("SEND\ndestination:/queue/questions\nreply-to:/temp-queue/mine\n\nwhy?")
	answers.send("SEND\ndestination:" + answers.messages(1)[0].get("reply-to") + "\n\nso")
	if m := asks.messages(1)[0]; m.get("subscription") != "11" {
		t.Errorf("a reply behind the end of one of two subscriptions: %s", m)
	}
	asks.call("UNSUBSCRIBE\nid:11")
	if n := len(r.vhost.Queues()); n != 2 {
		t.Errorf("%d queues are left", n)
	}
	asks.send("SEND\ndestination:/temp-queue/mine\n\nx")
	asks.ended("Invalid destination", "not a valid destination for 'SEND'")
}

func TestAQueueThatGoesEndsItsSubscriber(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.call("SUBSCRIBE\nid:7\ndestination:/queue/a")
	if _, err := r.session.DeleteQueue("a", false, false); err != nil {
		t.Fatal(err)
	}
	if g := p.ended("Server cancelled subscription", "No more messages will be delivered for '7'"); g.get("subscription") != "7" {
		t.Errorf("subscription is %q", g.get("subscription"))
	}
}

// A queue that was deleted behind a connection that sends to it is there again: nothing is lost in silence.
func TestAQueueThatWentIsDeclaredAgain(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.fill("/queue/a", 2)
	if _, err := r.session.DeleteQueue("a", false, false); err != nil {
		t.Fatal(err)
	}
	p.fill("/queue/a", 3)
	if n := r.ready("a"); n != 3 {
		t.Errorf("%d are there", n)
	}
}
