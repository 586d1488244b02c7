package cross

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What AMQP consumers take from topics, and from queues that Kafka clients read and write.

func TestMessagesOfTopicsAreAckedAndComeBackOneByOne(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "ack", nil)
		numbered(w, name, 4)
		w.produce(name, "4", "5")
		c := w.consume(name, 10, nil)
		got := c.get(6)
		bodies := map[string]bool{}
		for _, d := range got {
			if bodies[string(d.Body)] || d.Redelivered {
				t.Errorf("%s: %q came twice, redelivered: %v", name, d.Body, d.Redelivered)
			}
			bodies[string(d.Body)] = true
		}
		w.must(got[1].Nack(false, true))
		if d := c.next(); string(d.Body) != string(got[1].Body) || !d.Redelivered {
			t.Errorf("came back: %q, redelivered %v", d.Body, d.Redelivered)
		}
		w.must(got[2].Reject(false))
		w.must(got[3].Ack(false))
		w.must(c.ch.Ack(got[5].DeliveryTag, true)) // 0, 4 and 5
		c.ch.Close()
		last := w.consume(name, 10, nil) // what came back is the one that is left
		if d := last.next(); string(d.Body) != string(got[1].Body) || !d.Redelivered {
			t.Errorf("left: %q", d.Body)
		} else {
			w.must(d.Ack(false))
		}
		last.nothing()
		w.eventually("it is not empty", func() bool { return w.ready(name) == 0 })
		if p.isTopic() && len(w.read(name)) != 6 {
			t.Errorf("%s: acks took records from Kafka's readers: %v", name, w.bodies(name))
		}
	})
}

func TestMessagesOfTopicsAreDeadLettersAndDeadLettersAreRecords(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		source := p.make(w, "reject", amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "letters-" + p.name})
		if p.isTopic() {
			w.policy("^"+source+"$", amqp.Table{"dead-letter-exchange": "", "dead-letter-routing-key": "letters-" + p.name})
		}
		letters := (&place{p.name, p.partitions}).make(w, "letters", nil)
		w.must(w.put(&kgo.Record{Topic: source, Key: []byte("key"), Value: []byte("from Kafka"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}}))
		w.publish(source, "key", amqp.Publishing{Body: []byte("from AMQP"), ContentType: "text/plain", Headers: amqp.Table{"n": int32(5)}})
		c := w.consume(source, 10, nil)
		for range 2 {
			w.must(c.next().Reject(false))
		}
		w.eventually("no letters", func() bool { return len(w.read(letters)) == 2 })
		for _, r := range w.read(letters) {
			h := headersOf(r)
			if h["x-first-death-reason"] != "rejected" || h["x-first-death-queue"] != source || h["x-last-death-exchange"] != map[string]string{"from AMQP": source}[string(r.Value)] {
				t.Errorf("%q: %v", r.Value, h)
			}
			if string(r.Value) == "from Kafka" && h["h"] != "v" || string(r.Value) == "from AMQP" && (h["n"] != "5" || h["amqp.content-type"] != "text/plain") {
				t.Errorf("%q: %v", r.Value, h)
			}
		}
		d := w.taken(letters)
		death, _ := d.Headers["x-death"].([]any)
		if len(death) != 1 {
			t.Fatalf("%v", d.Headers)
		}
		one := death[0].(amqp.Table)
		keys, _ := one["routing-keys"].([]any)
		if one["queue"] != source || one["reason"] != "rejected" || one["count"] != int64(1) || len(keys) != 1 {
			t.Errorf("%v", one)
		}
	})
}

func headersOf(r *kgo.Record) map[string]string {
	out := map[string]string{}
	for _, h := range r.Headers {
		out[h.Key] = string(h.Value)
	}
	return out
}

