package cross

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// message is what is compared.
type message struct {
	body        string
	contentType string
	headers     map[string]string
	persistent  bool
	redelivered bool
}

// client is one of any protocol.
type client interface {
	publish(queue string, m message)
	// work begins to consume, a message at a time, which are never acked.
	work(queue string)
	receive() message
	cut() // ends the connection
}

// rabbit is an AMQP client.
type rabbit struct {
	t    testing.TB
	conn *amqp.Connection
	ch   *amqp.Channel
	in   <-chan amqp.Delivery
}

func dialAMQP(t testing.TB, s *testkit.Server) *rabbit {
	t.Helper()
	conn, err := amqp.Dial(s.AMQPURL())
	if err != nil {
		t.Fatal(err)
	}
	c := &rabbit{t: t, conn: conn}
	t.Cleanup(c.cut)
	if c.ch, err = conn.Channel(); err == nil {
		err = c.ch.Confirm(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *rabbit) cut() { c.conn.Close() }

func (c *rabbit) declare(queue string) {
	c.t.Helper()
	if _, err := c.ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rabbit) publish(queue string, m message) {
	c.t.Helper()
	p := amqp.Publishing{ContentType: m.contentType, Body: []byte(m.body), Headers: amqp.Table{}}
	if m.persistent {
		p.DeliveryMode = amqp.Persistent
	}
	for name, value := range m.headers {
		p.Headers[name] = value
	}
	confirm, err := c.ch.PublishWithDeferredConfirm("", queue, false, false, p)
	if err != nil || !confirm.Wait() {
		c.t.Fatalf("not confirmed: %v", err)
	}
}

func persistent(body string) amqp.Publishing {
	return amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)}
}

func (c *rabbit) work(queue string) {
	c.t.Helper()
	err := c.ch.Qos(1, 0, false)
	if err == nil {
		c.in, err = c.ch.Consume(queue, "", false, false, false, false, nil)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *rabbit) receive() message {
	c.t.Helper()
	select {
	case d := <-c.in:
		m := message{body: string(d.Body), contentType: d.ContentType, persistent: d.DeliveryMode == amqp.Persistent, redelivered: d.Redelivered, headers: map[string]string{}}
		for name, value := range d.Headers {
			m.headers[name] = fmt.Sprint(value)
		}
		return m
	case <-time.After(limit):
		c.t.Fatal("nothing came")
		return message{}
	}
}

// reader is a Kafka client. What it reads it takes from nobody.
type reader struct {
	t      testing.TB
	s      *testkit.Server
	client *kgo.Client
}

func dialKafka(t testing.TB, s *testkit.Server) *reader { return &reader{t: t, s: s} }

func (c *reader) open(opts ...kgo.Opt) {
	c.t.Helper()
	var err error
	if c.client, err = kgo.NewClient(append(opts, kgo.SeedBrokers(c.s.Addr("kafka")))...); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.client.Close)
}

func (c *reader) cut() { c.client.Close() }

// publish has no place for a content type or persistence of its own: they are headers to others, and all is persistent.
func (c *reader) publish(queue string, m message) {
	c.t.Helper()
	if c.client == nil {
		c.open()
	}
	rec := &kgo.Record{Topic: queue, Value: []byte(m.body)}
	for name, value := range m.headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	if err := c.client.ProduceSync(context.Background(), rec).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *reader) work(queue string) {
	c.t.Helper()
	c.open(kgo.ConsumeTopics(queue), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
}

func (c *reader) receive() message {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	fetches := c.client.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		c.t.Fatal(err)
	}
	rec := fetches.Records()[0]
	m := message{body: string(rec.Value), headers: map[string]string{}, persistent: true}
	for _, h := range rec.Headers {
		if h.Key == "amqp.content-type" {
			m.contentType = string(h.Value)
		}
		m.headers[h.Key] = string(h.Value)
	}
	return m
}

// dial makes a client of each protocol. The one of XMPP acknowledges what it gets only if managed.
func dial(t testing.TB, s *testkit.Server, protocol string) client {
	switch protocol {
	case "AMQP":
		return dialAMQP(t, s)
	case "Kafka":
		return dialKafka(t, s)
	case "STOMP":
		return dialSTOMP(t, s)
	}
	return dialXMPP(t, s, "guest", false)
}

var protocols = []string{"AMQP", "Kafka", "STOMP", "XMPP"}

func start(t *testing.T) *testkit.Server {
	return testkit.Start(t, func(c *config.Config) { c.Sync = config.SyncOS })
}

