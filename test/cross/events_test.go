package cross

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

func itemOf(e *stanza.Element) string {
	return e.Child(nsPubsub+"#event", "event").First().First().Attr("id")
}

// Events are acknowledged by the count of stream management: those that it has not passed when the stream ends come
// again on the next one, and those that it has do not.
func TestEventsComeAgainUntilTheirCountIsAcknowledged(t *testing.T) {
	s := start(t)
	publisher := dialXMPP(t, s, "guest", false)
	publisher.ask("set", pubsub("<create node='n'/>"))
	publisher.ask("set", pubsub("<subscribe node='n' jid='guest@localhost'/>"))
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			publisher.ask("set", pubsub(fmt.Sprintf("<publish node='n'><item id='%d'><x xmlns='t'/></item></publish>", i)))
		}
	}
	available := func(acks bool) *stream {
		c := dialXMPP(t, s, "guest", true)
		c.acks = acks
		c.send("<presence/>")
		return c
	}
	get := func(c *stream, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if got := itemOf(c.event()); got != fmt.Sprint(i) {
				t.Fatalf("got %s, want %d", got, i)
			}
		}
	}
	first := available(false)
	publish(0, 5)
	get(first, 0, 5)
	handled := 2 + 1 // its own presence, and two events; each is counted
	first.send(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", handled))
	first.heard()
	first.cut()
	second := available(true)
	get(second, 2, 5)
	publish(5, 7)
	get(second, 5, 7)
	all := second.handled.Load()
	eventually(t, "it is not asked for its count", func() bool { return second.told.Load() >= all })
	second.heard()
	second.cut()
	third := available(true)
	publish(7, 8)
	get(third, 7, 8)
}

// What is kept of nodes and subscriptions, and what came while nobody was there, survives a restart of the whole broker.
func TestASubscriberWhoWasAwayGetsWhatCame(t *testing.T) {
	s := start(t)
	c := dialXMPP(t, s, "guest", false)
	c.ask("set", pubsub("<create node='n'/>"))
	c.ask("set", pubsub("<create node='x/e'/>"))
	for _, node := range []string{"n", "x/e"} {
		c.ask("set", pubsub("<subscribe node='"+node+"' jid='guest@localhost'/>"))
	}
	c.cut()
	a := dialAMQP(t, s)
	a.publish("n", message{body: "to the queue", persistent: true})
	confirm, err := a.ch.PublishWithDeferredConfirm("e", "any.key", false, false, persistent("to the exchange"))
	if err != nil || !confirm.Wait() {
		t.Fatal(err)
	}
	s.Restart()
	c = dialXMPP(t, s, "guest", false)
	c.send("<presence/>")
	got := map[string]bool{}
	for range 2 {
		got[c.receive().body] = true
	}
	if !got["to the queue"] || !got["to the exchange"] {
		t.Errorf("%v", got)
	}
}