func TestMessagesThatExpireAreNotDeliveredAndAreDeadLetters(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "ttl", amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "expired-" + p.name})
		if p.isTopic() {
			w.policy("^"+name+"$", amqp.Table{"dead-letter-exchange": "", "dead-letter-routing-key": "expired-" + p.name})
		}
		w.queue("expired-"+p.name, nil)
		c := w.consume(name, 1, nil)
		w.send(name, "k", "first")
		first := c.next() // holds the only place
		w.publish(name, "k", amqp.Publishing{Body: []byte("short"), Expiration: "20"})
		w.send(name, "k", "last")
		if d := w.taken("expired-" + p.name); string(d.Body) != "short" || d.Headers["x-first-death-reason"] != "expired" || d.Expiration != "" {
			t.Errorf("%q %v", d.Body, d.Headers)
		}
		w.must(first.Ack(false))
		if d := c.next(); string(d.Body) != "last" {
			t.Errorf("%q", d.Body)
		}
		if got := w.bodies(name); p.isTopic() && !slices.Contains(got, "short") {
			t.Errorf("Kafka's readers see what is there until retention takes it: %v", got)
		}
	})
}

func TestAMessageThatComesBackTooOftenLeavesATopicToo(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "limit", amqp.Table{"x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "spent-" + p.name})
		if p.isTopic() {
			w.policy("^"+name+"$", amqp.Table{"delivery-limit": 2, "dead-letter-exchange": "", "dead-letter-routing-key": "spent-" + p.name})
		}
		w.queue("spent-"+p.name, nil)
		w.produce(name, "poison")
		c := w.consume(name, 1, nil)
		for i := range 3 {
			d := c.next()
			if count, _ := d.Headers["x-delivery-count"].(int64); i > 0 && count != int64(i) {
				t.Errorf("delivery %d: %v", i, d.Headers)
			}
			w.must(d.Nack(false, true))
		}
		if d := w.taken("spent-" + p.name); string(d.Body) != "poison" || d.Headers["x-first-death-reason"] != "delivery_limit" {
			t.Errorf("%q %v", d.Body, d.Headers)
		}
		c.nothing()
	})
}

func TestWhatComesBackWaitsItsTime(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "retry", amqp.Table{"x-delayed-retry-type": "all", "x-delayed-retry-min": 150})
		if p.isTopic() {
			w.policy("^"+name+"$", amqp.Table{"delayed-retry-type": "all", "delayed-retry-min": 150})
		}
		w.produce(name, "again", "other")
		c := w.consume(name, 1, nil)
		first, back := c.next(), time.Now()
		w.must(first.Nack(false, true))
		var came []string
		for range 2 {
			d := c.next()
			if after := time.Since(back); string(d.Body) == "again" && after < 140*time.Millisecond {
				t.Errorf("it came back after %v", after)
			}
			came = append(came, string(d.Body))
			w.must(d.Ack(false))
		}
		if sorted(came) != "again other" { // in that order on a machine that has been busy
			t.Errorf("%q came", came)
		}
	})
}

func TestAMessageIsTakenOneAtATimeByGetAndGoesByPurge(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "get", nil)
		numbered(w, name, 3)
		ch, err := w.conn.Channel()
		w.must(err)
		d, ok, err := ch.Get(name, false)
		w.must(err)
		if !ok || d.Redelivered {
			t.Fatalf("%v %v", ok, d.Redelivered)
		}
		w.must(ch.Close())
		if again := w.taken(name); string(again.Body) != string(d.Body) || !again.Redelivered {
			t.Errorf("%q, redelivered %v", again.Body, again.Redelivered)
		}
		if n, err := w.ch.QueuePurge(name, false); err != nil || n != 2 {
			t.Errorf("%d purged, %v", n, err)
		}
		if got := w.take(name); got != "" {
			t.Errorf("%q is left", got)
		}
		if got := len(w.read(name)); p.isTopic() && got != 3 {
			t.Errorf("Kafka's readers see %d records", got)
		}
		w.produce(name, "new")
		if got := w.taken(name); string(got.Body) != "new" {
			t.Errorf("%q", got.Body)
		}
	})
}

