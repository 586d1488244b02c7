package demo

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Publisher publishes persistent messages with confirms. Its channel may consume, too.
type Publisher struct{ *amqp.Channel }

// NewPublisher opens a channel for it.
func NewPublisher(conn *amqp.Connection) (*Publisher, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("confirms: %w", err)
	}
	return &Publisher{ch}, nil
}

// Send returns when the broker has confirmed the message.
func (p *Publisher) Send(ctx context.Context, exchange, key string, m amqp.Publishing) error {
	c, err := p.Begin(ctx, exchange, key, m)
	if err != nil {
		return err
	}
	return Confirmed(ctx, c)
}

// Begin publishes and leaves the waiting for the confirm to Confirmed.
func (p *Publisher) Begin(ctx context.Context, exchange, key string, m amqp.Publishing) (*amqp.DeferredConfirmation, error) {
	m.DeliveryMode = amqp.Persistent
	return p.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, m)
}

// Confirmed waits for a confirm.
func Confirmed(ctx context.Context, c *amqp.DeferredConfirmation) error {
	ok, err := c.WaitContext(ctx)
	if err == nil && !ok {
		err = errors.New("the broker did not take it")
	}
	return err
}
