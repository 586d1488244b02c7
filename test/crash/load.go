package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// load is every client of one life of the broker.
type load struct {
	wg     sync.WaitGroup
	conns  []*amqp.Connection
	others []io.Closer
}

// startLoad connects the clients and lets them go. They end when the broker
// dies and ctx ends.
func startLoad(ctx context.Context, h *harness, round int) (*load, error) {
	h.model.restarted()
	l := new(load)
	for p := range publishers {
		ch, err := l.channel(h.broker.AMQP)
		if err != nil {
			return nil, err
		}
		if err := ch.Confirm(false); err != nil {
			return nil, fmt.Errorf("confirm mode: %w", err)
		}
		rng := h.fork()
		l.wg.Go(func() { publish(ctx, ch, h.model, p, round, rng) })
	}
	for _, q := range queues {
		for range consumersOf(q) {
			if q == queueIdle {
				continue
			}
			if err := l.consume(h, q, round); err != nil {
				return nil, fmt.Errorf("consume %s: %w", q, err)
			}
		}
	}
	if err := l.startFlows(ctx, h); err != nil {
		return nil, err
	}
	if err := l.startStream(ctx, h); err != nil {
		return nil, err
	}
	if err := l.startXMPP(ctx, h); err != nil {
		return nil, err
	}
	h.admin.startLoad(ctx, h, l)
	if err := h.kafka.startLoad(ctx, h.broker.Kafka, round, h.fork(), &l.wg); err != nil {
		return nil, err
	}
	if err := h.compact.startLoad(ctx, h.kafka, h.broker.Kafka, h.fork(), &l.wg); err != nil {
		return nil, err
	}
	if err := h.txns.startLoad(ctx, h.kafka, h.broker.Kafka, h, &l.wg); err != nil {
		return nil, err
	}
	if err := l.startParts(h); err != nil {
		return nil, err
	}
	return l, nil
}

// fork draws a generator of its own for a goroutine.
func (h *harness) fork() *rand.Rand { return rand.New(rand.NewPCG(h.rng.Uint64(), 1)) }

func (l *load) channel(addr string) (*amqp.Channel, error) {
	c, ch, err := openChannel(addr)
	if err != nil {
		return nil, err
	}
	l.conns = append(l.conns, c)
	return ch, nil
}

func (l *load) consume(h *harness, queue string, round int) error {
	ch, err := l.channel(h.broker.AMQP)
	if err != nil {
		return err
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	s, rng := &session{queue: queue, round: round}, h.fork()
	l.wg.Go(func() {
		if queue == queueOrder {
			consumeInOrder(ch, deliveries, h.model, s, rng)
		} else {
			consumeMixed(deliveries, h.model, s, rng)
		}
	})
	return nil
}

// wait ends the clients of a broker that is dead.
func (l *load) wait() {
	for _, c := range l.conns {
		_ = c.Close() // it has failed already
	}
	for _, c := range l.others {
		_ = c.Close()
	}
	l.wg.Wait()
}

// drain reads every queue until it is empty, acks everything, and checks that
// nothing is missing.
func (h *harness) drain(ctx context.Context, round int) error {
	h.model.restarted()
	for _, q := range queues {
		if err := h.drainQueue(ctx, q, round); err != nil {
			return fmt.Errorf("drain %s: %w", q, err)
		}
	}
	if err := h.model.drained(); err != nil {
		return err
	}
	h.model.settle()
	if err := h.drainFlows(ctx); err != nil {
		return err
	}
	if err := h.drainStream(ctx); err != nil {
		return err
	}
	return h.drainXMPP(ctx)
}

func (h *harness) drainQueue(ctx context.Context, queue string, round int) error {
	c, ch, err := openChannel(h.broker.AMQP)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	state, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, amqpDeadline)
	defer cancel()
	s := &session{queue: queue, round: round}
	for left := state.Messages; left > 0; left-- {
		select {
		case d, open := <-deliveries:
			if !open {
				return fmt.Errorf("the channel was closed with %d messages left", left)
			}
			id, ok := parseBody(d.Body)
			if !ok {
				return fmt.Errorf("body of %d bytes", len(d.Body))
			}
			if !h.model.deliver(s, id.publisher, id.number, d.Redelivered) {
				return h.model.violation()
			}
			if err := d.Ack(false); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages that the broker counts never came", left, state.Messages)
		}
	}
	if state, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
		return err
	}
	if state.Messages != 0 {
		return fmt.Errorf("%d messages are ready after all were read", state.Messages)
	}
	return nil
}
