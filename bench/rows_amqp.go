package bench

import (
	"context"
	"fmt"

	"github.com/leveret-mq/leveret/bench/amqpload"
)

// What the peers' own figures were taken with: a window of confirms, and acknowledgements
// of a hundred at a time under a prefetch that never runs dry.
const (
	confirmWindow = 1000
	wideWindow    = 5000
	ackPrefetch   = 1000
	ackBatch      = 100
	pacedRate     = 5000
)

func amqpRows() []row {
	load := func(name, about string, l amqpload.Load) row {
		return row{name: name, about: about, protocol: amqp, run: func(ctx context.Context, x *running) error { return publishAndConsume(ctx, x, l) }}
	}
	return []row{
		load("amqp-12b", "publish and consume, automatic acks", amqpload.Load{BodyBytes: 12, AutoAck: true}),
		load("amqp-100b", "publish and consume, automatic acks", amqpload.Load{BodyBytes: 100, AutoAck: true}),
		load("amqp-1k", "publish and consume, automatic acks", amqpload.Load{BodyBytes: 1024, AutoAck: true}),
		load("amqp-12b-confirm", "confirms (window 1,000), prefetch 200, an ack a message",
			amqpload.Load{BodyBytes: 12, Window: confirmWindow, Prefetch: 200, AckEvery: 1}),
		load("amqp-12b-confirm-multi", "confirms (window 1,000), prefetch 1,000, acks of 100",
			amqpload.Load{BodyBytes: 12, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}),
		load("amqp-1k-confirm", "confirms (window 1,000), prefetch 1,000, acks of 100",
			amqpload.Load{BodyBytes: 1024, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}),
		load("amqp-1k-4x4", "the same, 4 publishers to 4 queues with 4 consumers",
			amqpload.Load{BodyBytes: 1024, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch, Publishers: 4, Queues: 4}),
		load("amqp-fanout5-1k", "fanout to 5 queues with 5 consumers, confirms, acks of 100; figures per delivery",
			amqpload.Load{BodyBytes: 1024, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch, Exchange: "x", ExchangeType: "fanout", Queues: 5}),
		load("amqp-fanout10-12b", "fanout to 10 queues with 10 consumers, automatic acks; figures per delivery",
			amqpload.Load{BodyBytes: 12, AutoAck: true, Exchange: "x", ExchangeType: "fanout", Queues: 10}),
		load("amqp-topic1000-1k", "topic exchange with 1,000 further bindings, 64 keys, confirms, acks of 100",
			amqpload.Load{BodyBytes: 1024, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch, Exchange: "x", ExchangeType: "topic", Keys: 64, ExtraBinds: 1000}),
		load("amqp-write-12b", "a system call a message on the publisher's side, automatic acks",
			amqpload.Load{BodyBytes: 12, AutoAck: true, WritePerMessage: true}),
		{name: "amqp-drain-12b", about: "consume a backlog, prefetch 1,000, acks of 100", protocol: amqp, run: func(ctx context.Context, x *running) error { return drainBacklog(ctx, x, 12) }},
		{name: "amqp-drain-1k", about: "consume a backlog, prefetch 1,000, acks of 100", protocol: amqp, run: func(ctx context.Context, x *running) error { return drainBacklog(ctx, x, 1024) }},
		{name: "amqp-sync-1k", about: "one publisher that waits for each confirm; latency is the confirm's", protocol: amqp, run: publishSync},
		load("amqp-e2e-5k", "5,000 messages a second of 1 KiB, each written when due, confirms, an ack a message",
			amqpload.Load{BodyBytes: 1024, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: 1, Rate: pacedRate}),
	}
}

// prepare completes a load for this run and opens it.
func (x *running) prepare(ctx context.Context, l *amqpload.Load) (*amqpload.Run, error) {
	l.Address, l.Name = x.amqp, x.name
	if l.Exchange != "" {
		l.Exchange = x.name
	}
	l.Messages, l.For = x.messages(l.BodyBytes)/int64(max(1, l.Queues)), x.options.time
	if l.Rate > 0 {
		l.For *= 2 // a paced row has few messages, and its tails need some
		l.Messages = min(l.Messages, int64(l.Rate*l.For.Seconds()))
		l.SkipLatencies = l.Messages / 10
	}
	return l.Open(ctx)
}

func publishAndConsume(ctx context.Context, x *running, l amqpload.Load) error {
	run, err := x.prepare(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Attach(ctx); err != nil {
		return err
	}
	err = x.measured(ctx, func() (work, error) {
		r, err := run.PublishAndConsume(ctx)
		return deliveryWork(l, r), err
	})
	if err != nil {
		return err
	}
	return run.CheckEmpty()
}

func deliveryWork(l amqpload.Load, r amqpload.Result) work {
	w := work{messages: r.Delivered, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "publish to delivery", late: r.Late}
	if l.Window > 0 {
		w.confirm = r.Confirm
	}
	if l.Rate > 0 {
		w.latencyName = "due to delivery"
	}
	return w
}

func drainBacklog(ctx context.Context, x *running, bodyBytes int) error {
	l := amqpload.Load{BodyBytes: bodyBytes, Window: wideWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
	run, err := x.prepare(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	filled, err := run.Publish(ctx)
	if err != nil {
		return fmt.Errorf("fill the queue: %w", err)
	}
	if err := run.CheckHolds(filled.Published); err != nil {
		return err
	}
	if err := run.Attach(ctx); err != nil {
		return err
	}
	err = x.measured(ctx, func() (work, error) {
		r, err := run.Drain(ctx)
		return work{messages: r.Delivered, bodyBytes: bodyBytes, elapsed: r.Elapsed}, err
	})
	if err != nil {
		return err
	}
	return run.CheckEmpty()
}

func publishSync(ctx context.Context, x *running) error {
	l := amqpload.Load{BodyBytes: 1024, Window: 1}
	run, err := x.prepare(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	var published int64
	err = x.measured(ctx, func() (work, error) {
		r, err := run.Publish(ctx)
		published = r.Published
		return work{messages: r.Confirmed, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Confirm, latencyName: "publish to confirm"}, err
	})
	if err != nil {
		return err
	}
	return run.CheckHolds(published)
}

// warmUpAMQP puts some load on a broker that compiles as it goes.
func warmUpAMQP(ctx context.Context, x *running) error {
	l := amqpload.Load{BodyBytes: 256, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
	run, err := x.prepare(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Attach(ctx); err != nil {
		return err
	}
	_, err = run.PublishAndConsume(ctx)
	return err
}
