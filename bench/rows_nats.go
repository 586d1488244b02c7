package bench

import (
	"context"
	"fmt"

	"github.com/leveret-mq/leveret/bench/natsload"
)

// natsRows do to a JetStream stream what the AMQP rows of the same workloads do to a queue.
func natsRows() []row {
	var out []row
	add := func(name, workload, about string, short bool, run func(context.Context, *running) error) {
		out = append(out, row{name: name, about: about, protocol: jetStream, run: run, workload: workload, short: short})
	}
	confirmed := natsload.Load{Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
	for _, s := range sizes {
		l := confirmed
		l.BodyBytes = s.bytes
		wide := l
		wide.Window = wideWindow
		add("nats-ingest-"+s.name, "ingest", "publish, acknowledged in a window of 5,000, no consumer", s.short("1k"),
			func(ctx context.Context, x *running) error { return natsPublish(ctx, x, wide) })
		name := "nats-" + s.name + "-confirm"
		if s.bytes == 12 {
			name += "-multi" // as its AMQP sibling is called
		}
		add(name, "confirm", "publish, acknowledged in a window of 1,000, and consume, 1,000 pulled ahead, acks of 100", s.short("1k"),
			func(ctx context.Context, x *running) error { return natsPublishAndConsume(ctx, x, l) })
		add("nats-drain-"+s.name, "drain", "consume a backlog, 1,000 pulled ahead, acks of 100", s.short("1k"),
			func(ctx context.Context, x *running) error { return natsDrain(ctx, x, wide) })
	}
	add("nats-sync-1k", "sync", "one publisher that waits for each acknowledgement; latency is the acknowledgement's", true,
		func(ctx context.Context, x *running) error {
			return natsPublish(ctx, x, natsload.Load{BodyBytes: 1024, Window: 1, Prefetch: ackPrefetch, AckEvery: ackBatch})
		})
	add("nats-e2e-5k", "paced", "5,000 messages a second of 1 KiB, each published when due, an ack a message", true,
		func(ctx context.Context, x *running) error {
			return natsPublishAndConsume(ctx, x, natsload.Load{BodyBytes: 1024, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: 1, Rate: pacedRate})
		})
	return out
}

// prepareNATS completes a load for this run and opens it.
func (x *running) prepareNATS(ctx context.Context, l *natsload.Load) (*natsload.Run, error) {
	l.Address, l.Name = x.nats, x.name
	l.Messages, l.For, l.SkipLatencies = x.extent(l.Rate, x.messages(l.BodyBytes))
	return l.Open(ctx)
}

// natsPublish leaves a backlog, and reads it back without being measured.
func natsPublish(ctx context.Context, x *running, l natsload.Load) error {
	run, err := x.prepareNATS(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	err = x.measured(ctx, func() (work, error) {
		r, err := run.Publish(ctx)
		return work{messages: r.Published, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Confirm, latencyName: "publish to acknowledgement"}, err
	})
	if err != nil {
		return err
	}
	if err := run.CheckHolds(ctx); err != nil {
		return err
	}
	if err := run.Attach(ctx); err != nil {
		return err
	}
	if _, err := run.Drain(ctx); err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	return run.CheckSettled(ctx)
}

func natsPublishAndConsume(ctx context.Context, x *running, l natsload.Load) error {
	run, err := x.prepareNATS(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Attach(ctx); err != nil {
		return err
	}
	err = x.measured(ctx, func() (work, error) {
		r, err := run.PublishAndConsume(ctx)
		w := work{messages: r.Delivered, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "publish to delivery", confirm: r.Confirm, late: r.Late}
		if l.Rate > 0 {
			w.latencyName = "due to delivery"
		}
		return w, err
	})
	if err != nil {
		return err
	}
	return run.CheckSettled(ctx)
}

func natsDrain(ctx context.Context, x *running, l natsload.Load) error {
	run, err := x.prepareNATS(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	if _, err := run.Publish(ctx); err != nil {
		return fmt.Errorf("fill the stream: %w", err)
	}
	if err := run.Attach(ctx); err != nil {
		return err
	}
	err = x.measured(ctx, func() (work, error) {
		r, err := run.Drain(ctx)
		return work{messages: r.Delivered, bodyBytes: l.BodyBytes, elapsed: r.Elapsed}, err
	})
	if err != nil {
		return err
	}
	return run.CheckSettled(ctx)
}

// warmUpNATS puts some load on a server, which does not need it, as on the others.
func warmUpNATS(ctx context.Context, x *running) error {
	l := natsload.Load{BodyBytes: 256, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
	run, err := x.prepareNATS(ctx, &l)
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
