package cross

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What exchanges send to topics, and to queues that Kafka clients read.

func sorted(list []string) string {
	sort.Strings(list)
	return strings.Join(list, " ")
}

func TestExchangesOfEveryKindLeadToTopics(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "route", nil)
		bind := func(x, key string, args amqp.Table) {
			w.must(w.ch.QueueBind(name, key, x, false, args))
		}
		for _, kind := range []string{"direct", "topic", "headers", "fanout"} {
			w.exchange(name+kind, kind, nil, "")
		}
		bind(name+"direct", "a", nil)
		bind(name+"topic", "a.#", nil)
		bind(name+"headers", "", amqp.Table{"x-match": "any", "h": "a"})
		w.must(w.ch.QueueUnbind(name, "", name, nil)) // of its own fanout
		w.must(w.ch.ExchangeBind(name, "x.*", name+"topic", false, nil))
		w.must(w.ch.ExchangeBind(name+"fanout", "", name, false, nil))
		bind(name+"fanout", "", nil)
		w.exchange(name+"first", "direct", amqp.Table{"alternate-exchange": name + "fanout"}, "")

		w.send("", name, "default")
		w.send(name+"direct", "a", "direct")
		w.send(name+"direct", "b", "nowhere")
		w.send(name+"topic", "a.b.c", "topic")
		w.send(name+"topic", "x.y", "through two")
		w.publish(name+"headers", "", amqp.Publishing{Body: []byte("headers"), Headers: amqp.Table{"h": "a"}})
		w.send(name+"first", "unbound", "alternate")
		if got := sorted(w.bodies(name)); got != "alternate default direct headers through two topic" {
			t.Errorf("%s: %s", name, got)
		}
		if n := w.ready(name); n != 6 {
			t.Errorf("%d are ready", n)
		}
	})
}

func TestWhatHasNoTopicComesBackAndWhatHasIsConfirmed(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "mandatory", nil)
		back := w.ch.NotifyReturn(make(chan amqp.Return, 2))
		for _, key := range []string{name, "no-such-" + name} {
			d, err := w.ch.PublishWithDeferredConfirm("", key, true, false, persistent("m"))
			w.must(err)
			if !d.Wait() {
				t.Errorf("%s: not confirmed", key)
			}
		}
		select {
		case r := <-back:
			if r.RoutingKey != "no-such-"+name || r.ReplyCode != amqp.NoRoute {
				t.Errorf("%+v", r)
			}
		case <-time.After(limit):
			t.Error("it did not come back")
		}
		if got := w.bodies(name); fmt.Sprint(got) != "[m]" {
			t.Errorf("%v", got)
		}
	})
}

func TestCopiesAndBlindCopiesReachTopics(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	w.topic("to", 1)
	w.topic("cc", 3)
	w.topic("bcc", 1)
	w.publish("", "to", amqp.Publishing{Body: []byte("m"), Headers: amqp.Table{"CC": []any{"cc"}, "BCC": []any{"bcc"}}})
	for _, name := range []string{"to", "cc", "bcc"} {
		got := w.read(name)
		if len(got) != 1 || string(got[0].Value) != "m" || string(got[0].Key) != "to" {
			t.Errorf("%s: %v", name, got)
			continue
		}
		for _, h := range got[0].Headers {
			if strings.Contains(string(h.Value), "bcc") || h.Key == "BCC" {
				t.Errorf("%s: %s tells of the blind copy", name, h.Key)
			}
		}
		if d := w.taken(name); d.Headers["BCC"] != nil || fmt.Sprint(d.Headers["CC"]) != "[cc]" {
			t.Errorf("%s: %v", name, d.Headers)
		}
	}
}

func TestAHashExchangeDividesKeysAmongTopics(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	w.exchange("hash", "x-consistent-hash", nil, "")
	parts := []string{"shard-0", "shard-1", "shard-2"}
	w.topic(parts[0], 1)
	w.topic(parts[1], 2)
	w.queue(parts[2], nil)
	for _, q := range parts {
		w.must(w.ch.QueueBind(q, "10", "hash", false, nil))
	}
	for round := range 2 {
		for i := range 30 {
			w.send("hash", fmt.Sprint("key-", i), fmt.Sprint(round, ".", i))
		}
	}
	total, of := 0, map[string]string{}
	for _, q := range parts {
		got := w.read(q)
		if total += len(got); len(got) == 0 {
			t.Errorf("%s got none", q)
		}
		for _, r := range got {
			if before := of[string(r.Key)]; before != "" && before != q {
				t.Errorf("%s went to %s and %s", r.Key, before, q)
			}
			of[string(r.Key)] = q
		}
	}
	if total != 60 {
		t.Errorf("%d arrived", total)
	}
}

