package demo

import (
	"context"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Consumers take messages from a queue, each over a connection of its own, as
// programs of their own would, and one message at a time.
type Consumers struct {
	Context context.Context // of what they do; ends with its cause when one of them can't go on

	fail  context.CancelCauseFunc
	wait  sync.WaitGroup
	conns []*amqp.Connection
	stop  []func() // ends a consumer
}

// Consume starts n consumers, NAME-1 and so on. For each of them start returns what it
// does with a message, and what is to be done at its end. An error of either kind ends
// all: the context that is returned beside them has it as its cause.
func (b *Broker) Consume(ctx context.Context, queue, name string, n int, start func(p *Publisher, name string) (each func(context.Context, amqp.Delivery) error, end func())) (*Consumers, error) {
	c := &Consumers{}
	c.Context, c.fail = context.WithCancelCause(ctx)
	for i := range n {
		if err := c.add(b, queue, fmt.Sprintf("%s-%d", name, i+1), start); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

func (c *Consumers) add(b *Broker, queue, name string, start func(*Publisher, string) (func(context.Context, amqp.Delivery) error, func())) error {
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	c.conns = append(c.conns, conn)
	p, err := NewPublisher(conn)
	if err != nil {
		return err
	}
	if err := p.Qos(1, 0, false); err != nil {
		return fmt.Errorf("prefetch: %w", err)
	}
	messages, err := p.Consume(queue, name, false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume %s: %w", queue, err)
	}
	c.stop = append(c.stop, func() { _ = p.Cancel(name, false) })
	each, end := start(p, name)
	c.wait.Go(func() {
		defer end()
		for m := range messages {
			if err := each(c.Context, m); err != nil {
				c.fail(fmt.Errorf("%s: %w", name, err))
				return
			}
		}
		if conn.IsClosed() { // nobody here closes it before the last message is through
			c.fail(fmt.Errorf("%s: the connection to the broker ended", name))
		}
	})
	return nil
}

// Close has what is in hand finished, its ack included, and closes the connections.
func (c *Consumers) Close() {
	for _, stop := range c.stop {
		stop()
	}
	c.wait.Wait()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.fail(nil)
}
