package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// patience bounds one round trip of the witness: what others do may slow it, as a busy machine does, not stop it.
const patience = 20 * time.Second

// witness is a well-behaved client of each protocol, which must get through whatever
// others do: it publishes with confirms and reads back, one message at a time.
type witness struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	trips   int
	slowest time.Duration
	err     error
}

// watch begins with its connections open; they are opened before the attack, and anew in
// the middle of it.
func watch(ctx context.Context, t *trial) *witness {
	ctx, cancel := context.WithCancel(ctx)
	w := &witness{cancel: cancel}
	w.wg.Go(func() { w.repeat(ctx, "AMQP", func() error { return w.amqp(ctx, t.broker.AMQP) }) })
	w.wg.Go(func() { w.repeat(ctx, "Kafka", func() error { return w.kafka(ctx, t.broker.Kafka) }) })
	return w
}

// repeat runs connections one after the other.
func (w *witness) repeat(ctx context.Context, protocol string, life func() error) {
	for ctx.Err() == nil {
		if err := life(); err != nil && ctx.Err() == nil {
			w.mu.Lock()
			if w.err == nil {
				w.err = fmt.Errorf("the well-behaved %s client did not get through: %w", protocol, err)
			}
			w.mu.Unlock()
			return
		}
	}
}

func (w *witness) note(began time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trips++
	w.slowest = max(w.slowest, time.Since(began))
}

// tripsALife is after how many round trips a connection is closed and opened anew.
const tripsALife = 50

func (w *witness) amqp(ctx context.Context, addr string) error {
	c, ch, err := dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	const queue = "torture.witness"
	if err := declare(ch, queue); err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	deliveries, err := ch.ConsumeWithContext(ctx, queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for n := range tripsALife {
		began := time.Now()
		trip, cancel := context.WithTimeout(ctx, patience)
		d, err := ch.PublishWithDeferredConfirmWithContext(trip, "", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(queue, n, nil)})
		if err == nil {
			var ok bool
			if ok, err = d.WaitContext(trip); err == nil && !ok {
				err = fmt.Errorf("message %d was refused", n)
			}
		}
		if err == nil {
			select {
			case got, ok := <-deliveries:
				if !ok {
					err = fmt.Errorf("the consumer was closed before message %d came", n)
				} else {
					err = got.Ack(false)
				}
			case <-trip.Done():
				err = fmt.Errorf("message %d did not come back: %w", n, context.Cause(trip))
			}
		}
		cancel()
		if err != nil {
			return err
		}
		w.note(began)
	}
	return nil
}

func (w *witness) kafka(ctx context.Context, addr string) error {
	const topic = "torture.witness.topic"
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer c.Close()
	for n := range tripsALife {
		began := time.Now()
		trip, cancel := context.WithTimeout(ctx, patience)
		stored, err := c.ProduceSync(trip, &kgo.Record{Topic: topic, Value: body(topic, n, nil)}).First()
		if n == 0 && err == nil { // a consumer that looked for the end itself could find it behind what is produced meanwhile
			c.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(stored.Offset)}})
		}
		if err == nil {
			f := c.PollFetches(trip)
			err = f.Err()
		}
		cancel()
		if err != nil {
			return err
		}
		w.note(began)
	}
	return nil
}

// end stops the witness, once it has got through, and returns what it saw.
func (w *witness) end() (trips int, slowest time.Duration, err error) {
	for deadline := time.Now().Add(patience); !w.decided(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			err = errors.New("no well-behaved client got through")
			break
		}
	}
	w.cancel()
	w.wg.Wait()
	return w.trips, w.slowest, errors.Join(w.err, err)
}

// decided says whether the witness has got through, or has given up.
func (w *witness) decided() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trips > 0 || w.err != nil
}
