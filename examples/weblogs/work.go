package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Workers take error lines one by one and ack each when it has been handled.
type Workers struct {
	Done        atomic.Uint64 // acked
	Redelivered atomic.Uint64

	mu    sync.Mutex // guards the rest
	Tally Tally
	Share []uint64          // by worker
	By    map[string]uint64 // error lines by routing key
	err   error

	enough chan uint64 // how many there are, told when shipping is over
	wait   sync.WaitGroup
	conns  []*amqp.Connection
	bar    *demo.Bar
}

// workerPrefetch is how many unacked lines a worker may hold.
const workerPrefetch = 50

// startWorkers connects n workers, each over its own connection as programs of
// their own would.
func startWorkers(b *demo.Broker, n int, bar *demo.Bar) (*Workers, error) {
	w := &Workers{Share: make([]uint64, n), By: map[string]uint64{}, bar: bar, enough: make(chan uint64, 1)}
	for i := range n {
		conn, err := b.Dial()
		if err != nil {
			w.close()
			return nil, err
		}
		w.conns = append(w.conns, conn)
		ch, err := conn.Channel()
		if err != nil {
			w.close()
			return nil, err
		}
		if err := ch.Qos(workerPrefetch, 0, false); err != nil {
			w.close()
			return nil, fmt.Errorf("prefetch: %w", err)
		}
		lines, err := ch.Consume(errorQueue, fmt.Sprintf("worker-%d", i+1), false, false, false, false, nil)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("consume %s: %w", errorQueue, err)
		}
		w.wait.Go(func() { w.work(i, lines) })
	}
	return w, nil
}

func (w *Workers) work(worker int, lines <-chan amqp.Delivery) {
	for d := range lines {
		// The work: what a pager or a ticket system would be told.
		w.mu.Lock()
		w.Tally.add(d.Body)
		w.By[d.RoutingKey]++
		w.Share[worker]++
		w.mu.Unlock()
		if d.Redelivered {
			w.Redelivered.Add(1)
		}
		if err := d.Ack(false); err != nil {
			w.mu.Lock()
			if w.err == nil {
				w.err = fmt.Errorf("ack: %w", err)
			}
			w.mu.Unlock()
			return
		}
		w.bar.Set(w.Done.Add(1))
	}
}

// finish waits until so many lines were acked, and sends the workers home.
func (w *Workers) finish(ctx context.Context, lines uint64) error {
	w.bar.Total(lines)
	defer w.close()
	err := demo.Until(ctx, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err != nil || w.Done.Load() >= lines
	})
	if err != nil {
		return fmt.Errorf("%d of %d error lines acked: %w", w.Done.Load(), lines, err)
	}
	w.bar.Finish(w.Done.Load())
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Workers) close() {
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.wait.Wait()
}
