package cross

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/internal/testkit"
)

// transactor is a Kafka producer with a transaction open.
type transactor struct {
	t      *testing.T
	client *kgo.Client
}

func begin(t *testing.T, s *testkit.Server, id string) *transactor {
	t.Helper()
	c := dialKafka(t, s)
	c.open(kgo.TransactionalID(id))
	p := &transactor{t, c.client}
	p.must(c.client.BeginTransaction())
	return p
}

func (p *transactor) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *transactor) send(queue, body string) *transactor {
	p.t.Helper()
	p.must(p.client.ProduceSync(context.Background(), &kgo.Record{Topic: queue, Value: []byte(body)}).FirstErr())
	return p
}

func (p *transactor) end(commit bool) {
	p.t.Helper()
	p.must(p.client.EndTransaction(context.Background(), kgo.TransactionEndTry(commit)))
}

// takers are consumers of all that a queue has, of every protocol and kind. What next returns is the next body.
var takers = map[string]struct {
	args amqp.Table
	open func(t *testing.T, s *testkit.Server, queue string) (next func() string)
}{
	"AMQP": {nil, func(t *testing.T, s *testkit.Server, queue string) func() string {
		return amqpTaker(t, s, queue, 1, nil)
	}},
	"AMQP, several at a time": {nil, func(t *testing.T, s *testkit.Server, queue string) func() string {
		return amqpTaker(t, s, queue, 100, nil)
	}},
	"a stream": {amqp.Table{"x-queue-type": "stream"}, func(t *testing.T, s *testkit.Server, queue string) func() string {
		return amqpTaker(t, s, queue, 100, amqp.Table{"x-stream-offset": "first"})
	}},
	"STOMP": {nil, func(t *testing.T, s *testkit.Server, queue string) func() string {
		c := dialSTOMP(t, s)
		c.send("SUBSCRIBE", "", "id:1", "destination:/amq/queue/"+queue, "ack:auto")
		return func() string { return c.frame("MESSAGE") }
	}},
	"XMPP": {nil, func(t *testing.T, s *testkit.Server, queue string) func() string {
		c := dialXMPP(t, s, "guest", false)
		c.work(queue)
		return func() string { return c.receive().body }
	}},
	"a share group": {nil, func(t *testing.T, s *testkit.Server, queue string) func() string {
		return kafkaTaker(t, s, kgo.ShareGroup("share-"+queue), kgo.ConsumeTopics(queue))
	}},
	"a reader of what is committed": {nil, func(t *testing.T, s *testkit.Server, queue string) func() string {
		return kafkaTaker(t, s, kgo.ConsumeTopics(queue), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}},
}

func amqpTaker(t *testing.T, s *testkit.Server, queue string, prefetch int, args amqp.Table) func() string {
	t.Helper()
	c := dialAMQP(t, s)
	err := c.ch.Qos(prefetch, 0, false)
	if err == nil {
		c.in, err = c.ch.Consume(queue, "", false, false, false, false, args)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		select {
		case d := <-c.in:
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
			return string(d.Body)
		case <-time.After(limit):
			t.Fatal("nothing came")
			return ""
		}
	}
}

func kafkaTaker(t *testing.T, s *testkit.Server, opts ...kgo.Opt) func() string {
	t.Helper()
	c := dialKafka(t, s)
	c.open(opts...)
	var have []*kgo.Record
	return func() string {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		for len(have) == 0 {
			fetches := c.client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			have = fetches.Records()
		}
		rec := have[0]
		have = have[1:]
		return string(rec.Value)
	}
}

// Consumers of every protocol see what Kafka's producers committed, in the order of the queue, and nothing else: not what is open, or behind
// it, nor what was aborted.
func TestEverybodySeesWhatIsCommittedInOrder(t *testing.T) {
	s := start(t)
	declare := dialAMQP(t, s)
	for name, taker := range takers {
		t.Run(name, func(t *testing.T) {
			queue := "t-" + strings.NewReplacer(" ", "", ",", "").Replace(name)
			if _, err := declare.ch.QueueDeclare(queue, true, false, false, false, taker.args); err != nil {
				t.Fatal(err)
			}
			begin(t, s, queue+".1").send(queue, "committed").end(true)
			begin(t, s, queue+".1").send(queue, "aborted").end(false)
			open := begin(t, s, queue+".2").send(queue, "open, then committed")
			lost := begin(t, s, queue+".3").send(queue, "open, then aborted")
			open.send(queue, "and another of it")
			declare.publish(queue, message{body: "behind them", persistent: true})
			next := taker.open(t, s, queue)
			got := []string{next()}
			time.Sleep(50 * time.Millisecond) // whoever gets too much gets it now
			lost.end(false)
			open.end(true)
			got = append(got, next(), next(), next())
			if want := []string{"committed", "open, then committed", "and another of it", "behind them"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
