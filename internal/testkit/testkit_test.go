package testkit

import (
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/config"
)

// What AMQP publishes, Kafka reads, also after the broker was stopped and started.
func TestServerKeepsMessagesAcrossARestart(t *testing.T) {
	s := Start(t, func(c *config.Config) { c.Sync = config.SyncOS })
	conn, err := amqp.Dial(s.AMQPURL())
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("kept", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirm, err := ch.PublishWithDeferredConfirm("", "kept", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("hello")})
	if err != nil || !confirm.Wait() {
		t.Fatalf("not confirmed: %v", err)
	}
	before := s.Addr("kafka")
	s.Restart()
	if after := s.Addr("kafka"); after != before {
		t.Errorf("the address changed from %s to %s", before, after)
	}

	c, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")), kgo.ConsumeTopics("kept"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fetches := c.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	records := fetches.Records()
	if len(records) != 1 || string(records[0].Value) != "hello" || string(records[0].Key) != "kept" {
		t.Fatalf("read %v", records)
	}
}
