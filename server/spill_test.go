package server_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// What memory has no room for while it comes in waits in a file beside the data, with the settings that there are.
func TestAMessageThatMemoryHasNoRoomForIsTaken(t *testing.T) {
	s := testkit.Start(t, func(c *config.Config) { c.RequestMemory = 16 << 20 })
	conn, err := amqp.Dial(s.AMQPURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	body := bytes.Repeat([]byte("leveret "), 12<<20/8)
	sent, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", "q", false, false, amqp.Publishing{Body: body})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := sent.WaitContext(ctx); !ok || err != nil {
		t.Fatalf("confirmed %v, %v", ok, err)
	}
	if m, ok, err := ch.Get("q", true); !ok || err != nil || !bytes.Equal(m.Body, body) {
		t.Errorf("%v, %v, %d bytes", ok, err, len(m.Body))
	}
}
