package broker

import (
	"slices"
	"strings"
	"testing"
)

// inbox is what came to an address.
type inbox struct {
	*ReplyAddress
	got  []string
	full bool
}

func (s *Session) inbox() *inbox {
	in := &inbox{}
	in.ReplyAddress = s.AwaitReplies(func(m *Inbound) bool {
		if !in.full {
			in.got = append(in.got, string(m.Body))
		}
		return !in.full
	})
	return in
}

// Whoever publishes what it published before is spared the routing; a reply goes to its requester all the same,
// and a copy of it does, beside a queue.
func TestAReplyIsDeliveredHoweverItIsPublished(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{})
	one, two := r.s.inbox(), r.s.inbox()
	p := r.s.NewPublisher()
	publish := func(key, body string, same bool, more ...string) (routed bool) {
		t.Helper()
		m := &Inbound{Key: []byte(key), Body: []byte(body), SameHead: same}
		for _, k := range more {
			m.MoreKeys = append(m.MoreKeys, []byte(k))
		}
		routed, err := p.Publish(m)
		if err != nil {
			t.Fatal(err)
		}
		return routed
	}
	for _, same := range []bool{false, true, true} {
		if publish(one.Name, "a", same) {
			t.Error("a reply alone counts as routed to a queue")
		}
	}
	for _, same := range []bool{false, true, true} {
		if !publish("q", "b", same, one.Name, two.Name, one.Name) {
			t.Error("the queue was not reached")
		}
	}
	if publish("x", "c", false, one.Name) {
		t.Error("a copy counts as routed to a queue")
	}
	two.full = true
	publish(two.Name, "d", false)
	one.Close()
	publish(one.Name, "e", true)
	publish("q", "f", false, one.Name)
	p.Store()
	p.Commit(nil)
	if want := strings.Fields("a a a b b b c"); !slices.Equal(one.got, want) {
		t.Errorf("one got %q, want %q", one.got, want)
	}
	if want := strings.Fields("b b b"); !slices.Equal(two.got, want) {
		t.Errorf("two got %q, want %q", two.got, want)
	}
	q, _ := r.s.Queue(Look, "q")
	c := r.Counters()
	if q.Ready() != 4 || c.Stored.Load() != 4 || c.Replies.Load() != 10 || c.RepliesDropped.Load() != 1 || c.Published.Load() != 10 || c.Unroutable.Load() != 6 {
		t.Errorf("%d ready, %d stored, %d replies, %d dropped, %d published, %d unroutable", q.Ready(), c.Stored.Load(),
			c.Replies.Load(), c.RepliesDropped.Load(), c.Published.Load(), c.Unroutable.Load())
	}
}

// An address is reached by the default exchange of its own virtual host alone, also when a topic has its name.
func TestAnAddressIsAKeyOfTheDefaultExchangeAlone(t *testing.T) {
	r := start(t)
	in := r.s.inbox()
	if _, err := r.s.CreateTopic(in.Name, 1, nil); err != nil {
		t.Fatal(err)
	}
	p := r.s.NewPublisher()
	for _, exchange := range []string{"amq.direct", "amq.topic", "amq.fanout", ""} {
		if routed, err := p.Publish(&Inbound{Exchange: []byte(exchange), Key: []byte(in.Name), Body: []byte("to " + exchange)}); routed || err != nil {
			t.Error(exchange, routed, err)
		}
	}
	if !slices.Equal(in.got, []string{"to "}) {
		t.Errorf("got %q", in.got)
	}
	kind(t, r.s.LookAtReplies(ReplyQueue+"."), NotFound)
	if err := r.s.LookAtReplies(in.Name); err != nil {
		t.Error(err)
	}
}
