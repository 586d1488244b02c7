package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// startWorkers starts n workers, who take one job at a time: what a worker holds in
// advance is work that a more urgent job can't overtake any more, nor another worker take.
func startWorkers(ctx context.Context, b *demo.Broker, n int) (*demo.Consumers, error) {
	return b.Consume(ctx, workQueue, "worker", n, func(p *demo.Publisher, name string) (func(context.Context, amqp.Delivery) error, func()) {
		return func(ctx context.Context, job amqp.Delivery) error { return work(ctx, p, name, job) }, func() {}
	})
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
		return fmt.Errorf("publish what was made: %w", err)
	}
	return job.Ack(false)
}
