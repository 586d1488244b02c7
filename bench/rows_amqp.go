package bench

import (
	"context"
	"fmt"
	"slices"

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

// size is a body size of the matrix.
type size struct {
	name  string
	bytes int
}

var sizes = []size{{"12b", 12}, {"100b", 100}, {"1k", 1024}, {"16k", 16 << 10}}

// short says whether a row of a matrix is in the default selection: those with a size of
// the list are.
func (s size) short(list ...string) bool { return slices.Contains(list, s.name) }

// amqpRows are a matrix of workloads and sizes, and some loads besides. A row whose about
// says nothing of confirms or acks has neither.
func amqpRows() []row {
	var out []row
	add := func(name, workload, about string, short bool, run func(context.Context, *running) error) {
		out = append(out, row{name: name, about: about, protocol: amqp, run: run, workload: workload, short: short})
	}
	load := func(name, workload, about string, short bool, l amqpload.Load) {
		add(name, workload, about, short, func(ctx context.Context, x *running) error { return publishAndConsume(ctx, x, l) })
	}
	confirmed := amqpload.Load{Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
	of := func(l amqpload.Load, s size) amqpload.Load { l.BodyBytes = s.bytes; return l }
	for _, s := range sizes {
		add("amqp-ingest-"+s.name, "ingest", "publish with confirms (window 5,000), no consumer", s.short("1k"),
			func(ctx context.Context, x *running) error { return publishOnly(ctx, x, s.bytes, wideWindow) })
	}
	for _, s := range sizes {
		load("amqp-"+s.name, "auto-ack", "publish and consume, automatic acks", s.short("12b", "100b", "1k"), of(amqpload.Load{AutoAck: true}, s))
	}
	for _, s := range sizes {
		load("amqp-ack-"+s.name, "manual-ack", "publish and consume, prefetch 1,000, an ack a message", s.short("1k"),
			of(amqpload.Load{Prefetch: ackPrefetch, AckEvery: 1}, s))
	}
	load("amqp-12b-confirm", "confirm-ack-each", "confirms (window 1,000), prefetch 200, an ack a message", true,
		amqpload.Load{BodyBytes: 12, Window: confirmWindow, Prefetch: 200, AckEvery: 1})
	for _, s := range sizes {
		name := "amqp-" + s.name + "-confirm"
		if s.bytes == 12 {
			name += "-multi"
		}
		load(name, "confirm", "confirms (window 1,000), prefetch 1,000, acks of 100", s.short("1k"), of(confirmed, s))
	}
	for _, s := range sizes {
		load("amqp-tail-"+s.name, "tail", "publish with confirms (window 1,000), a consumer at the tail with automatic acks", s.short("1k"),
			of(amqpload.Load{Window: confirmWindow, AutoAck: true}, s))
	}
	for _, s := range sizes {
		load("amqp-fanout10-"+s.name, "fan-out", "fanout to 10 queues with 10 consumers, automatic acks; figures per delivery", s.short("12b"),
			of(amqpload.Load{AutoAck: true, Exchange: "x", ExchangeType: "fanout", Queues: 10}, s))
	}
	fanout5 := of(confirmed, size{bytes: 1024})
	fanout5.Exchange, fanout5.ExchangeType, fanout5.Queues = "x", "fanout", 5
	load("amqp-fanout5-1k", "fan-out-confirm", "fanout to 5 queues with 5 consumers, confirms, acks of 100; figures per delivery", false, fanout5)
	for _, s := range sizes {
		l := of(confirmed, s)
		l.Exchange, l.ExchangeType, l.Keys, l.ExtraBinds = "x", "topic", 64, 1000
		load("amqp-topic1000-"+s.name, "topic", "topic exchange with 1,000 further bindings, 64 keys, confirms, acks of 100", s.short("1k"), l)
	}
	for _, s := range sizes {
		l := of(amqpload.Load{AutoAck: true, Exchange: "x", ExchangeType: "topic", Keys: 64, Varied: true}, s)
		load("amqp-varied-"+s.name, "varied", "topic exchange, 64 keys; a type, id, timestamp and two headers that differ from message to message; automatic acks", s.short("100b"), l)
	}
	for _, s := range sizes {
		add("amqp-drain-"+s.name, "drain", "consume a backlog, prefetch 1,000, acks of 100", s.short("12b", "1k"),
			func(ctx context.Context, x *running) error { return drainBacklog(ctx, x, s.bytes) })
	}
	load("amqp-1k-ttl", "ttl", "amqp-1k into a queue with x-message-ttl of ten minutes", false, amqpload.Load{BodyBytes: 1024, AutoAck: true, TTLMs: 600_000})
	load("amqp-1k-limited", "limited", "amqp-1k into a queue with x-max-length of ten million", false, amqpload.Load{BodyBytes: 1024, AutoAck: true, MaxLength: 10_000_000})
	load("amqp-stream-1k", "stream", "amqp-1k into a stream, prefetch 1,000, acks of 100", false,
		amqpload.Load{BodyBytes: 1024, Prefetch: ackPrefetch, AckEvery: ackBatch, Stream: true})
	load("amqp-1k-priorities", "priorities", "amqp-1k into a queue with x-max-priority of 9, ten priorities in turn", false, amqpload.Load{BodyBytes: 1024, AutoAck: true, Priorities: 10})
	for _, s := range []size{sizes[0], sizes[2]} {
		add("amqp-drophead-"+s.name, "drop-head", "publish with confirms (window 5,000) into a queue with x-max-length of 10,000, no consumer", false,
			func(ctx context.Context, x *running) error { return publishOver(ctx, x, s.bytes, 10_000) })
		load("amqp-deadletter-"+s.name, "dead-letter", "publish into a queue where messages expire after 1 ms, consume the dead letters, automatic acks", false,
			of(amqpload.Load{AutoAck: true, DyingMs: 1}, s))
		load("amqp-delayed-"+s.name, "delayed", "publish through an x-delayed-message exchange with a delay of a second, automatic acks; latencies count from the publish", false,
			of(amqpload.Load{AutoAck: true, Exchange: "x", ExchangeType: "topic", DelayMs: 1000}, s))
	}
	many := of(confirmed, size{bytes: 1024})
	many.Publishers, many.Queues = 4, 4
	load("amqp-1k-4x4", "confirm-4x4", "4 publishers to 4 queues with 4 consumers, confirms (window 1,000), acks of 100", false, many)
	load("amqp-write-12b", "write-per-message", "a system call a message on the publisher's side, automatic acks", true,
		amqpload.Load{BodyBytes: 12, AutoAck: true, WritePerMessage: true})
	add("amqp-sync-1k", "sync", "one publisher that waits for each confirm; latency is the confirm's", true,
		func(ctx context.Context, x *running) error { return publishOnly(ctx, x, 1024, 1) })
	for _, s := range sizes {
		name := "amqp-e2e-5k"
		if s.bytes != 1024 {
			name += "-" + s.name
		}
		load(name, "paced", "5,000 messages a second, each written when due, confirms, an ack a message", s.short("1k"),
			amqpload.Load{BodyBytes: s.bytes, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: 1, Rate: pacedRate})
	}
	return out
}

// prepare completes a load for this run and opens it.
func (x *running) prepare(ctx context.Context, l *amqpload.Load) (*amqpload.Run, error) {
	l.Address, l.Name = x.amqp, x.name
	if l.Exchange != "" {
		l.Exchange = x.name
	}
	l.Messages, l.For, l.SkipLatencies = x.extent(l.Rate, x.messages(l.BodyBytes)/int64(max(1, l.Queues)))
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

func publishOnly(ctx context.Context, x *running, bodyBytes, window int) error {
	l := amqpload.Load{BodyBytes: bodyBytes, Window: window}
	run, err := x.prepare(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	err = x.measured(ctx, func() (work, error) {
		r, err := run.Publish(ctx)
		return work{messages: r.Confirmed, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Confirm, latencyName: "publish to confirm"}, err
	})
	if err != nil {
		return err
	}
	return readQueueBack(ctx, run)
}

// publishOver publishes into a queue that keeps the newest messages only.
func publishOver(ctx context.Context, x *running, bodyBytes, keeps int) error {
	l := amqpload.Load{BodyBytes: bodyBytes, Window: wideWindow, MaxLength: keeps}
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
	return run.CheckHolds(min(published, int64(keeps)))
}

// readQueueBack consumes what a row published, without being measured, and so checks
// each message.
func readQueueBack(ctx context.Context, run *amqpload.Run) error {
	if err := run.Attach(ctx); err != nil {
		return err
	}
	if _, err := run.Drain(ctx); err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	return run.CheckEmpty()
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
