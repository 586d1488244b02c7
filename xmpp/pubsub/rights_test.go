package pubsub

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// A subscriber that competes for a queue's messages gets none any more once its user may not read the queue, and goes
// on when it may again.
func TestASubscriberLosesItsQueueWithItsRight(t *testing.T) {
	r := start(t)
	var denied atomic.Bool
	r.policy = func(q broker.Request) error {
		if q.User == "one" && q.Verb == broker.Consume && denied.Load() {
			return broker.ErrDenied
		}
		return nil
	}
	owns, p := r.peer("owner@localhost/r"), r.peer("one@localhost/r")
	owns.must("set", pub("<create node='work'/>"))
	r.s.Join(p, true)
	p.must("set", pub("<subscribe node='work' jid='one@localhost'/><options><x xmlns='jabber:x:data' type='submit'><field var='leveret#mode'><value>one</value></field></x></options>"))
	owns.publish("work", "a=x")
	if got := ids(p.event()); got != "a" {
		t.Fatal(got)
	}
	denied.Store(true)
	r.b.PolicyChanged()
	owns.publish("work", "b=x")
	p.none()
	denied.Store(false)
	r.b.PolicyChanged()
	if got := ids(p.event()); got != "b" {
		t.Errorf("%s, when it may again", got)
	}
}

// Limits hold for what is consumed on behalf of a subscriber.
func TestASubscriberIsAConsumer(t *testing.T) {
	r := start(t)
	if err := r.b.SetVHostLimit(audit.Process("test"), "/", broker.MaxConsumers, 0); err != nil {
		t.Fatal(err)
	}
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='work'/>"))
	r.s.Join(p, true)
	p.must("set", pub("<subscribe node='work' jid='one@localhost'/><options><x xmlns='jabber:x:data' type='submit'><field var='leveret#mode'><value>one</value></field></x></options>"))
	p.publish("work", "a=x")
	p.none()
}

func TestWhatAUserHasSubscribedToGoesWithIt(t *testing.T) {
	r := start(t)
	one, two := r.peer("one@localhost/r"), r.peer("two@localhost/r")
	one.must("set", pub("<create node='n'/>"))
	one.must("set", pub("<create node='x/e'/>"))
	for _, p := range []*peer{one, two} {
		for _, node := range []string{"n", "x/e"} {
			p.must("set", pub("<subscribe node='"+node+"' jid='"+p.jid.Bare().String()+"'/>"))
		}
	}
	accounts := func() (out []string) {
		for _, jid := range r.s.Accounts(r.vhost()) {
			out = append(out, jid.String())
		}
		return out
	}
	if got := strings.Join(accounts(), " "); got != "one@localhost two@localhost" {
		t.Error(got)
	}
	r.s.UserDeleted(r.vhost(), stanza.JID{Local: "one", Domain: "localhost"})
	for range 2 {
		if got := strings.Join(accounts(), " "); got != "two@localhost" {
			t.Error(got)
		}
		if _, err := r.vhost().Queue(queueOf("e", "one@localhost")); err == nil {
			t.Error("the queue of the subscription is there")
		}
		if _, err := r.vhost().Queue(queueOf("e", "two@localhost")); err != nil {
			t.Error(err)
		}
		r.restart()
	}
	if e := r.peer("two@localhost/r").must("get", pub("<subscriptions/>")).String(); strings.Count(e, "<subscription ") != 2 {
		t.Error(e)
	}
}
