package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// body is a message that can be recognised whole: queue, number, a checksum and filling.
func body(queue string, number int, filling []byte) []byte {
	b := fmt.Appendf(nil, "%s %d ", queue, number)
	b = append(b, filling...)
	return fmt.Appendf(b, " %08x", crc32.ChecksumIEEE(b))
}

// parse reads what body wrote.
func parse(b []byte) (queue string, number int, err error) {
	if len(b) < 9 || fmt.Sprintf(" %08x", crc32.ChecksumIEEE(b[:len(b)-9])) != string(b[len(b)-9:]) {
		return "", 0, fmt.Errorf("a message of %d bytes is not what was published", len(b))
	}
	_, err = fmt.Sscan(string(b), &queue, &number)
	return queue, number, err
}

func filling(rng *rand.Rand, most int) []byte {
	b := make([]byte, rng.IntN(most))
	for i := range b {
		b[i] = "abcdefghijklmnop"[rng.IntN(16)]
	}
	return b
}

// dial connects as the default user.
func dial(addr string) (*amqp.Connection, *amqp.Channel, error) {
	c, err := amqp.DialConfig("amqp://guest:guest@"+addr+"/", amqp.Config{Heartbeat: 30 * time.Second, Locale: "en_US"})
	if err != nil {
		return nil, nil, err
	}
	ch, err := c.Channel()
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, ch, nil
}

func declare(ch *amqp.Channel, queue string) error {
	_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
	return err
}

// fill publishes n messages to each queue, numbered from first, and waits until all are confirmed.
func fill(ctx context.Context, addr string, rng *rand.Rand, queues []string, first, n, most int) error {
	c, ch, err := dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	var waits []*amqp.DeferredConfirmation
	for _, q := range queues {
		if err := declare(ch, q); err != nil {
			return err
		}
	}
	for i := first; i < first+n; i++ {
		for _, q := range queues {
			d, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", q, false, false,
				amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(q, i, filling(rng, most))})
			if err != nil {
				return err
			}
			waits = append(waits, d)
		}
	}
	for _, d := range waits {
		if ok, err := d.WaitContext(ctx); err != nil || !ok {
			return fmt.Errorf("a publish was not confirmed: %v", err)
		}
	}
	return nil
}

// drain takes everything out of a queue and returns the numbers of its messages. told is
// the error with which the broker stopped it, if it did: a damaged queue may say so.
func drain(addr, queue string) (numbers []int, told, err error) {
	c, ch, err := dial(addr)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = c.Close() }()
	for {
		d, ok, err := ch.Get(queue, false)
		var refused *amqp.Error
		if errors.As(err, &refused) {
			return numbers, refused, nil
		}
		if err != nil || !ok {
			return numbers, nil, err
		}
		q, n, err := parse(d.Body)
		if err != nil {
			return numbers, nil, fmt.Errorf("queue %s: %w", queue, err)
		}
		if q != queue || len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			return numbers, nil, fmt.Errorf("queue %s: message %d of %s after %v", queue, n, q, numbers[max(0, len(numbers)-3):])
		}
		numbers = append(numbers, n)
		if err := d.Ack(false); err != nil {
			return numbers, nil, err
		}
	}
}
