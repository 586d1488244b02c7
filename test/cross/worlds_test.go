package cross

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/testkit"
)

// world is one broker as an AMQP client and a Kafka client see it at once.
type world struct {
	*testing.T
	s     *testkit.Server
	conn  *amqp.Connection
	ch    *amqp.Channel // with confirms
	kafka *kgo.Client   // records go to the partition that they name
	admin *kadm.Client
}

func newWorld(t *testing.T, s *testkit.Server) *world {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	a := dialAMQP(t, s)
	return &world{t, s, a.conn, a.ch, k, kadm.NewClient(k)}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

var background = context.Background()

// limit is for how long anything may take.
const limit = time.Minute

func (w *world) topic(name string, partitions int32, configs ...string) {
	w.Helper()
	conf := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		conf[configs[i]] = &configs[i+1]
	}
	_, err := w.admin.CreateTopic(background, partitions, 1, conf, name)
	w.must(err)
}

func (w *world) queue(name string, args amqp.Table) {
	w.Helper()
	_, err := w.ch.QueueDeclare(name, true, false, false, false, args)
	w.must(err)
}

// exchange declares one and binds it, by one key each, to the destinations.
func (w *world) exchange(name, kind string, args amqp.Table, key string, to ...string) {
	w.Helper()
	w.must(w.ch.ExchangeDeclare(name, kind, true, false, false, false, args))
	for _, q := range to {
		w.must(w.ch.QueueBind(q, key, name, false, nil))
	}
}

// publish waits for the confirm, and says what it was.
func (w *world) publish(exchange, key string, p amqp.Publishing) bool {
	w.Helper()
	d, err := w.ch.PublishWithDeferredConfirm(exchange, key, false, false, p)
	w.must(err)
	return d.Wait()
}

func (w *world) send(exchange, key, body string) {
	w.Helper()
	if !w.publish(exchange, key, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)}) {
		w.Fatalf("%s was not taken", body)
	}
}

// produce sends records to partition 0 unless they say another.
func (w *world) produce(topic string, bodies ...string) {
	w.Helper()
	for _, b := range bodies {
		w.must(w.put(&kgo.Record{Topic: topic, Value: []byte(b)}))
	}
}

func (w *world) put(recs ...*kgo.Record) error {
	return w.kafka.ProduceSync(background, recs...).FirstErr()
}

