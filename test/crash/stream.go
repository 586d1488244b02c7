package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// queueStream is a stream with one publisher and one reader, who goes on in each life at the
// offset behind the last one that came.
const queueStream = "crash.stream"

// streamModel knows what must hold of the stream: messages stand at the offsets 0, 1, 2 … in the
// order in which they were sent, those that were confirmed all, and what was read once stands
// where it was. Its methods may be called from any goroutine; the first violation is kept.
type streamModel struct {
	mu     sync.Mutex
	fates  []fate // of the messages, by number
	at     []int  // the number at each offset, as far as it was read
	wrong  error
	resume int // offsets at which a life's first delivery went on
}

func (m *streamModel) fail(format string, args ...any) {
	if m.wrong == nil {
		m.wrong = fmt.Errorf("stream: "+format, args...)
	}
}

func (m *streamModel) violation() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

func (m *streamModel) send() (number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fates = append(m.fates, unknown)
	return len(m.fates) - 1
}

func (m *streamModel) confirm(number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fates[number] = confirmed
}

// next is where the reader goes on.
func (m *streamModel) next() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.at)
}

// deliver checks what came to a reader who wants an offset next.
func (m *streamModel) deliver(want int, d *amqp.Delivery) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := parseBody(d.Body)
	offset, isOffset := d.Headers["x-stream-offset"].(int64)
	switch {
	case !ok || !isOffset:
		m.fail("a delivery of %d bytes with the headers %v", len(d.Body), d.Headers)
	case int(offset) != want:
		m.fail("offset %d came where %d is next", offset, want)
	case id.number >= len(m.fates):
		m.fail("message %d was never sent", id.number)
	case want < len(m.at):
		if m.at[want] != id.number {
			m.fail("message %d stands at offset %d, where %d stood", id.number, want, m.at[want])
		}
	case want > 0 && m.at[want-1] >= id.number:
		m.fail("message %d stands at offset %d, behind message %d", id.number, want, m.at[want-1])
	default:
		m.at = append(m.at, id.number)
	}
	return m.wrong == nil
}

// whole checks that of what was sent before nothing is missing that was confirmed, when all of
// the stream was read.
func (m *streamModel) whole() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := make([]bool, len(m.fates))
	for _, n := range m.at {
		there[n] = true
	}
	for n, f := range m.fates {
		if f == confirmed && !there[n] {
			m.fail("message %d was confirmed, and is not there", n)
			break
		}
	}
	return m.wrong
}

func (m *streamModel) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("a stream of %d messages, gone on with %d times", len(m.at), m.resume)
}

func declareStream(ch *amqp.Channel) error {
	if _, err := ch.QueueDeclare(queueXMPP, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare queue %s: %w", queueXMPP, err)
	}
	if _, err := ch.QueueDeclare(queueStream, true, false, false, false, amqp.Table{"x-queue-type": "stream"}); err != nil {
		return fmt.Errorf("declare queue %s: %w", queueStream, err)
	}
	return nil
}

// startStream lets the publisher and the reader go.
func (l *load) startStream(ctx context.Context, h *harness) error {
	in, err := l.channel(h.broker.AMQP)
	if err != nil {
		return err
	}
	if err := in.Confirm(false); err != nil {
		return fmt.Errorf("confirm mode: %w", err)
	}
	out, err := l.channel(h.broker.AMQP)
	if err != nil {
		return err
	}
	m, rng := h.stream, h.fork()
	at := m.next()
	deliveries, err := readStream(out, at)
	if err != nil {
		return err
	}
	l.wg.Go(func() { publishStream(ctx, in, m, rng) })
	l.wg.Go(func() {
		first := at
		for d := range deliveries {
			if !m.deliver(at, &d) || d.Ack(false) != nil {
				return
			}
			if at == first && first > 0 {
				m.mu.Lock()
				m.resume++
				m.mu.Unlock()
			}
			at++
		}
	})
	return nil
}

func readStream(ch *amqp.Channel, from int) (<-chan amqp.Delivery, error) {
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, err
	}
	deliveries, err := ch.Consume(queueStream, "", false, false, false, false, amqp.Table{"x-stream-offset": int64(from)})
	if err != nil {
		return nil, fmt.Errorf("consume %s: %w", queueStream, err)
	}
	return deliveries, nil
}

// publishStream sends bursts and waits for their confirms until the broker dies.
func publishStream(ctx context.Context, ch *amqp.Channel, m *streamModel, rng *rand.Rand) {
	for sent := 0; sent < flowMax; {
		var numbers []int
		var confirms []*amqp.DeferredConfirmation
		for range 1 + rng.IntN(burst/2) {
			number := m.send()
			c, err := ch.PublishWithDeferredConfirm("", queueStream, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(0, number, rng.IntN(500))})
			if err != nil {
				return
			}
			numbers, confirms = append(numbers, number), append(confirms, c)
		}
		sent += len(numbers)
		for i, c := range confirms {
			if ok, err := c.WaitContext(ctx); err != nil || !ok {
				return
			}
			m.confirm(numbers[i])
		}
		if !pause(ctx, time.Duration(rng.IntN(8))*time.Millisecond) {
			return
		}
	}
}

// drainStream reads the whole stream, and checks that nothing is missing.
func (h *harness) drainStream(ctx context.Context) error {
	c, ch, err := openChannel(h.broker.AMQP)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	state, err := ch.QueueDeclarePassive(queueStream, true, false, false, false, nil)
	if err != nil {
		return err
	}
	deliveries, err := readStream(ch, 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, amqpDeadline)
	defer cancel()
	for at := range state.Messages {
		select {
		case d, open := <-deliveries:
			if !open {
				return fmt.Errorf("stream: the channel was closed at offset %d of %d", at, state.Messages)
			}
			if !h.stream.deliver(at, &d) {
				return h.stream.violation()
			}
			if err := d.Ack(false); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("stream: %d of %d messages that the broker counts never came", state.Messages-at, state.Messages)
		}
	}
	return h.stream.whole()
}
