package stomp

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// as signs in under a client-id.
func (r *rig) as(client string) *peer {
	r.t.Helper()
	p := r.open()
	p.send("CONNECT\naccept-version:1.2\nclient-id:" + client + "\nlogin:guest\npasscode:guest\n\n")
	p.expect("CONNECTED version:1.2 heart-beat:0,0")
	return p
}

// put sends a message and waits for its receipt; p gets no messages.
func (p *peer) put(headers, body string) {
	p.t.Helper()
	p.send("SEND\nreceipt:put\n" + headers + "\n\n" + body)
	p.expect("RECEIPT receipt-id:put")
}

func TestADurableSubscriptionIsAClientAndAName(t *testing.T) {
	r := newRig(t, rigOptions{})
	subscribe := "SUBSCRIBE\nid:1\ndestination:/topic/news.>\nactivemq.subscriptionName:mine\nack:client-individual\nactivemq.prefetchSize:1"
	p, q := r.as("one"), r.as("two")
	p.call(subscribe)
	q.call(subscribe)
	sender := r.connect("1.2")
	sender.put("destination:/topic/news.a.b", "1")
	p.messages(1)
	q.messages(1)
	sender.put("destination:/topic/news", "2")
	p.silent("with a prefetch of one")

	again := r.as("one")
	again.send(subscribe + "\n\n")
	again.ended("Durable consumer is in use", "client-id 'one' and the name 'mine'")
	other := r.as("one")
	other.send("UNSUBSCRIBE\nactivemq.subscriptionName:mine\n\n")
	other.ended("Durable consumer is in use", "client-id 'one' and the name 'mine'")
	unknown := r.as("three")
	unknown.send("UNSUBSCRIBE\nactivemq.subscriptionName:mine\n\n")
	unknown.ended("No subscription found", "client-id 'three'")
	none := r.connect("1.2")
	none.send(subscribe + "\n\n")
	none.ended("Missing Header", "'client-id' on CONNECT")

	p.call("UNSUBSCRIBE\nid:1") // which keeps it
	sender.put("destination:/topic/news.c", "3")
	p.send("DISCONNECT\nreceipt:d\n\n")
	p.expect("RECEIPT receipt-id:d")
	back := r.as("one")
	back.call("SUBSCRIBE\nid:x\ndestination:/topic/news.>\ndurable-subscription-name:mine")
	if got := bodies(back.messages(3)); got != "1 2 3" {
		t.Error(got)
	}
	back.call("UNSUBSCRIBE\nid:x")
	back.call("SUBSCRIBE\nid:x\ndestination:/topic/news.>\ndurable-subscriber-name:mine") // the same, as Artemis has it, too
	back.call("UNSUBSCRIBE\nid:x")
	back.call("SUBSCRIBE\nid:y\ndestination:/topic/other\nactivemq.subscriptionName:mine") // another topic from now on
	sender.put("destination:/topic/news.d", "4")
	sender.put("destination:/topic/other", "5")
	if got := bodies(back.messages(1)); got != "5" {
		t.Error(got)
	}
	back.call("UNSUBSCRIBE\nid:y")
	back.call("UNSUBSCRIBE\nactivemq.subscriptionName:mine")
	if n := len(r.vhost.Queues()); n != 1 {
		t.Errorf("%d queues are left", n)
	}
}

