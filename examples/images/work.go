package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Workers take jobs one by one, make the size and publish it.
type Workers struct {
	wait  sync.WaitGroup
	conns []*amqp.Connection
	stop  []func() // ends a consumer

	mu  sync.Mutex // guards err
	err error
}

// startWorkers connects n workers, each over its own connection as programs of
// their own would.
func startWorkers(ctx context.Context, b *demo.Broker, n int) (*Workers, error) {
	w := &Workers{}
	for i := range n {
		conn, err := b.Dial()
		if err != nil {
			w.close()
			return nil, err
		}
		w.conns = append(w.conns, conn)
		p, err := demo.NewPublisher(conn)
		if err != nil {
			w.close()
			return nil, err
		}
		// One at a time: what a worker holds in advance is work that a more urgent job
		// can't overtake any more, nor another worker take.
		if err := p.Qos(1, 0, false); err != nil {
			w.close()
			return nil, fmt.Errorf("prefetch: %w", err)
		}
		name := fmt.Sprintf("worker-%d", i+1)
		jobs, err := p.Consume(workQueue, name, false, false, false, false, nil)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("consume %s: %w", workQueue, err)
		}
		w.stop = append(w.stop, func() { _ = p.Cancel(name, false) })
		w.wait.Go(func() {
			for job := range jobs {
				if err := work(ctx, p, name, job); err != nil {
					w.fail(err)
					return
				}
			}
		})
	}
	return w, nil
}

// work makes one size. The result is on the broker's disk before the job is acked:
// a worker that dies in between leaves the job to another, and nothing is lost.
func work(ctx context.Context, p *demo.Publisher, worker string, job amqp.Delivery) error {
	began := time.Now()
	h := amqp.Table{idHeader: job.Headers[idHeader], nameHeader: job.Headers[nameHeader], workerHeader: worker}
	if queued, ok := job.Headers[queuedHeader].(int64); ok {
		h[waitedHeader] = began.UnixMilli() - queued
	}
	name := strings.TrimPrefix(job.RoutingKey, jobPrefix)
	size, ok := sizeNamed(name)
	if !ok {
		return fmt.Errorf("a job for the size %q, which there is not", name)
	}
	picture, width, height, err := resize(job.Body, size)
	if err != nil {
		h[errorHeader] = err.Error()
	} else {
		h[widthHeader], h[heightHeader] = int32(width), int32(height)
	}
	h[tookHeader] = time.Since(began).Milliseconds()
	if err := p.Send(ctx, exchangeName, donePfx+name, amqp.Publishing{ContentType: "image/jpeg", Headers: h, Body: picture}); err != nil {
		return fmt.Errorf("publish what %s made: %w", worker, err)
	}
	return job.Ack(false)
}

func (w *Workers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *Workers) close() error {
	for _, stop := range w.stop {
		stop()
	}
	w.wait.Wait() // what is in hand is finished, its ack included
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
