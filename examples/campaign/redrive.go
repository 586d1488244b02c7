package main

import (
	"context"
	"fmt"
	"maps"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// redrive sends the dead letters of one reason back to the queue in which they died,
// as mails that have not been tried yet. The others stay where they are.
func redrive(ctx context.Context, b *demo.Broker, reason string) (n int, err error) {
	conn, err := b.Dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close() // what was looked at and not acked goes back
	p, err := demo.NewPublisher(conn)
	if err != nil {
		return 0, err
	}
	for {
		d, ok, err := p.Get(deadQueue, false)
		if err != nil {
			return n, fmt.Errorf("get from %s: %w", deadQueue, err)
		}
		if !ok {
			return n, nil
		}
		if d.Headers[reasonHeader] != reason {
			continue
		}
		h := maps.Clone(d.Headers)
		maps.DeleteFunc(h, func(name string, _ any) bool {
			return name == "x-death" || name == countHeader || strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-")
		})
		if err := p.Send(ctx, "", mailQueue, amqp.Publishing{ContentType: d.ContentType, MessageId: d.MessageId, Headers: h, Body: d.Body}); err != nil {
			return n, fmt.Errorf("publish a dead letter again: %w", err)
		}
		if err := d.Ack(false); err != nil {
			return n, err
		}
		n++
	}
}
