package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/message"
)

// gateway is a broker over the cluster.
type gateway struct {
	t       *testing.T
	store   *Store
	broker  *broker.Broker
	session *broker.Session
}

func startGateway(t *testing.T, c *kfake.Cluster) *gateway {
	t.Helper()
	s := openStore(t, c)
	b, err := broker.Open(s, broker.Options{SaveEvery: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	return &gateway{t, s, b, v.NewSession(auth.Identity{Name: "guest"})}
}

func (g *gateway) stop() {
	g.t.Helper()
	g.session.Close()
	if err := g.broker.Close(); err != nil {
		g.t.Error(err)
	}
	if err := g.store.Close(); err != nil {
		g.t.Error(err)
	}
}

// publish sends messages FROM to TO-1 to the exchange and waits for their confirm.
func (g *gateway) publish(exchange, key string, from, to int) {
	g.t.Helper()
	p := g.session.NewPublisher()
	for i := from; i < to; i++ {
		if routed, err := p.Publish(&broker.Inbound{
			Exchange: []byte(exchange), Key: []byte(key), Properties: []byte{0, 0}, Body: fmt.Appendf(nil, "%06d", i), Persistent: true, TimestampMs: time.Now().UnixMilli(),
		}); err != nil || !routed {
			g.t.Fatalf("publish %d: routed %t, %v", i, routed, err)
		}
		if i%50 == 49 || i == to-1 {
			done := make(chan error, 1)
			p.Store()
			p.Commit(func(err error) { done <- err })
			select {
			case err := <-done:
				if err != nil {
					g.t.Fatalf("confirm %d: %v", i, err)
				}
			case <-time.After(time.Minute):
				g.t.Fatalf("message %d is not confirmed", i)
			}
		}
	}
}

// got is one delivery.
type got struct {
	body        string
	redelivered bool
	lease       *broker.Lease
	offset      message.Offset
}

func (g *gateway) subscribe(queue string, prefetch int) (sub *broker.Subscription, woken chan struct{}) {
	g.t.Helper()
	woken = make(chan struct{}, 1)
	sub, err := g.session.Subscribe(queue, broker.SubscribeOptions{Prefetch: prefetch, Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		g.t.Fatal(err)
	}
	return sub, woken
}

// take consumes n messages, and settles each.
func (g *gateway) take(queue string, n int, settle func(got)) (all []got) {
	g.t.Helper()
	sub, woken := g.subscribe(queue, 100)
	defer sub.Close()
	late := time.After(time.Minute)
	for len(all) < n {
		var turn []got
		if _, err := sub.Pull(n-len(all), 1<<20, func(d *broker.Delivery) {
			turn = append(turn, got{string(d.Body), d.Redelivered, d.Lease, d.Offset})
		}); err != nil {
			g.t.Fatal(err)
		}
		sub.Release()
		for _, one := range turn {
			settle(one)
		}
		if all = append(all, turn...); len(turn) > 0 {
			continue
		}
		select {
		case <-woken:
		case <-late:
			g.t.Fatalf("%d of %d messages came from '%s'", len(all), n, queue)
		}
	}
	return all
}

func ack(t *testing.T) func(got) {
	return func(m got) {
		t.Helper()
		if err := m.lease.Ack(m.offset, m.offset); err != nil {
			t.Errorf("ack: %v", err)
		}
	}
}

// wantBodies fails unless these are the messages from to to-1 in order.
func wantBodies(t *testing.T, all []got, from, to int, redelivered bool) {
	t.Helper()
	if len(all) != to-from {
		t.Fatalf("%d messages, want %d", len(all), to-from)
	}
	for i, m := range all {
		if m.body != fmt.Sprintf("%06d", from+i) || m.redelivered != redelivered {
			t.Fatalf("message %d is %s, redelivered %t; want %06d, %t", i, m.body, m.redelivered, from+i, redelivered)
		}
	}
}

func TestABrokerOverAClusterLosesNothing(t *testing.T) {
	c := fakeCluster(t)
	g := startGateway(t, c)
	if _, err := g.session.DeclareQueue("orders", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.session.DeclareExchange("in", broker.ExchangeOptions{Type: "topic", Durable: true}); err != nil {
		t.Fatal(err)
	}
	if err := g.session.Bind(broker.Binding{Source: "in", Dest: "orders", Key: "a.*"}); err != nil {
		t.Fatal(err)
	}
	g.publish("in", "a.b", 0, 300)
	wantBodies(t, g.take("orders", 120, ack(t)), 0, 120, false)
	wantBodies(t, g.take("orders", 30, func(got) {}), 120, 150, false) // and never acked
	g.publish("in", "a.c", 300, 400)
	g.stop()

	g = startGateway(t, c)
	defer func() { g.stop() }()
	q, err := g.session.Queue(broker.Look, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if n := q.Ready(); n != 280 {
		t.Errorf("%d messages are ready, want 280", n)
	}
	wantBodies(t, g.take("orders", 30, ack(t)), 120, 150, true)
	wantBodies(t, g.take("orders", 50, ack(t)), 150, 200, false)
	one, err := g.session.Get("orders", false)
	if err != nil || string(one.Body) != "000200" {
		t.Fatalf("get: %v, %v", one, err)
	}
	if err := one.Lease.Requeue(one.Offset, one.Offset); err != nil {
		t.Fatal(err)
	}
	rest := g.take("orders", 200, ack(t))
	wantBodies(t, rest[:1], 200, 201, true)
	wantBodies(t, rest[1:], 201, 400, false)
	g.publish("", "orders", 400, 410)
	wantBodies(t, g.take("orders", 10, ack(t)), 400, 410, false)
	if _, err := g.session.DeleteQueue("orders", false, false); err != nil {
		t.Fatal(err)
	}
	if _, err := g.session.DeclareQueue("orders", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatalf("the name of a deleted queue: %v", err)
	}
	g.publish("", "orders", 0, 1)
	wantBodies(t, g.take("orders", 1, ack(t)), 0, 1, false)
}

// TestTwoBrokersOverOneClusterAgree holds that what one defines the other knows, and
// that what both define at once is one thing.
func TestTwoBrokersOverOneClusterAgree(t *testing.T) {
	c := fakeCluster(t)
	a, b := startGateway(t, c), startGateway(t, c)
	defer a.stop()
	defer b.stop()
	if a.broker.ClusterID() != b.broker.ClusterID() {
		t.Errorf("two clusters, %s and %s", a.broker.ClusterID(), b.broker.ClusterID())
	}
	ids := map[int64]bool{}
	for range 1500 { // more than are reserved at a time
		for _, g := range []*gateway{a, b} {
			id, err := g.session.NewProducerID()
			if err != nil || ids[id] {
				t.Fatalf("producer %d came again, or %v", id, err)
			}
			ids[id] = true
		}
	}
	for i := range 20 { // both at once
		name := fmt.Sprint("q", i)
		queues := make([]*broker.Queue, 2)
		var group sync.WaitGroup
		for k, g := range []*gateway{a, b} {
			group.Go(func() {
				var err error
				if queues[k], err = g.session.DeclareQueue(name, broker.QueueOptions{Durable: true}); err != nil {
					t.Errorf("declare '%s': %v", name, err)
				}
			})
		}
		group.Wait()
		if t.Failed() {
			return
		}
		if queues[0].TopicID != queues[1].TopicID {
			t.Fatalf("'%s' is two queues", name)
		}
	}
	if _, err := a.session.DeclareExchange("x", broker.ExchangeOptions{Type: "direct", Durable: true}); err != nil {
		t.Fatal(err)
	}
	bind := broker.Binding{Source: "x", Dest: "q7", Key: "k"}
	if err := a.session.Bind(bind); err != nil {
		t.Fatal(err)
	}
	routes := func(want bool) func() bool {
		p := b.session.NewPublisher()
		return func() bool {
			routed, err := p.Publish(&broker.Inbound{Exchange: []byte("x"), Key: []byte("k"), Properties: []byte{0, 0}, Body: []byte("m")})
			p.Store()
			p.Commit(func(error) {})
			return (err == nil && routed) == want
		}
	}
	soon(t, "the other's exchange and binding to route", routes(true))
	if err := a.session.Unbind(bind); err != nil {
		t.Fatal(err)
	}
	soon(t, "the binding to end", routes(false))
	gone := make(chan struct{})
	soon(t, "one of them to have the lease", func() bool { // they may still be dealt when we come
		for _, g := range []*gateway{a, b} {
			if _, err := g.session.Subscribe("q7", broker.SubscribeOptions{Cancelled: func() { close(gone) }}); err == nil {
				return true
			}
		}
		return false
	})
	if _, err := b.session.DeleteQueue("q7", false, false); err != nil {
		t.Fatal(err)
	}
	soon(t, "the queue to go", func() bool { _, err := a.session.Queue(broker.Look, "q7"); return err != nil })
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the consumer of a queue that another process deleted was not told")
	}
	if q, err := a.session.DeclareQueue("q7", broker.QueueOptions{Durable: true, AutoDelete: true}); err != nil {
		t.Fatal(err)
	} else {
		soon(t, "the new queue of that name", func() bool {
			other, err := b.session.Queue(broker.Look, "q7")
			return err == nil && other.TopicID == q.TopicID && other.AutoDelete
		})
	}
}

// TestAPolicyOfAnotherProcessHolds has what one process sets apply to the queues of another.
func TestAPolicyOfAnotherProcessHolds(t *testing.T) {
	c := fakeCluster(t)
	a, b := startGateway(t, c), startGateway(t, c)
	defer a.stop()
	defer b.stop()
	if _, err := a.session.DeclareQueue("q", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	a.publish("", "q", 0, 3)
	v, err := a.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.PutPolicies(audit.Process("test"), broker.SettingPolicy{Name: "p", Pattern: "q", Definition: []byte(`{"message-ttl":60000,"max-length":2}`)}); err != nil {
		t.Fatal(err)
	}
	applies := func(want string) func() bool {
		return func() bool {
			q, err := b.session.Queue(broker.Look, "q")
			return err == nil && q.Policies().Policy == want
		}
	}
	soon(t, "the other's policy", applies("p"))
	q, err := b.session.Queue(broker.Look, "q")
	if err != nil {
		t.Fatal(err)
	}
	if s := q.Settings(); s.MessageTTL != 60000 || s.MaxLength != 2 {
		t.Errorf("%+v", s)
	}
	if err := v.DeletePolicy(audit.Process("test"), "p", false); err != nil {
		t.Fatal(err)
	}
	soon(t, "its end", applies(""))
}
