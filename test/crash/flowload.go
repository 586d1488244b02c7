package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// flowMax bounds the messages of one flow in one life.
const flowMax = 300

// declareFlows makes the queues of the flows and what leads to them.
func declareFlows(ch *amqp.Channel) error {
	for name, args := range arguments() {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			return fmt.Errorf("declare queue %s: %w", name, err)
		}
	}
	if err := ch.ExchangeDeclare("crash.delay", "x-delayed-message", true, false, false, false, amqp.Table{"x-delayed-type": "fanout"}); err != nil {
		return fmt.Errorf("declare exchange crash.delay: %w", err)
	}
	if err := ch.ExchangeDeclare("crash.tx", "fanout", true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange crash.tx: %w", err)
	}
	with := arguments()
	for _, f := range flows() {
		for _, e := range f.ends {
			if _, err := ch.QueueDeclare(e.queue, true, false, false, false, with[e.queue]); err != nil {
				return fmt.Errorf("declare queue %s: %w", e.queue, err)
			}
		}
	}
	for queue, exchange := range map[string]string{"crash.late": "crash.delay", "crash.in": "crash.tx", "crash.copy": "crash.tx"} {
		if err := ch.QueueBind(queue, "", exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s: %w", queue, err)
		}
	}
	return nil
}

// startFlows lets the publishers of the flows go, and who takes messages on their way.
func (l *load) startFlows(ctx context.Context, h *harness) error {
	for _, m := range h.flows {
		ch, err := l.channel(h.broker.AMQP)
		if err != nil {
			return err
		}
		rng := h.fork()
		switch m.name {
		case "tx":
			if err := l.startTransactions(ctx, h, m, ch); err != nil {
				return err
			}
			continue
		case "reject":
			if err := l.startRejecting(h, m); err != nil {
				return err
			}
		}
		if err := ch.Confirm(false); err != nil {
			return fmt.Errorf("confirm mode: %w", err)
		}
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, flowMax))
		l.wg.Go(func() { publishFlow(ctx, ch, confirms, m, rng) })
	}
	return nil
}

// publishFlow sends bursts and waits for their confirms until the broker dies.
func publishFlow(ctx context.Context, ch *amqp.Channel, confirms <-chan amqp.Confirmation, m *flowModel, rng *rand.Rand) {
	for sent := 0; sent < flowMax; {
		var numbers []int
		for range 1 + rng.IntN(burst/2) {
			number, p := m.next(rng, unknown)
			if err := ch.Publish(m.exchange, m.key, false, false, p); err != nil {
				return
			}
			numbers = append(numbers, number)
		}
		sent += len(numbers)
		for _, n := range numbers {
			c, open := <-confirms
			switch {
			case !open:
				return
			case c.Ack:
				m.tell(confirmed, n)
			default:
				m.tell(absent, n)
			}
		}
		if m.name == "refuse" || m.name == "levels" {
			if !takeSome(ch, m, rng.IntN(12)) {
				return
			}
		}
		if !pause(ctx, time.Duration(rng.IntN(8))*time.Millisecond) {
			return
		}
	}
}

// next is the flow's next message.
func (m *flowModel) next(rng *rand.Rand, f fate) (number int, p amqp.Publishing) {
	level, due := 0, int64(0)
	p = amqp.Publishing{DeliveryMode: amqp.Persistent}
	switch m.name {
	case "levels":
		level = rng.IntN(flowLevels)
		p.Priority = uint8(level)
	case "delay":
		level = rng.IntN(flowLevels)
		delay := []int{0, 5, 40, 250}[level]
		p.Headers = amqp.Table{"x-delay": int32(delay)}
		due = nowMs() + int64(delay)
	}
	number = m.send(level, due, f)
	p.Body = body(0, number, rng.IntN(500))
	return number, p
}

// takeSome gets and acks messages of the flow's queue.
func takeSome(ch *amqp.Channel, m *flowModel, n int) bool {
	for range n {
		d, ok, err := ch.Get(m.key, false)
		if err != nil {
			return false
		}
		if !ok {
			return true
		}
		id, ok := parseBody(d.Body)
		if !ok {
			m.bad("queue %s delivered a body of %d bytes", m.key, len(d.Body))
			return false
		}
		if !m.deliver(0, id.number, d.Redelivered, nowMs()) || d.Ack(false) != nil {
			return false
		}
	}
	return true
}

// startRejecting has a consumer reject most of what it gets, and ack the rest.
func (l *load) startRejecting(h *harness, m *flowModel) error {
	ch, err := l.channel(h.broker.AMQP)
	if err != nil {
		return err
	}
	deliveries, err := l.consumeFlow(ch, m.key)
	if err != nil {
		return err
	}
	rng := h.fork()
	l.wg.Go(func() {
		for d := range deliveries {
			id, ok := parseBody(d.Body)
			if !ok || !m.take(id.number) {
				m.bad("queue %s delivered a body of %d bytes", m.key, len(d.Body))
				return
			}
			var err error
			switch n := rng.IntN(20); {
			case n == 0: // never settled
			case n < 5:
				m.ack(id.number)
				err = d.Ack(false)
			case n < 8:
				err = d.Nack(true, false)
			default:
				err = d.Reject(false)
			}
			if err != nil {
				return
			}
		}
	})
	return nil
}

func (l *load) consumeFlow(ch *amqp.Channel, queue string) (<-chan amqp.Delivery, error) {
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, err
	}
	return ch.Consume(queue, "", false, false, false, false, nil)
}