func TestADelayedMessageComesInTime(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.piped = true
		p, sender := r.connect("1.2"), r.connect("1.2")
		p.call("SUBSCRIBE\nid:q\ndestination:/queue/q")
		p.call("SUBSCRIBE\nid:t\ndestination:/topic/a.*")
		p.call("SUBSCRIBE\nid:x\ndestination:/exchange/amq.direct/k")
		begun := time.Now()
		for _, to := range []string{"/queue/q", "/topic/a.b", "/exchange/amq.direct/k"} {
			sender.put("destination:"+to+"\nAMQ_SCHEDULED_DELAY:300\ncolor:red", "")
		}
		sender.call("BEGIN\ntransaction:t")
		sender.send("SEND\ndestination:/queue/q\nAMQ_SCHEDULED_DELAY: 300 \ntransaction:t\n\nin a transaction")
		sender.call("COMMIT\ntransaction:t")
		sender.put("destination:/queue/q\nAMQ_SCHEDULED_DELAY:0\nAMQ_SCHEDULED_REPEAT:0", "now")
		if first := p.messages(1)[0]; first.body != "now" || first.get("x-delay") != "" || time.Since(begun) > 250*time.Millisecond {
			t.Error(first, time.Since(begun))
		}
		got := map[string]int{}
		for _, m := range p.messages(4) {
			got[m.get("subscription")+" "+m.get("destination")]++
			if waited := time.Since(begun); waited < 280*time.Millisecond || waited > 400*time.Millisecond || m.get("AMQ_SCHEDULED_DELAY") == "" {
				t.Errorf("after %v: %s", waited, m)
			}
		}
		if want := map[string]int{"q /queue/q": 2, "t /topic/a.b": 1, "x /exchange/amq.direct/k": 1}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
		for header, text := range map[string]string{"AMQ_SCHEDULED_DELAY:soon": "not a number of milliseconds", "AMQ_SCHEDULED_DELAY:-1": "not a number", "AMQ_SCHEDULED_CRON:* * * * *": "not supported"} {
			p := r.connect("1.2")
			p.send("SEND\ndestination:/queue/q\n" + header + "\n\n")
			p.ended("Invalid header", text)
		}
	})
}

func TestExpiresIsATime(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		time.Sleep(5 * 365 * 24 * time.Hour) // the clock begins in 2000, whose times in ms are taken for numbers
		r := newRig(t, rigOptions{})
		r.piped = true
		p := r.connect("1.2")
		in := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).UnixMilli(), 10) }
		soon := in(300 * time.Millisecond)
		for _, header := range []string{"expires:" + in(-time.Hour), "expires:" + soon, "expires:" + soon, "expires:" + in(time.Hour), "expires:0", "expires:3600", "expires:Thu, 01 Dec", "expiration:5000000\nexpires:" + in(-time.Hour)} {
			p.call("SEND\ndestination:/queue/q\n" + header)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		p.call("SUBSCRIBE\nid:q\ndestination:/queue/q")
		var left []string
		for _, m := range p.messages(5) {
			if len(m.get("expires")) == 13 {
				left = append(left, "a time")
			} else {
				left = append(left, m.get("expires"))
			}
		}
		if fmt.Sprintf("%q", left) != `["a time" "0" "3600" "Thu, 01 Dec" "a time"]` {
			t.Errorf("%q", left)
		}
	})
}

func TestWhatANameAloneIsTheClientMaySay(t *testing.T) {
	r := newRig(t, rigOptions{})
	p, sender := r.connect("1.2"), r.connect("1.2")
	p.call("SUBSCRIBE\nid:t\ndestination:n\ndestination-type:MULTICAST")
	p.call("SUBSCRIBE\nid:q\ndestination:n\ndestination-type:ANYCAST")
	p.call("SUBSCRIBE\nid:o\ndestination:/queue/o\ndestination-type:MULTICAST")
	for i, headers := range []string{"n\ndestination-type:MULTICAST", "n\ndestination-type:ANYCAST", "n", "/topic/n", "/queue/o\ndestination-type:MULTICAST", "/queue/o"} {
		sender.put(fmt.Sprintf("n:%d\ndestination:%s", i, headers), "")
	}
	got := map[string]string{}
	for _, m := range p.messages(6) {
		got[m.get("subscription")] += m.get("n")
	}
	if fmt.Sprint(got) != "map[o:45 q:12 t:03]" {
		t.Error(got)
	}
	p.call("SUBSCRIBE\nid:w\ndestination:/topic/w.*")
	sender.put("destination:/topic/w.>", "") // who sends has no patterns
	if m := p.messages(1)[0]; m.get("destination") != "/topic/w.>" {
		t.Error(m)
	}
	p.send("SEND\ndestination:n\ndestination-type:QUEUE\n\n")
	p.ended("Invalid header", "neither ANYCAST nor MULTICAST")
}
