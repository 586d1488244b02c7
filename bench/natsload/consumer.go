package natsload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// consumer is one connection with the stream's one durable pull consumer.
type consumer struct {
	load     *Load
	conn     *nats.Conn
	handle   jetstream.Consumer
	consume  jetstream.ConsumeContext
	epoch    time.Time
	fail     context.CancelCauseFunc
	check    *measure.Sequence
	latency  *measure.Latencies
	got      atomic.Int64
	last     jetstream.Msg
	lastAt   time.Duration
	expected atomic.Int64 // -1 while it is not known
	done     chan struct{}
}

func newConsumer(ctx context.Context, l *Load) (*consumer, error) {
	c, err := Dial(l.Address)
	if err != nil {
		return nil, err
	}
	k := &consumer{load: l, conn: c, check: measure.NewSequence(1), latency: measure.NewLatencies(), done: make(chan struct{}, 1)}
	k.expected.Store(-1)
	if err := k.declare(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("make a consumer of stream %s: %w", l.Name, err)
	}
	return k, nil
}

func (k *consumer) declare(ctx context.Context) error {
	js, err := jetstream.New(k.conn)
	if err != nil {
		return err
	}
	policy := jetstream.AckExplicitPolicy
	if k.load.AckEvery > 1 {
		policy = jetstream.AckAllPolicy
	}
	k.handle, err = js.CreateConsumer(ctx, k.load.Name, jetstream.ConsumerConfig{
		Durable: "bench", AckPolicy: policy, DeliverPolicy: jetstream.DeliverAllPolicy, MaxAckPending: k.load.Prefetch + k.load.AckEvery,
	})
	return err
}

// begin has messages arrive; fail is called with what goes wrong.
func (k *consumer) begin(epoch time.Time, fail context.CancelCauseFunc) (err error) {
	k.epoch, k.fail = epoch, fail
	k.consume, err = k.handle.Consume(k.take, jetstream.PullMaxMessages(k.load.Prefetch),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { fail(fmt.Errorf("consume: %w", err)) }))
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	return nil
}

// take is called for each message, by one goroutine.
func (k *consumer) take(m jetstream.Msg) {
	body, now := m.Data(), time.Since(k.epoch)
	if len(body) != k.load.BodyBytes {
		k.fail(fmt.Errorf("body of %d bytes, %d were published", len(body), k.load.BodyBytes))
		return
	}
	seq, at := measure.Stamp(body)
	k.check.Add(seq)
	if k.check.Count > k.load.SkipLatencies {
		k.latency.Add(measure.Micros(now), at)
	}
	k.lastAt = now
	n := k.got.Load() + 1
	if n%int64(k.load.AckEvery) == 0 {
		if err := m.Ack(); err != nil {
			k.fail(fmt.Errorf("acknowledge: %w", err))
			return
		}
	}
	k.last = m
	k.got.Store(n)
	k.tell()
}

// tell wakes wait when all that is expected has come.
func (k *consumer) tell() {
	if n := k.expected.Load(); n >= 0 && k.got.Load() >= n {
		select {
		case k.done <- struct{}{}:
		default:
		}
	}
}

// wait returns when so many messages have come, acknowledges what is left of them, and ends
// the deliveries.
func (k *consumer) wait(ctx context.Context, messages int64) error {
	k.expected.Store(messages)
	k.tell()
	select {
	case <-k.done:
	case <-ctx.Done():
		k.stop()
		return errors.Join(fmt.Errorf("%d of %d messages came", k.got.Load(), messages), context.Cause(ctx))
	}
	k.stop()
	if k.got.Load()%int64(k.load.AckEvery) == 0 {
		return nil
	}
	if err := k.last.Ack(); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}

// stop returns when the last delivery is over. It may be called again.
func (k *consumer) stop() {
	k.consume.Stop()
	<-k.consume.Closed()
}
