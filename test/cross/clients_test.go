package cross

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// STOMP and XMPP clients of topics, and of queues that Kafka clients read.

// stomp is another client of the world's.
func (w *world) stomp() *stomper { w.Helper(); return dialSTOMP(w.T, w.s) }

func TestSTOMPAcksTopicsInEveryMode(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "stomp", nil)
		fill := func() {
			for i := range 4 {
				w.produce(name, fmt.Sprint(i))
			}
		}
		subscribe := func(mode string) *stomper {
			c := w.stomp()
			c.send("SUBSCRIBE", "", "id:1", "destination:/amq/queue/"+name, "ack:"+mode)
			return c
		}
		acks := func(c *stomper, n int) (ids []string) {
			for i := range n {
				if body := c.frame("MESSAGE"); body != fmt.Sprint(i) {
					t.Errorf("%q, want %d", body, i)
				}
				ids = append(ids, c.last["ack"])
			}
			return ids
		}
		left := func(what string, want ...string) {
			t.Helper()
			for _, m := range append(want, "") {
				if m != "" {
					if d := w.taken(name); string(d.Body) != m {
						t.Errorf("%s: %q, want %q", what, d.Body, m)
					}
				} else if got := w.take(name); got != "" {
					t.Errorf("%s: %q is left", what, got)
				}
			}
		}
		end := func(c *stomper) {
			c.send("DISCONNECT", "", "receipt:end")
			c.frame("RECEIPT")
			c.cut()
		}

		fill()
		c := subscribe("client")
		ids := acks(c, 4)
		c.send("ACK", "", "id:"+ids[2]) // and those before it
		end(c)
		left("client", "3")

		fill()
		c = subscribe("client-individual")
		ids = acks(c, 4)
		c.send("ACK", "", "id:"+ids[2])
		c.send("NACK", "", "id:"+ids[0], "requeue:false")
		end(c)
		left("client-individual", "1", "3")

		fill()
		c = subscribe("auto")
		acks(c, 4)
		end(c)
		left("auto")

		fill()
		c = subscribe("client-individual")
		ids = acks(c, 4)
		c.send("BEGIN", "", "transaction:t")
		c.send("ACK", "", "id:"+ids[0], "transaction:t")
		c.send("SEND", "in t", "destination:/amq/queue/"+name, "transaction:t")
		c.send("COMMIT", "", "transaction:t", "receipt:c")
		for body := ""; body != "in t"; {
			if got := c.any(); got == "MESSAGE" {
				body = c.body
			}
		}
		end(c)
		left("transaction", "1", "2", "3", "in t")
	})
}

func TestASTOMPTransactionIsSeenByKafkaWhenItIsCommitted(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "stomptx", nil)
		c := w.stomp()
		for _, end := range []string{"ABORT", "COMMIT"} {
			c.send("BEGIN", "", "transaction:t")
			for i := range 3 {
				c.send("SEND", fmt.Sprint(end, i), "destination:/exchange/"+name+"/k"+fmt.Sprint(i), "transaction:t", "persistent:true")
			}
			c.send("SEND", "", "destination:/topic/nobody", "receipt:sent")
			c.frame("RECEIPT")
			if got := w.bodies(name); len(got) != 0 {
				t.Errorf("before its end: %v", got)
			}
			c.send(end, "", "transaction:t", "receipt:end")
			c.frame("RECEIPT")
		}
		if got := sorted(w.bodies(name)); got != "COMMIT0 COMMIT1 COMMIT2" {
			t.Errorf("%s", got)
		}
	})
}

func TestADurableSubscriptionIsATopicToKafka(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	w.must(w.ch.ExchangeDeclare("feed", "topic", true, false, false, false, map[string]any{"x-kafka-topic": "news"}))
	w.must(w.ch.ExchangeBind("amq.topic", "#", "feed", false, nil))
	subscribe := func() *stomper {
		c := w.stomp()
		c.send("SUBSCRIBE", "", "id:sub", "destination:/topic/sport.*", "durable:true", "auto-delete:false", "ack:client", "receipt:s", "x-queue-name:sport-fans")
		c.frame("RECEIPT")
		return c
	}
	subscribe().cut()
	w.must(w.put(&kgo.Record{Topic: "news", Key: []byte("sport.chess"), Value: []byte("while away")}))
	w.must(w.put(&kgo.Record{Topic: "news", Key: []byte("weather"), Value: []byte("of no interest")}))
	if got := w.bodies("sport-fans"); fmt.Sprint(got) != "[while away]" {
		t.Errorf("Kafka reads %v", got)
	}
	c := subscribe()
	if body := c.frame("MESSAGE"); body != "while away" || c.last["destination"] != "/exchange/feed/sport.chess" {
		t.Errorf("%q %v", body, c.last)
	}
}

func TestSTOMPMessagesExpireAndWaitOnTopics(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "stompttl", nil)
		w.exchange(name+"-later", "x-delayed-message", map[string]any{"x-delayed-type": "fanout"}, "", name)
		c := w.stomp()
		began := time.Now()
		c.send("SEND", "later", "destination:/exchange/"+name+"-later/k", "x-delay:150", "receipt:1")
		c.frame("RECEIPT")
		c.send("SEND", "gone", "destination:/amq/queue/"+name, "expiration:1", "receipt:1")
		c.frame("RECEIPT")
		time.Sleep(10 * time.Millisecond)
		c.send("SUBSCRIBE", "", "id:1", "destination:/amq/queue/"+name, "ack:client")
		if body := c.frame("MESSAGE"); body != "later" || time.Since(began) < 140*time.Millisecond {
			t.Errorf("%q after %v", body, time.Since(began))
		}
	})
}

func TestANodeOfATopicIsPublishedToAndFollowed(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "node", nil)
		x := dialXMPP(t, s, "guest", true)
		x.work(name)
		w.must(w.put(&kgo.Record{Topic: name, Key: []byte("k"), Value: []byte("a record"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("<é>")}}}))
		if m := x.receive(); m.body != "a record" || m.headers["h"] != "<é>" || m.redelivered {
			t.Errorf("%+v", m)
		}
		x.publish(name, message{body: "an item", contentType: "text/plain", headers: map[string]string{"n": "v"}, persistent: true})
		if m := x.receive(); m.body != "an item" || m.headers["n"] != "v" {
			t.Errorf("%+v", m)
		}
		x.heard()
		w.eventually("what it has is not acked", func() bool { return w.ready(name) == 0 })
		if got := sorted(w.bodies(name)); p.isTopic() && got != "a record an item" {
			t.Errorf("%s", got)
		}
	})
}