// read is what a Kafka client without a group finds from the start of a topic to its end.
func (w *world) read(topic string) (out []*kgo.Record) {
	w.Helper()
	starts, err := w.admin.ListStartOffsets(background, topic)
	w.must(err)
	ends, err := w.admin.ListEndOffsets(background, topic)
	w.must(err)
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		w.must(o.Err)
		if start, _ := starts.Lookup(topic, o.Partition); start.Offset < o.Offset {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().At(start.Offset)
		}
	})
	if len(left) == 0 {
		return nil
	}
	k, err := kgo.NewClient(kgo.SeedBrokers(w.s.Addr("kafka")), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	w.must(err)
	defer k.Close()
	ctx, cancel := context.WithTimeout(background, limit)
	defer cancel()
	for len(left) > 0 {
		f := k.PollFetches(ctx)
		w.must(f.Err())
		f.EachRecord(func(r *kgo.Record) {
			out = append(out, r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return out
}

// bodies are what read finds, in order if there is one partition.
func (w *world) bodies(topic string) (out []string) {
	w.Helper()
	for _, r := range w.read(topic) {
		out = append(out, string(r.Value))
	}
	return out
}

// bounds are start and end of a topic's first partition.
func (w *world) bounds(topic string) [2]int64 {
	w.Helper()
	starts, err := w.admin.ListStartOffsets(background, topic)
	w.must(err)
	ends, err := w.admin.ListEndOffsets(background, topic)
	w.must(err)
	start, _ := starts.Lookup(topic, 0)
	end, _ := ends.Lookup(topic, 0)
	return [2]int64{start.Offset, end.Offset}
}

// consumer takes messages from a queue or topic.
type consumer struct {
	*world
	ch  *amqp.Channel
	tag string
	in  <-chan amqp.Delivery
}

func (w *world) consume(queue string, prefetch int, args amqp.Table) *consumer {
	w.Helper()
	ch, err := w.conn.Channel()
	w.must(err)
	w.must(ch.Qos(prefetch, 0, false))
	c := &consumer{world: w, ch: ch, tag: "consumer of " + queue}
	c.in, err = ch.Consume(queue, c.tag, false, false, false, false, args)
	w.must(err)
	return c
}

func (c *consumer) next() amqp.Delivery {
	c.Helper()
	select {
	case d, ok := <-c.in:
		if !ok {
			c.Fatal("the channel was closed")
		}
		return d
	case <-time.After(limit):
		c.Fatal("nothing came")
		return amqp.Delivery{}
	}
}

func (c *consumer) get(n int) (out []amqp.Delivery) {
	c.Helper()
	for range n {
		out = append(out, c.next())
	}
	return out
}

// nothing holds that no message comes that is on its way already.
func (c *consumer) nothing() {
	c.Helper()
	select {
	case d, ok := <-c.in:
		if ok {
			c.Fatalf("%q came", d.Body)
		}
	case <-time.After(30 * time.Millisecond):
	}
}

// take is basic.get with an ack; "" is an empty queue.
func (w *world) take(queue string) string {
	w.Helper()
	d, ok, err := w.ch.Get(queue, true)
	w.must(err)
	if !ok {
		return ""
	}
	return string(d.Body)
}

// taken waits for a message and takes it.
func (w *world) taken(queue string) amqp.Delivery {
	w.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		d, ok, err := w.ch.Get(queue, true)
		w.must(err)
		if ok {
			return d
		}
	}
	w.Fatalf("nothing came to %s", queue)
	return amqp.Delivery{}
}

func (w *world) ready(queue string) int {
	w.Helper()
	q, err := w.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	w.must(err)
	return q.Messages
}

func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	eventually(w, what, is)
}

// eventually waits for what is about to be so; what says that it is not.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// missing says whether Kafka clients are told that there is no such topic.
func (w *world) missing(topic string) bool {
	w.Helper()
	q := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	q.Topics = append(q.Topics, one)
	res, err := q.RequestWith(background, w.kafka)
	w.must(err)
	return res.Topics[0].ErrorCode == 3
}

// refused runs act on a channel of its own, and wants an AMQP error of that code.
func (w *world) refused(code int, act func(ch *amqp.Channel) error) {
	w.Helper()
	ch, err := w.conn.Channel()
	w.must(err)
	defer ch.Close()
	var e *amqp.Error
	if err := act(ch); !errors.As(err, &e) || e.Code != code {
		w.Errorf("got %v, want %d", err, code)
	}
}

// policy has all queues and topics whose names match obey it.
func (w *world) policy(pattern string, definition amqp.Table) {
	w.Helper()
	body, err := json.Marshal(map[string]any{"pattern": pattern, "definition": definition, "apply-to": "queues"})
	w.must(err)
	req, err := http.NewRequest(http.MethodPut, "http://"+w.s.Addr("http")+"/api/policies/%2F/p"+strings.Trim(pattern, "^$"), strings.NewReader(string(body)))
	w.must(err)
	req.SetBasicAuth("guest", "guest")
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode/100 != 2 {
		w.Fatalf("policy: %s %s", res.Status, text)
	}
}

// place is what both worlds write to and read: a topic or a queue.
type place struct {
	name       string
	partitions int32 // of a topic; 0 is a queue
}

var places = []place{{"one", 1}, {"many", 3}, {"queue", 0}}

func (p *place) isTopic() bool { return p.partitions > 0 }

// make makes one with an exchange beside it of the same name, which routes every key to it.
func (p *place) make(w *world, what string, args amqp.Table) string {
	w.Helper()
	name := what + "-" + p.name
	if p.isTopic() {
		w.topic(name, p.partitions)
	} else {
		w.queue(name, args)
	}
	w.exchange(name, "fanout", nil, "", name)
	return name
}

// everywhere runs a test on each place, side by side.
func everywhere(t *testing.T, s *testkit.Server, test func(w *world, p *place)) {
	for i := range places {
		p := &places[i]
		t.Run(p.name, func(t *testing.T) { test(newWorld(t, s), p) })
	}
}

func numbered(w *world, exchange string, n int) {
	w.Helper()
	for i := range n {
		w.send(exchange, fmt.Sprint("k", i), fmt.Sprint(i))
	}
}
