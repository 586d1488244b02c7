package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// keyed is a producer's batch of two records; the first has the key that it may use.
func keyed(first, second string) batch.Batch {
	var b message.Builder
	for _, key := range []string{first, second} {
		b.Add(&message.Publish{Key: []byte(key), Body: []byte("v"), TimestampMs: 1_000})
	}
	return batch.Batch(slices.Clone(b.Seal()))
}

type oneKey string

func (k oneKey) MatchBytes(key []byte) bool { return string(key) == string(k) }

// The records of a Kafka producer's batch are routed all or none; what its client calls itself may decide which
// keys it may use, and counts from the next batch on when it changes.
func TestABatchForATopicExchangeIsWithinItsKeys(t *testing.T) {
	r := start(t)
	r.Broker.opts.KeyPolicy = func(q KeyRequest) Keys {
		if q.User != "u" || q.VHost != "/" || q.Exchange != "x" || q.Verb != Publish {
			return nil
		}
		return oneKey(q.ClientID)
	}
	args := field.AppendString(field.AppendName(nil, argFeed), []byte("feed"))
	x, err := r.s.DeclareExchange("x", ExchangeOptions{Type: "topic", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	q := r.queue("q", QueueOptions{})
	r.bind("x", q.Name, "#")
	s := r.v.NewSession(auth.Identity{Name: "u"})
	p := s.NewPublisher()
	try := func(client, key string, allowed bool) {
		t.Helper()
		s.SetClientID(client)
		before := q.Ready()
		_, err := publishBatch(p, x, keyed(client, key))
		p.Store()
		p.Commit(nil)
		if (err == nil) != allowed || err != nil && RefusedOn(err) != OnKey {
			t.Errorf("key %s of %s: %v", key, client, err)
		}
		if n := q.Ready() - before; n != map[bool]int64{true: 2, false: 0}[allowed] {
			t.Errorf("key %s of %s: %d records were routed", key, client, n)
		}
	}
	try("a", "a", true)
	try("a", "b", false)
	try("b", "b", true)
	try("b", "a", false)
	try("a", "a", true)
}

// A feed topic is a topic that is made, of a name that may be somebody else's.
func TestAFeedTopicTakesTheRightToMakeIt(t *testing.T) {
	r := start(t)
	r.Broker.opts.Policy = func(q Request) error {
		if q.Verb == Create && q.On == (Resource{OnQueue, "theirs"}) {
			return ErrDenied
		}
		return nil
	}
	for topic, allowed := range map[string]bool{"theirs": false, "ours": true} {
		_, err := r.s.DeclareExchange("x-"+topic, ExchangeOptions{Type: "topic", Args: field.AppendString(field.AppendName(nil, argFeed), []byte(topic))})
		if (err == nil) != allowed || err != nil && RefusedOn(err) != OnQueue {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

// Consumers of every kind hear that they lost their queue: those that wait for their turn, and those of streams.
func TestConsumersOfEveryKindAreCancelled(t *testing.T) {
	for _, c := range []struct {
		name string
		args []byte
		o    SubscribeOptions
	}{
		{"of a queue", nil, SubscribeOptions{}},
		{"one of which is active", arguments("x-single-active-consumer", true), SubscribeOptions{}},
		{"of a stream", arguments("x-queue-type", "stream"), SubscribeOptions{Prefetch: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			lost := false
			r.Broker.opts.Policy = func(q Request) error {
				if lost && q.Verb == Consume {
					return ErrDenied
				}
				return nil
			}
			if _, err := r.s.DeclareQueue("q", QueueOptions{Durable: true, Args: c.args}); err != nil {
				t.Fatal(err)
			}
			cancelled := 0
			_, k := connect(t, r.Clients("test"), "c")
			s := k.NewSession(r.v, auth.Identity{Name: "u"})
			o := c.o
			o.Cancelled = func() { cancelled++ }
			var subs []*Subscription
			for range 2 {
				sub, err := s.Subscribe("q", o)
				if err != nil {
					t.Fatal(err)
				}
				subs = append(subs, sub)
			}
			r.Broker.PolicyChanged()
			if cancelled != 0 {
				t.Error("cancelled although nothing was lost")
			}
			subs[0].Close()
			lost = true
			r.Broker.PolicyChanged()
			if cancelled != 1 {
				t.Errorf("%d were cancelled, want the one that is there", cancelled)
			}
			subs[1].Close()
			r.Broker.PolicyChanged()
			if cancelled != 1 {
				t.Error("cancelled after it left")
			}
		})
	}
}

// Who is sent away gets nothing more while the farewell takes its time, and is not asked what it may read.
func TestConsumersOfWhoIsSentAwayAreCancelledFirst(t *testing.T) {
	r := start(t)
	lost := false
	r.Broker.opts.Policy = func(q Request) error {
		if lost && q.Verb == Enter {
			return ErrDenied
		}
		return nil
	}
	r.queue("q", QueueOptions{Durable: true})
	c, k := connect(t, r.Clients("test"), "c")
	s := k.NewSession(r.v, auth.Identity{Name: "u"})
	var told []string
	for _, o := range []SubscribeOptions{{Cancelled: func() { told = append(told, fmt.Sprint("cancelled, gone: ", len(c.closed))) }}, {}} {
		sub, err := s.Subscribe("q", o)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
	}
	lost = true
	r.Broker.PolicyChanged()
	if !slices.Equal(told, []string{"cancelled, gone: 0"}) || len(c.closed) != 1 {
		t.Errorf("%q, %d", told, len(c.closed))
	}
}