// What any protocol publishes, any protocol receives: all sixteen pairs.
func TestBodyHeadersContentTypeAndPersistenceSurviveEveryPair(t *testing.T) {
	s := start(t)
	declare := dialAMQP(t, s)
	for _, from := range protocols {
		for _, to := range protocols {
			t.Run(from+" to "+to, func(t *testing.T) {
				out := dial(t, s, from)
				for i, want := range []message{
					{body: "text with <&> and é", contentType: "text/plain", headers: map[string]string{"n": "v", "other": "<&'\"> é"}, persistent: true},
					{body: "\x00\xff\x01binary", contentType: "application/octet-stream", headers: map[string]string{"n": "w"}},
					{body: "[1]", contentType: "application/json", headers: map[string]string{}, persistent: true},
				} {
					queue := fmt.Sprintf("%s-%s-%d", from, to, i)
					declare.declare(queue)
					out.publish(queue, want)
					in := dial(t, s, to)
					in.work(queue)
					got := in.receive()
					in.cut()
					compare(t, from, to, &want, &got)
				}
			})
		}
	}
}

func compare(t *testing.T, from, to string, want, got *message) {
	t.Helper()
	if got.body != want.body {
		t.Errorf("body: got %q, want %q", got.body, want.body)
	}
	for name, value := range want.headers {
		if got.headers[name] != value {
			t.Errorf("header %q: got %q, want %q", name, got.headers[name], value)
		}
	}
	// A Kafka record says nothing of either, and its copies of AMQP's properties come with headers only.
	if from != "Kafka" && (to != "Kafka" || len(want.headers) > 0) && got.contentType != want.contentType {
		t.Errorf("content type: got %q, want %q", got.contentType, want.contentType)
	}
	if persistent := want.persistent || from == "Kafka"; to != "Kafka" && got.persistent != persistent {
		t.Errorf("persistent: %v", got.persistent)
	}
	if got.redelivered {
		t.Error("it is marked as redelivered")
	}
}

// What one protocol's consumer leaves without an ack, the next one's gets marked as redelivered. Kafka's readers take
// nothing, so there is nothing to be left.
func TestTheRedeliveryFlagSurvivesEveryPair(t *testing.T) {
	s := start(t)
	declare := dialAMQP(t, s)
	for _, first := range protocols {
		for _, second := range protocols {
			if first == "Kafka" || second == "Kafka" {
				continue
			}
			t.Run(first+" to "+second, func(t *testing.T) {
				queue := first + "-" + second
				declare.declare(queue)
				declare.publish(queue, message{body: "again", headers: map[string]string{"n": "v"}})
				a := dial(t, s, first)
				if x, ok := a.(*stream); ok {
					x.cut()
					a = dialXMPP(t, s, "guest", true)
					a.(*stream).acks = false // it gets it, and does not say so
				}
				a.work(queue)
				if m := a.receive(); m.body != "again" || m.redelivered {
					t.Errorf("first: %+v", m)
				}
				b := dial(t, s, second)
				a.cut()
				b.work(queue)
				if m := b.receive(); m.body != "again" || !m.redelivered || m.headers["n"] != "v" {
					t.Errorf("second: %+v", m)
				}
			})
		}
	}
}

// An element that an XMPP client publishes is the body of a message to others, and the other way round.
func TestAnElementIsABody(t *testing.T) {
	s := start(t)
	x, a := dialXMPP(t, s, "guest", false), dialAMQP(t, s)
	x.ask("set", pubsub("<create node='n'/>"))
	x.send("<presence/>")
	x.ask("set", pubsub("<subscribe node='n' jid='guest@localhost'/>"))
	x.ask("set", pubsub("<publish node='n'><item id='one'><entry xmlns='http://www.w3.org/2005/Atom'><title>t &lt;</title></entry></item></publish>"))
	a.work("n")
	select {
	case d := <-a.in:
		if string(d.Body) != "<entry xmlns='http://www.w3.org/2005/Atom'><title>t &lt;</title></entry>" || d.ContentType != "application/xml" || d.MessageId != "one" || d.DeliveryMode != amqp.Persistent || d.UserId != "guest" {
			t.Errorf("%+v %s", d, d.Body)
		}
	case <-time.After(limit):
		t.Fatal("nothing came")
	}
	x.event()
	if err := a.ch.Publish("", "n", false, false, amqp.Publishing{ContentType: "application/atom+xml", MessageId: "two", Body: []byte("<entry xmlns='http://www.w3.org/2005/Atom'/>"), Headers: amqp.Table{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	e := x.event()
	item := e.Child(nsPubsub+"#event", "event").First().First()
	if item.Attr("id") != "two" || !item.First().Is("http://www.w3.org/2005/Atom", "entry") || e.Child("http://jabber.org/protocol/shim", "headers").First().Text() != "v" {
		t.Errorf("%s", e)
	}
}