func TestATopicIsNotDeletedWhileItIsUsedOrFullIfThatIsWanted(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "delete", nil)
		w.produce(name, "m")
		c := w.consume(name, 1, nil)
		d := c.next()
		w.refused(amqp.PreconditionFailed, func(ch *amqp.Channel) error { _, err := ch.QueueDelete(name, true, false, false); return err })
		w.must(c.ch.Close())
		w.eventually("it did not come back", func() bool { return w.ready(name) == 1 })
		w.refused(amqp.PreconditionFailed, func(ch *amqp.Channel) error { _, err := ch.QueueDelete(name, false, true, false); return err })
		if got := w.taken(name); string(got.Body) != string(d.Body) {
			t.Errorf("%q", got.Body)
		}
		if _, err := w.ch.QueueDelete(name, true, true, false); err != nil {
			t.Error(err)
		}
		if !w.missing(name) {
			t.Error("Kafka still has it")
		}
	})
}

func TestOneConsumerAloneHasATopic(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "exclusive", nil)
		ch, err := w.conn.Channel()
		w.must(err)
		_, err = ch.Consume(name, "a", false, true, false, false, nil)
		w.must(err)
		w.refused(amqp.AccessRefused, func(ch *amqp.Channel) error {
			_, err := ch.Consume(name, "b", false, false, false, false, nil)
			return err
		})
		urgent := p.make(w, "urgent", nil)
		low, high := w.consume(urgent, 2, amqp.Table{"x-priority": int32(-1)}), w.consume(urgent, 2, amqp.Table{"x-priority": int32(5)})
		w.produce(urgent, "0", "1", "2")
		for _, d := range append(high.get(2), low.get(1)...) {
			w.must(d.Ack(false))
		}
		if p.isTopic() {
			return
		}
		single := p.make(w, "single", amqp.Table{"x-single-active-consumer": true})
		a, b := w.consume(single, 1, nil), w.consume(single, 1, nil)
		w.produce(single, "0", "1")
		if d := a.next(); string(d.Body) != "0" {
			t.Errorf("%q", d.Body)
		}
		b.nothing()
		w.must(a.ch.Close())
		for i := range 2 {
			d := b.next()
			if string(d.Body) != fmt.Sprint(i) || d.Redelivered != (i == 0) {
				t.Errorf("%q, redelivered %v", d.Body, d.Redelivered)
			}
			w.must(d.Ack(false))
		}
	})
}

func TestConsumersOfAStreamSeeWhatKafkaWrote(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	w.queue("stream", amqp.Table{"x-queue-type": "stream"})
	for i := range 6 {
		r := &kgo.Record{Topic: "stream", Value: fmt.Append(nil, i)}
		if i%2 == 0 {
			r.Headers = []kgo.RecordHeader{{Key: "x-stream-filter-value", Value: []byte("even")}}
		}
		w.must(w.put(r))
	}
	w.publish("", "stream", amqp.Publishing{Body: []byte("6"), Headers: amqp.Table{"x-stream-filter-value": "even"}})
	get := func(args amqp.Table, n int) (out []string) {
		c := w.consume("stream", 10, args)
		for _, d := range c.get(n) {
			out = append(out, fmt.Sprint(string(d.Body), "@", d.Headers["x-stream-offset"]))
		}
		c.nothing()
		return out
	}
	if got := get(amqp.Table{"x-stream-offset": int64(3)}, 4); strings.Join(got, " ") != "3@3 4@4 5@5 6@6" {
		t.Errorf("%v", got)
	}
	if got := get(amqp.Table{"x-stream-offset": "first", "x-stream-filter": "even"}, 4); strings.Join(got, " ") != "0@0 2@2 4@4 6@6" {
		t.Errorf("%v", got)
	}
	if got := get(amqp.Table{"x-stream-offset": "last"}, 1); strings.Join(got, " ") != "6@6" {
		t.Errorf("%v", got)
	}
}
