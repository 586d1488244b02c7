package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// patience bounds every wait for the broker.
const patience = 5 * time.Minute

// unconfirmed is how many publishes may be on their way.
const unconfirmed = 10_000

var body = make([]byte, 100)

// open connects, and opens channels.
func (w *weighing) open(channels int) (c *amqp.Connection, list []*amqp.Channel, err error) {
	if c, err = amqp.Dial("amqp://guest:guest@" + w.broker.AMQP + "/"); err != nil {
		return nil, nil, err
	}
	for range channels {
		ch, err := c.Channel()
		if err != nil {
			return nil, nil, err
		}
		list = append(list, ch)
	}
	return c, list, nil
}

// publish publishes n messages and waits for their confirms.
func publish(ch *amqp.Channel, n int, exchange, key string, headers amqp.Table) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, unconfirmed))
	await := func() error {
		if c, open := <-confirms; !open || !c.Ack {
			return fmt.Errorf("a publish to %q was not confirmed", exchange+key)
		}
		return nil
	}
	for i := range n {
		if err := ch.Publish(exchange, key, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Headers: headers, Body: body}); err != nil {
			return err
		}
		if i >= unconfirmed {
			if err := await(); err != nil {
				return err
			}
		}
	}
	for range min(n, unconfirmed) {
		if err := await(); err != nil {
			return err
		}
	}
	return nil
}

// awaitReady waits until a queue has n messages.
func awaitReady(ch *amqp.Channel, queue string, n int) error {
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		switch {
		case err != nil:
			return err
		case q.Messages == n:
			return nil
		case time.Now().After(until):
			return fmt.Errorf("queue %s has %d messages, not %d", queue, q.Messages, n)
		}
	}
}

func declare(ch *amqp.Channel, queue string, args amqp.Table) error {
	_, err := ch.QueueDeclare(queue, true, false, false, false, args)
	return err
}

func delayed(w *weighing) (string, error) {
	c, ch, err := w.open(1)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := ch[0].ExchangeDeclare("later", "x-delayed-message", true, false, false, false, amqp.Table{"x-delayed-type": "fanout"}); err != nil {
		return "", err
	}
	if err := declare(ch[0], "q", nil); err != nil {
		return "", err
	}
	if err := ch[0].QueueBind("q", "", "later", false, nil); err != nil {
		return "", err
	}
	if err := publish(ch[0], w.n, "later", "", amqp.Table{"x-delay": int64(24 * time.Hour / time.Millisecond)}); err != nil {
		return "", err
	}
	return "they wait", awaitReady(ch[0], "q", 0)
}

func dead(w *weighing) (string, error) {
	c, ch, err := w.open(2)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := declare(ch[0], "dead", nil); err != nil {
		return "", err
	}
	if err := declare(ch[0], "q", amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}); err != nil {
		return "", err
	}
	if err := publish(ch[0], w.n, "", "q", nil); err != nil {
		return "", err
	}
	deliveries, err := ch[1].Consume("q", "", false, false, false, false, nil)
	if err != nil {
		return "", err
	}
	for i := range w.n {
		d, open := <-deliveries
		if !open {
			return "", fmt.Errorf("%d of %d came", i, w.n)
		}
		if err := d.Reject(false); err != nil {
			return "", err
		}
	}
	return "all are in their dead-letter queue", awaitReady(ch[0], "dead", w.n)
}

// window is how many messages the consumer that acks in a random order holds.
const window = 10_000

func acks(w *weighing) (string, error) {
	c, ch, err := w.open(2)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := declare(ch[0], "q", nil); err != nil {
		return "", err
	}
	if err := publish(ch[0], w.n, "", "q", nil); err != nil {
		return "", err
	}
	if err := ch[1].Qos(window, 0, false); err != nil {
		return "", err
	}
	deliveries, err := ch[1].Consume("q", "", false, false, false, false, nil)
	if err != nil {
		return "", err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var held []uint64
	refill := true // up to the window: not one by one, or each would wait for its answer
	var took [2]time.Duration
	began := time.Now()
	for acked := range w.n {
		for n := acked + len(held); n < w.n && (len(held) < window/2 || refill && len(held) < window); n++ {
			refill = len(held) < window-1
			d, open := <-deliveries
			if !open {
				return "", fmt.Errorf("%d of %d came", n, w.n)
			}
			held = append(held, d.DeliveryTag)
		}
		i := rng.IntN(len(held))
		if err := ch[1].Ack(held[i], false); err != nil {
			return "", err
		}
		held[i] = held[len(held)-1]
		held = held[:len(held)-1]
		if acked == w.n/2 {
			took[0] = time.Since(began)
		}
	}
	took[1] = time.Since(began) - took[0]
	if err := ch[1].Close(); err != nil { // behind all acks, and gives back what is not acked
		return "", err
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(w.n/2) }
	return fmt.Sprintf("a message took %.0f ns in the first half, %.0f ns in the second, with the client's part", each(took[0]), each(took[1])), awaitReady(ch[0], "q", 0)
}

// What the files of a queue may take of which one message is held: while all others pass
// through, and when they have.
const (
	stragglerDisk = 512 << 20
	stragglerRest = 160 << 20 // what is written to, made ahead of time and spare, and little more
	// stragglerSegments is how many segments may be left: the broker thins more than eight, and
	// merges eight at a time.
	stragglerSegments = 24
)

func straggler(w *weighing) (string, error) {
	c, ch, err := w.open(2)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := declare(ch[0], "q", nil); err != nil {
		return "", err
	}
	if err := ch[1].Qos(2000, 0, false); err != nil {
		return "", err
	}
	deliveries, err := ch[1].Consume("q", "", false, false, false, false, nil)
	if err != nil {
		return "", err
	}
	failed := make(chan error, 1)
	go func() {
		for i := range w.n {
			d, open := <-deliveries
			if !open {
				failed <- fmt.Errorf("%d of %d came", i, w.n)
				return
			}
			if i == 0 {
				continue // the straggler
			}
			if err := d.Ack(false); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	if err := publish(ch[0], w.n, "", "q", nil); err != nil {
		return "", err
	}
	if err := <-failed; err != nil {
		return "", err
	}
	most, err := diskBytes(w.broker.DataDir)
	if err != nil || most > stragglerDisk {
		return "", errors.Join(fmt.Errorf("the files take %.1f MB", mb(most)), err)
	}
	rest := most
	for until := time.Now().Add(time.Minute); rest > stragglerRest && time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if rest, err = diskBytes(w.broker.DataDir); err != nil {
			return "", err
		}
	}
	if rest > stragglerRest {
		return "", fmt.Errorf("the files take %.1f MB for one message", mb(rest))
	}
	segments, err := countSegments(w.broker.DataDir)
	for until := time.Now().Add(time.Minute); err == nil && segments > stragglerSegments && time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		segments, err = countSegments(w.broker.DataDir)
	}
	if err == nil && segments > stragglerSegments {
		err = fmt.Errorf("%d segments are left for one message", segments)
	}
	if err != nil {
		return "", err
	}
	if err := ch[1].Close(); err != nil { // gives the straggler back
		return "", err
	}
	return fmt.Sprintf("%.0f MB of bodies went through, files of %.1f MB behind the load, of %.1f MB in %d segments a while later",
		mb(int64(w.n*len(body))), mb(most), mb(rest), segments), awaitReady(ch[0], "q", 1)
}

// countSegments is how many segment files there are in a data directory.
func countSegments(dir string) (n int, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "queues", "*", "*", "*.log"))
	return len(names), err
}
