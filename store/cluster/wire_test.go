package cluster

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leveret-mq/leveret/amqp"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
)

// wired is a gateway with a listener for AMQP, and a client of it.
type wired struct {
	*gateway
	ch *amqp091.Channel
}

func startWired(t *testing.T, c *kfake.Cluster) (w *wired, stop func()) {
	t.Helper()
	g := startGateway(t, c)
	users := auth.NewUsers()
	if err := users.PutPassword(auth.User{Name: "guest"}, "guest"); err != nil {
		t.Fatal(err)
	}
	s := amqp.New(amqp.Options{Broker: g.broker, Users: users, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Heartbeat: -1})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go s.Handle(nc)
		}
	}()
	conn, err := amqp091.Dial("amqp://guest:guest@" + l.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return &wired{g, ch}, func() {
		t.Helper()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		_ = l.Close()
		<-accepting
		g.stop()
	}
}

// read takes n messages of a stream, acks each, and says which they are, as offset and body.
func (w *wired) read(stream string, n int, args amqp091.Table) (all []string) {
	w.t.Helper()
	deliveries, err := w.ch.Consume(stream, "c", false, false, false, false, args)
	if err != nil {
		w.t.Fatal(err)
	}
	late := time.After(time.Minute)
	for len(all) < n {
		select {
		case d, open := <-deliveries:
			if !open {
				w.t.Fatalf("%d of %d messages came, and the consumer's end", len(all), n)
			}
			all = append(all, fmt.Sprintf("%d %s", d.Headers["x-stream-offset"], d.Body))
			if err := d.Ack(false); err != nil {
				w.t.Fatal(err)
			}
		case <-late:
			w.t.Fatalf("%d of %d messages came", len(all), n)
		}
	}
	if err := w.ch.Cancel("c", false); err != nil {
		w.t.Fatal(err)
	}
	for range deliveries {
	}
	return all
}

// TestAStreamOverAClusterIsReadByClients of another process than the one that wrote it, from
// offsets and times, and what they filter for.
func TestAStreamOverAClusterIsReadByClients(t *testing.T) {
	c := fakeCluster(t)
	w, stop := startWired(t, c)
	if _, err := w.ch.QueueDeclare("s", true, false, false, false, amqp091.Table{"x-queue-type": "stream"}); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	w.publishAt("s", 0, 60, func(i int) time.Time { return began.Add(time.Duration(i) * time.Second) })
	if err := w.ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for i := 60; i < 120; i++ {
		p := amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: fmt.Appendf(nil, "%06d", i)}
		if i%3 > 0 {
			p.Headers = amqp091.Table{"x-stream-filter-value": []string{"", "a", "b"}[i%3]}
		}
		d, err := w.ch.PublishWithDeferredConfirm("", "s", false, false, p)
		if err != nil {
			t.Fatal(err)
		}
		if !d.Wait() {
			t.Fatalf("message %d was refused", i)
		}
	}
	stop()

	w, stop = startWired(t, c)
	defer stop()
	if err := w.ch.Qos(20, 0, false); err != nil {
		t.Fatal(err)
	}
	want := func(from, to, step int) (all []string) {
		for i := from; i < to; i += step {
			all = append(all, fmt.Sprintf("%d %06d", i, i))
		}
		return all
	}
	for _, r := range []struct {
		what string
		args amqp091.Table
		want []string
	}{
		{"the first", amqp091.Table{"x-stream-offset": "first"}, want(0, 120, 1)},
		{"an offset", amqp091.Table{"x-stream-offset": int64(50)}, want(50, 120, 1)},
		{"a time between two messages", amqp091.Table{"x-stream-offset": began.Add(30*time.Second - time.Millisecond)}, want(29, 60, 1)},
		{"a time", amqp091.Table{"x-stream-offset": began.Add(45 * time.Second)}, want(45, 60, 1)},
		{"a time before all", amqp091.Table{"x-stream-offset": began.Add(-time.Hour)}, want(0, 60, 1)},
		{"an interval", amqp091.Table{"x-stream-offset": "10m"}, want(60, 120, 1)},
		{"the last batch", amqp091.Table{"x-stream-offset": "last"}, want(119, 120, 1)},
		{"one value", amqp091.Table{"x-stream-offset": "first", "x-stream-filter": "a"}, want(61, 120, 3)},
		{"another value, from an offset", amqp091.Table{"x-stream-offset": int64(90), "x-stream-filter": "b"}, want(92, 120, 3)},
		{"what has no value, too", amqp091.Table{"x-stream-offset": int64(90), "x-stream-filter": "none", "x-stream-match-unfiltered": true}, want(90, 120, 3)},
	} {
		if got := w.read("s", len(r.want), r.args); !slices.Equal(got, r.want) {
			t.Errorf("%s: %q, want %q", r.what, got, r.want)
		}
	}
	next, err := w.ch.Consume("s", "next", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.publish("", "s", 120, 121)
	select {
	case d := <-next:
		if string(d.Body) != "000120" || d.Headers["x-stream-offset"] != int64(120) {
			t.Errorf("next is %s, %v", d.Body, d.Headers)
		}
	case <-time.After(time.Minute):
		t.Error("nothing comes next")
	}
}

// publishAt publishes messages, each with the time at which it came.
func (g *gateway) publishAt(queue string, from, to int, at func(i int) time.Time) {
	g.t.Helper()
	p := g.session.NewPublisher()
	for i := from; i < to; i++ {
		if _, err := p.Publish(&broker.Inbound{
			Key: []byte(queue), Properties: []byte{0, 0}, Body: fmt.Appendf(nil, "%06d", i), Persistent: true, TimestampMs: at(i).UnixMilli(),
		}); err != nil {
			g.t.Fatal(err)
		}
		p.Store()
	}
	done := make(chan error, 1)
	p.Commit(func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			g.t.Fatal(err)
		}
	case <-time.After(time.Minute):
		g.t.Fatal("not confirmed")
	}
}
