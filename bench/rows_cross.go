package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/leveret-mq/leveret/bench/kafkaload"
	"github.com/leveret-mq/leveret/bench/measure"
)

// crossRows send with one protocol and receive with the other, through one queue that is a
// topic. Every message is checked by itself.
func crossRows() []row {
	var out []row
	for _, s := range sizes {
		out = append(out,
			row{name: "cross-amqp-kafka-" + s.name, workload: "cross", protocol: both, short: s.short("1k"),
				about: "AMQP publish with confirms (window 1,000), raw Kafka reader at the tail",
				run:   func(ctx context.Context, x *running) error { return amqpToKafka(ctx, x, s.bytes) }},
			row{name: "cross-kafka-amqp-" + s.name, workload: "cross", protocol: both, short: s.short("1k"),
				about: "raw Produce requests, batches of 64 KiB, AMQP consumer, prefetch 1,000, acks of 100",
				run:   func(ctx context.Context, x *running) error { return kafkaToAMQP(ctx, x, s.bytes) }})
	}
	return out
}

func amqpToKafka(ctx context.Context, x *running, bodyBytes int) error {
	l := amqpload.Load{BodyBytes: bodyBytes, Window: confirmWindow}
	run, err := x.prepare(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	check, latency := measure.NewSequence(1), measure.NewLatencies()
	each := func(_ int, v []byte, now uint32) error {
		if len(v) != bodyBytes {
			return fmt.Errorf("value of %d bytes, %d were published", len(v), bodyBytes)
		}
		seq, at := measure.Stamp(v)
		check.Add(seq)
		latency.Add(now, at)
		return nil
	}
	var published amqpload.Result
	publish := func(ctx context.Context, epoch time.Time) ([]int64, error) {
		published, err = run.PublishFrom(ctx, epoch)
		return []int64{published.Published}, err
	}
	err = x.measured(ctx, func() (work, error) {
		f, err := x.kafkaLoad(1, bodyBytes).Follow(ctx, kafkaload.Reading{Value: each}, publish)
		return work{messages: f.Records, bodyBytes: bodyBytes, elapsed: f.Elapsed, latency: latency, latencyName: "publish to delivery", confirm: published.Confirm}, err
	})
	if err != nil {
		return err
	}
	return check.Err([]int64{published.Published})
}

func kafkaToAMQP(ctx context.Context, x *running, bodyBytes int) error {
	a := amqpload.Load{BodyBytes: bodyBytes, Prefetch: ackPrefetch, AckEvery: ackBatch}
	run, err := x.prepare(ctx, &a)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Attach(ctx); err != nil {
		return err
	}
	k := x.batched(bodyBytes, smallBatch)
	k.Stamped = true
	ps, err := k.Producers(ctx)
	if err != nil {
		return err
	}
	defer ps.Close()
	produce := func(ctx context.Context, epoch time.Time) (int64, error) {
		p, err := ps.Run(ctx, epoch)
		return p.Records, err
	}
	err = x.measured(ctx, func() (work, error) {
		r, err := run.ConsumeWhile(ctx, produce)
		return work{messages: r.Delivered, bodyBytes: bodyBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "produce to delivery"}, err
	})
	if err != nil {
		return err
	}
	return run.CheckEmpty()
}