// startTransactions lets one publish in transactions, and another move messages on in some.
func (l *load) startTransactions(ctx context.Context, h *harness, m *flowModel, ch *amqp.Channel) error {
	if err := ch.Tx(); err != nil {
		return fmt.Errorf("tx mode: %w", err)
	}
	rng := h.fork()
	l.wg.Go(func() { publishTransactions(ctx, ch, m, rng) })
	move, err := l.channel(h.broker.AMQP)
	if err != nil {
		return err
	}
	if err := move.Tx(); err != nil {
		return fmt.Errorf("tx mode: %w", err)
	}
	deliveries, err := l.consumeFlow(move, "crash.in")
	if err != nil {
		return err
	}
	rng = h.fork()
	l.wg.Go(func() { moveOn(move, deliveries, m, rng) })
	return nil
}

// publishTransactions commits most of what it publishes, and rolls the rest back.
func publishTransactions(ctx context.Context, ch *amqp.Channel, m *flowModel, rng *rand.Rand) {
	for sent := 0; sent < flowMax; {
		m.begin()
		var numbers []int
		for range 1 + rng.IntN(20) {
			number, p := m.next(rng, absent)
			if err := ch.Publish(m.exchange, m.key, false, false, p); err != nil {
				return
			}
			numbers = append(numbers, number)
		}
		sent += len(numbers)
		if rng.IntN(5) == 0 {
			if ch.TxRollback() != nil {
				return
			}
		} else {
			m.tell(unknown, numbers...)
			if ch.TxCommit() != nil {
				return
			}
			m.tell(confirmed, numbers...)
		}
		if !pause(ctx, time.Duration(rng.IntN(8))*time.Millisecond) {
			return
		}
	}
}

// moveOn takes messages of one queue to another: copies and acks are one transaction.
func moveOn(ch *amqp.Channel, deliveries <-chan amqp.Delivery, m *flowModel, rng *rand.Rand) {
	var numbers []int
	next := 1 + rng.IntN(prefetch/2)
	for d := range deliveries {
		id, ok := parseBody(d.Body)
		if !ok || !m.take(id.number) {
			m.bad("queue crash.in delivered a body of %d bytes", len(d.Body))
			return
		}
		err := ch.Publish("", "crash.out", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: d.Body})
		if err != nil {
			return
		}
		numbers = append(numbers, id.number)
		if len(numbers) < next {
			continue
		}
		if d.Ack(true) != nil || ch.TxCommit() != nil {
			return
		}
		m.move(numbers)
		numbers, next = numbers[:0], 1+rng.IntN(prefetch/2)
	}
}

// drainFlows reads the queues of all flows until nothing is missing and they are empty.
func (h *harness) drainFlows(ctx context.Context) error {
	for _, m := range h.flows {
		if err := h.drainFlow(ctx, m); err != nil {
			return err
		}
		if err := m.drained(); err != nil {
			return err
		}
	}
	return nil
}

func (h *harness) drainFlow(ctx context.Context, m *flowModel) error {
	c, ch, err := openChannel(h.broker.AMQP)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	for until := time.Now().Add(amqpDeadline); ; {
		left := 0
		for _, q := range m.waits {
			state, err := ch.QueueDeclarePassive(q, true, false, false, false, nil)
			if err != nil {
				return err
			}
			left += state.Messages
		}
		for at := range m.ends {
			n, err := h.drainEnd(ctx, ch, m, at)
			if err != nil {
				return fmt.Errorf("drain %s: %w", m.ends[at].queue, err)
			}
			left += n
		}
		missing := m.missing()
		switch {
		case left == 0 && missing == nil:
			return nil
		case time.Now().After(until) && missing != nil:
			return missing
		case time.Now().After(until):
			return fmt.Errorf("flow %s: messages go on coming", m.name)
		}
		if !pause(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// drainEnd reads one queue empty and says how many messages it had.
func (h *harness) drainEnd(ctx context.Context, ch *amqp.Channel, m *flowModel, at int) (int, error) {
	e := m.ends[at]
	state, err := ch.QueueDeclarePassive(e.queue, true, false, false, false, nil)
	if err != nil || state.Messages == 0 {
		return 0, err
	}
	if at == 0 && m.limit > 0 && state.Messages > m.limit {
		return 0, fmt.Errorf("%d messages are ready, at most %d should be", state.Messages, m.limit)
	}
	deliveries, err := ch.Consume(e.queue, e.queue, false, false, false, false, nil)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, amqpDeadline)
	defer cancel()
	level := uint8(flowLevels)
	for n := range state.Messages {
		select {
		case d, open := <-deliveries:
			if !open {
				return 0, fmt.Errorf("the channel was closed with %d messages left", state.Messages-n)
			}
			if m.name == "levels" && d.Priority > level {
				return 0, fmt.Errorf("a message of priority %d came after one of %d", d.Priority, level)
			}
			level = d.Priority
			if err := m.found(at, &d); err != nil {
				return 0, err
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d messages that the broker counts never came", state.Messages-n, state.Messages)
		}
	}
	if err := ch.Cancel(e.queue, false); err != nil {
		return 0, err
	}
	n := state.Messages
	for d := range deliveries { // which came meanwhile
		if err := m.found(at, &d); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// found checks and acks a message of an end.
func (m *flowModel) found(at int, d *amqp.Delivery) error {
	e := &m.ends[at]
	id, ok := parseBody(d.Body)
	if !ok {
		return fmt.Errorf("body of %d bytes", len(d.Body))
	}
	if e.died != "" {
		if err := checkDeath(d.Headers, m.key, e.died); err != nil {
			return fmt.Errorf("message %d: %w", id.number, err)
		}
	}
	if !m.deliver(at, id.number, d.Redelivered, nowMs()) {
		return m.violation()
	}
	return d.Ack(false)
}
