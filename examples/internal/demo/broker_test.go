package demo_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
	"github.com/leveret-mq/leveret/examples/internal/demotest"
)

func TestABrokerThatEndsAtOnceShowsItsOutput(t *testing.T) {
	_, err := demo.Start(context.Background(), demotest.Build(t), "sometimes")
	if err == nil || !strings.Contains(err.Error(), "--sync") {
		t.Errorf("error: %v", err)
	}
	if _, err := demo.Start(context.Background(), filepath.Join(t.TempDir(), "missing"), ""); err == nil {
		t.Error("a missing binary is no error")
	}
}

func TestConsumersThatLoseTheirBrokerSaySo(t *testing.T) {
	ctx, b := demotest.Start(t)
	conn, err := b.Dial()
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("jobs", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	start := func(*demo.Publisher, string) (func(context.Context, amqp.Delivery) error, func()) {
		return func(_ context.Context, m amqp.Delivery) error {
			if len(m.Body) > 0 {
				return errors.New("out of ideas")
			}
			return m.Ack(false)
		}, func() {}
	}
	failing, err := b.Consume(ctx, "jobs", "worker", 1, start)
	if err != nil {
		t.Fatal(err)
	}
	p, err := demo.NewPublisher(conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "x"} {
		if err := p.Send(ctx, "", "jobs", amqp.Publishing{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	<-failing.Context.Done()
	if err := demo.Until(failing.Context, func() bool { return false }); err == nil || !strings.Contains(err.Error(), "worker-1: out of ideas") {
		t.Errorf("whoever waits is told %v", err)
	}
	failing.Close()

	idle, err := b.Consume(ctx, "jobs", "idle", 2, func(*demo.Publisher, string) (func(context.Context, amqp.Delivery) error, func()) {
		return func(_ context.Context, m amqp.Delivery) error { return m.Ack(false) }, func() {}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Stop()
	select {
	case <-idle.Context.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("nobody has noticed that the broker is gone")
	}
	if err := context.Cause(idle.Context); !strings.Contains(err.Error(), "the connection to the broker ended") {
		t.Errorf("the cause is %v", err)
	}
	idle.Close()
	if _, err := b.Consume(ctx, "jobs", "late", 1, start); err == nil {
		t.Error("a broker that is gone is no error")
	}
}
