package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// exchange is where every publisher publishes; its key is p<number>.<anything>.
const exchange = "crash"

// amqpDeadline bounds every answer that is waited for while nobody kills.
const amqpDeadline = 15 * time.Second

func dialAMQP(addr string) (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://guest:guest@"+addr+"/", amqp.Config{
		Heartbeat: 30 * time.Second, Dial: amqp.DefaultDial(5 * time.Second),
	})
}

// openChannel connects and opens one channel; closing the connection ends both.
func openChannel(addr string) (*amqp.Connection, *amqp.Channel, error) {
	c, err := dialAMQP(addr)
	if err != nil {
		return nil, nil, err
	}
	ch, err := c.Channel()
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return c, ch, nil
}

// declare makes the exchange, the queues and the topic, in the first life.
func (h *harness) declare(ctx context.Context) error {
	c, ch, err := openChannel(h.broker.AMQP)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare the exchange: %w", err)
	}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			return fmt.Errorf("declare queue %s: %w", q, err)
		}
		keys := []string{"#"}
		switch q {
		case queuePair:
			keys = []string{"p1.*", "p1.#"} // both match: one copy all the same
		case queueIdle:
			keys = []string{"p2.*"}
		}
		for _, key := range keys {
			if err := ch.QueueBind(q, key, exchange, false, nil); err != nil {
				return fmt.Errorf("bind queue %s: %w", q, err)
			}
		}
	}
	if err := declareFlows(ch); err != nil {
		return err
	}
	if err := declareStream(ch); err != nil {
		return err
	}
	if err := h.compact.declare(ctx, h.kafka, h.broker.Kafka); err != nil {
		return err
	}
	if err := h.txns.declare(ctx, h.kafka, h.broker.Kafka); err != nil {
		return err
	}
	return h.kafka.declare(ctx, h.broker.Kafka)
}

// A body is the publisher's number, the message's number, and padding:
//
//	┌───────────┬────────┬─────────┐
//	│ publisher │ number │ 0…2000  │
//	│ u32       │ u64    │ zeros   │
//	└───────────┴────────┴─────────┘
const bodyBytes = 12

func body(publisher, number, padding int) []byte {
	b := make([]byte, bodyBytes+padding)
	binary.BigEndian.PutUint32(b, uint32(publisher))
	binary.BigEndian.PutUint64(b[4:], uint64(number))
	return b
}

func parseBody(b []byte) (d delivered, ok bool) {
	if len(b) < bodyBytes {
		return d, false
	}
	return delivered{int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint64(b[4:]))}, true
}

// burst is the most messages that a publisher has unconfirmed.
const burst = 64

// publishMax bounds the messages of one publisher in one life, so that a long
// run ends and its memory stays small.
const publishMax = 1200

// publish sends bursts and waits for their confirms until the broker dies.
func publish(ctx context.Context, ch *amqp.Channel, m *model, publisher, round int, rng *rand.Rand) {
	for sent := 0; sent < publishMax; {
		type waiting struct {
			number  int
			confirm *amqp.DeferredConfirmation
		}
		var list []waiting
		for range 1 + rng.IntN(burst) {
			number := m.send(publisher, round)
			confirm, err := ch.PublishWithDeferredConfirm(exchange, fmt.Sprintf("p%d.k%d", publisher, number%7), false, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent, Body: body(publisher, number, rng.IntN(2000)),
			})
			if err != nil {
				return
			}
			list = append(list, waiting{number, confirm})
			sent++
		}
		for _, w := range list {
			acked, err := w.confirm.WaitContext(ctx)
			if err != nil || !acked {
				// A confirm that never came reads as not acked too: nothing is promised.
				return
			}
			m.confirm(publisher, w.number)
		}
		if !pause(ctx, time.Duration(rng.IntN(4))*time.Millisecond) {
			return
		}
	}
}

// pause waits and says whether the life goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// consumeMixed reads a queue and acks out of order: most at once, some later in
// runs, some are put back, and some are held until the broker dies.
func consumeMixed(deliveries <-chan amqp.Delivery, m *model, s *session, rng *rand.Rand) {
	held := 0
	for d := range deliveries {
		id, ok := parseBody(d.Body)
		if !ok {
			m.bad("queue %s delivered a body of %d bytes", s.queue, len(d.Body))
			return
		}
		if !m.deliver(s, id.publisher, id.number, d.Redelivered) {
			return
		}
		var err error
		switch n := rng.IntN(100); {
		case n < 3 && held < prefetch/2:
			held++ // never acked
		case n < 6 && !d.Redelivered:
			m.requeue(s, id.publisher, id.number)
			err = d.Nack(false, true)
		default:
			err = d.Ack(false)
		}
		if err != nil {
			return
		}
	}
}

// consumeInOrder acks runs with multiple, and now and then makes sure that the
// ack was processed: what it covered must never come back.
func consumeInOrder(ch *amqp.Channel, deliveries <-chan amqp.Delivery, m *model, s *session, rng *rand.Rand) {
	var run []delivered
	next := 1 + rng.IntN(prefetch-10)
	for d := range deliveries {
		id, ok := parseBody(d.Body)
		if !ok {
			m.bad("queue %s delivered a body of %d bytes", s.queue, len(d.Body))
			return
		}
		if !m.deliver(s, id.publisher, id.number, d.Redelivered) {
			return
		}
		run = append(run, id)
		if len(run) < next {
			continue
		}
		if err := d.Ack(true); err != nil {
			return
		}
		if rng.IntN(4) == 0 {
			// The answer to a later request on the channel proves that the ack arrived.
			if _, err := ch.QueueDeclarePassive(s.queue, true, false, false, false, nil); err != nil {
				return
			}
			m.gone(s.queue, run)
		}
		run, next = run[:0], 1+rng.IntN(prefetch-10)
	}
}