func TestDelayedMessagesReachTopicsWhenTheyAreDue(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "delay", nil)
		feed := name + "-feed"
		w.exchange(feed, "x-delayed-message", amqp.Table{"x-delayed-type": "fanout", "x-kafka-topic": feed}, "", name)
		began := time.Now()
		w.publish(feed, "k", amqp.Publishing{Body: []byte("late"), Headers: amqp.Table{"x-delay": int32(150)}})
		w.must(w.put(&kgo.Record{Topic: feed, Value: []byte("later"), Headers: []kgo.RecordHeader{{Key: "x-delay", Value: []byte("250")}}}))
		w.must(w.put(&kgo.Record{Topic: feed, Value: []byte("now")}))
		inTime := time.Since(began) < 140*time.Millisecond // the machine may be busy: then it was due by itself
		if got := w.bodies(name); fmt.Sprint(got) != "[now]" && time.Since(began) < 140*time.Millisecond {
			t.Errorf("at once: %v", got)
		}
		c := w.consume(name, 10, nil)
		var came []string
		for range 3 {
			d := c.next()
			came = append(came, string(d.Body))
			if least := map[string]time.Duration{"late": 140, "later": 240}[string(d.Body)] * time.Millisecond; time.Since(began) < least {
				t.Errorf("%q after %v", d.Body, time.Since(began))
			}
			w.must(d.Ack(false))
		}
		if inTime && !slices.Equal(came, []string{"now", "late", "later"}) || sorted(came) != "late later now" {
			t.Errorf("%q came", came)
		}
	})
}

func TestDuplicatesReachATopicOnce(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "distinct", amqp.Table{"x-message-deduplication": true})
		x := name + "-once"
		w.exchange(x, "x-message-deduplication", amqp.Table{"x-cache-size": 100, "x-kafka-topic": x}, "", name)
		for range 2 {
			w.publish(x, "k", amqp.Publishing{Body: []byte("a"), Headers: amqp.Table{"x-deduplication-header": "1"}})
		}
		for range 2 {
			w.must(w.put(&kgo.Record{Topic: x, Value: []byte("b"), Headers: []kgo.RecordHeader{{Key: "x-deduplication-header", Value: []byte("2")}}}))
		}
		w.must(w.put(&kgo.Record{Topic: x, Value: []byte("a"), Headers: []kgo.RecordHeader{{Key: "x-deduplication-header", Value: []byte("1")}}}))
		if got := sorted(w.bodies(name)); got != "a b" {
			t.Errorf("%s: %s", name, got)
		}
		if p.isTopic() {
			return
		}
		// The queue's own names are those of messages.
		if again := w.publish("", name, amqp.Publishing{Body: []byte("a"), Headers: amqp.Table{"x-deduplication-header": "1"}}); again {
			t.Error("a duplicate is confirmed")
		}
		w.must(w.put(&kgo.Record{Topic: name, Value: []byte("record"), Headers: []kgo.RecordHeader{{Key: "x-deduplication-header", Value: []byte("1")}}}))
		if got := sorted(w.bodies(name)); got != "a b record" {
			t.Errorf("%s: %s", name, got)
		}
	})
}

func TestAnAMQPTransactionIsSeenByKafkaWhenItIsCommitted(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "tx", nil)
		w.produce(name, "before")
		ch, err := w.conn.Channel()
		w.must(err)
		w.must(ch.Tx())
		d, _, err := ch.Get(name, false)
		w.must(err)
		for _, end := range []func() error{ch.TxRollback, ch.TxCommit} {
			for i := range 3 {
				w.must(ch.Publish(name, fmt.Sprint(i), false, false, persistent("in")))
			}
			w.must(ch.Ack(d.DeliveryTag, false))
			if got := w.bodies(name); slices.Contains(got, "in") {
				t.Errorf("before its end: %v", got)
			}
			w.must(end())
		}
		if got := w.bodies(name); len(got) != 4 { // what is acked is there for readers as long as its segment
			t.Errorf("after the commit: %v", got)
		}
		if n := w.ready(name); n != 3 {
			t.Errorf("%d are ready", n)
		}
	})
}

func TestARequestThroughATopicIsAnsweredDirectly(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "rpc", nil)
		ch, err := w.conn.Channel()
		w.must(err)
		replies, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
		w.must(err)
		w.must(ch.Publish("", name, false, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "c", Body: []byte("question")}))
		w.eventually("no request", func() bool { return len(w.read(name)) == 1 })
		d := w.taken(name)
		if !strings.HasPrefix(d.ReplyTo, "amq.rabbitmq.reply-to.") || d.CorrelationId != "c" {
			t.Errorf("%+v", d)
		}
		w.send("", d.ReplyTo, "answer")
		select {
		case r := <-replies:
			if string(r.Body) != "answer" {
				t.Errorf("%q", r.Body)
			}
		case <-time.After(limit):
			t.Error("no answer")
		}
	})
}

// An AMQP publish goes to the partition where Kafka's producers put its key.
func TestARoutingKeyChoosesThePartitionAsAKeyDoes(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	w.topic("keyed", 5)
	w.exchange("by-key", "fanout", amqp.Table{"x-kafka-topic": "by-key-in"}, "", "keyed")
	k, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	w.must(err)
	defer k.Close()
	for i := range 20 {
		key := fmt.Sprint("key-", i, strings.Repeat("é", i))
		w.send("by-key", key, "AMQP")
		w.must(k.ProduceSync(background, &kgo.Record{Topic: "keyed", Key: []byte(key), Value: []byte("Kafka")}).FirstErr())
		w.must(k.ProduceSync(background, &kgo.Record{Topic: "by-key-in", Key: []byte(key), Value: []byte("feed")}).FirstErr())
	}
	where, used := map[string]int32{}, map[int32]bool{}
	for _, r := range w.read("keyed") {
		if at, ok := where[string(r.Key)]; ok && at != r.Partition {
			t.Errorf("%s of %s is in %d, not %d", r.Key, r.Value, r.Partition, at)
		}
		where[string(r.Key)], used[r.Partition] = r.Partition, true
	}
	if len(where) != 20 || len(used) < 4 {
		t.Errorf("%d keys in %d partitions", len(where), len(used))
	}
}
