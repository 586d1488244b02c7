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

// Limits of a load.
const (
	dialTimeout = 10 * time.Second
	settleLimit = 5 * time.Second // for the server to take the last acknowledgements
)

// Load says what to do to a server: one publisher, one stream, one consumer. Publisher and
// consumer have a connection of their own.
type Load struct {
	Address string // host:port
	Name    string // of the stream and of its subject; no dots

	BodyBytes int
	Window    int     // publishes not yet acknowledged; 1 waits for each
	Rate      float64 // messages a second, each published when it is due; 0: no limit

	Prefetch int // messages asked of the server ahead
	AckEvery int // messages an acknowledgement covers

	Messages      int64         // at most so many
	For           time.Duration // no publish begins later than this
	SkipLatencies int64         // deliveries left out of the latencies: warming up
}

// Result is what a load did. Elapsed goes from the first publish (or, draining, the first
// pull) to the last delivery or acknowledgement.
type Result struct {
	Published, Delivered int64
	Elapsed              time.Duration
	Latency              *measure.Latencies // from stamp to delivery
	Confirm              *measure.Latencies // from publish (paced: from when it was due) to acknowledgement
	Late                 time.Duration      // how far a paced publisher was behind at worst
}

// Run is a load with its stream declared and its connections open.
type Run struct {
	load      Load
	control   *nats.Conn
	js        jetstream.JetStream // over control
	publisher *publisher
	consumer  *consumer // nil before Attach
	published int64
}

// Open declares the stream anew and opens the publisher. Close must follow.
func (l Load) Open(ctx context.Context) (*Run, error) {
	l.Window, l.Prefetch, l.AckEvery = max(l.Window, 1), max(l.Prefetch, 1), max(l.AckEvery, 1)
	control, err := Dial(l.Address)
	if err != nil {
		return nil, err
	}
	r := &Run{load: l, control: control}
	if err := r.declare(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("declare stream %s: %w", l.Name, err)
	}
	if r.publisher, err = newPublisher(&r.load); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Dial connects to a server.
func Dial(address string) (*nats.Conn, error) {
	c, err := nats.Connect("nats://"+address, nats.Timeout(dialTimeout), nats.NoReconnect())
	if err != nil {
		return nil, fmt.Errorf("connect to nats server %s: %w", address, err)
	}
	return c, nil
}

func (r *Run) declare(ctx context.Context) (err error) {
	if r.js, err = jetstream.New(r.control); err != nil {
		return err
	}
	_, err = r.js.CreateStream(ctx, jetstream.StreamConfig{Name: r.load.Name, Subjects: []string{r.load.Name}, Storage: jetstream.FileStorage, Replicas: 1})
	return err
}

// Attach makes the stream's consumer; it begins when PublishAndConsume or Drain does.
func (r *Run) Attach(ctx context.Context) (err error) {
	r.consumer, err = newConsumer(ctx, &r.load)
	return err
}

// Publish does the load's publishing alone, which leaves a backlog.
func (r *Run) Publish(ctx context.Context) (Result, error) {
	return r.run(ctx, r.publisher, nil)
}

// Drain consumes what Publish left.
func (r *Run) Drain(ctx context.Context) (Result, error) {
	return r.run(ctx, nil, r.consumer)
}

// PublishAndConsume does both at once.
func (r *Run) PublishAndConsume(ctx context.Context) (Result, error) {
	return r.run(ctx, r.publisher, r.consumer)
}

func (r *Run) run(ctx context.Context, p *publisher, k *consumer) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	acked, got := &r.publisher.acked, r.delivered()
	go measure.WatchProgress(ctx, cancel, func() int64 { return acked.Load() + got.Load() },
		func() string { return fmt.Sprintf("%d acknowledged, %d delivered", acked.Load(), got.Load()) })
	out := Result{Latency: measure.NewLatencies(), Confirm: measure.NewLatencies()}
	epoch := time.Now()
	if k != nil {
		if err := k.begin(epoch, cancel); err != nil {
			return Result{}, err
		}
		defer k.stop() // for a publisher that fails
	}
	if p != nil {
		if err := p.run(ctx, epoch); err != nil {
			return Result{}, errors.Join(err, context.Cause(ctx))
		}
		r.published = p.acked.Load()
		out.Published, out.Confirm, out.Late, out.Elapsed = r.published, p.confirm, p.late, time.Since(epoch)
	}
	if k != nil {
		if err := k.wait(ctx, r.published); err != nil {
			return Result{}, err
		}
		out.Delivered, out.Latency, out.Elapsed = k.check.Count, k.latency, max(out.Elapsed, k.lastAt)
		if err := k.check.Err([]int64{r.published}); err != nil {
			return Result{}, fmt.Errorf("stream %s: %w", r.load.Name, err)
		}
	}
	return out, nil
}

// delivered counts deliveries; a load without a consumer has none.
func (r *Run) delivered() *atomic.Int64 {
	if r.consumer == nil {
		return new(atomic.Int64)
	}
	return &r.consumer.got
}

// CheckHolds makes sure that the stream holds what was published and nothing else.
func (r *Run) CheckHolds(ctx context.Context) error {
	s, err := r.js.Stream(ctx, r.load.Name)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", r.load.Name, err)
	}
	if n := s.CachedInfo().State.Msgs; n != uint64(r.published) {
		return fmt.Errorf("stream %s holds %d messages, %d were published", r.load.Name, n, r.published)
	}
	return nil
}

// CheckSettled makes sure that nothing is left to deliver or to acknowledge. The server
// takes acknowledgements a little behind, so it is given time.
func (r *Run) CheckSettled(ctx context.Context) error {
	for end := time.Now().Add(settleLimit); ; time.Sleep(20 * time.Millisecond) {
		i, err := r.consumer.handle.Info(ctx)
		if err != nil {
			return fmt.Errorf("look at the consumer of stream %s: %w", r.load.Name, err)
		}
		if i.NumPending == 0 && i.NumAckPending == 0 && i.AckFloor.Stream == uint64(r.published) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("stream %s: %d to deliver, %d to acknowledge, acknowledged up to %d of %d",
				r.load.Name, i.NumPending, i.NumAckPending, i.AckFloor.Stream, r.published)
		}
	}
}

// Close deletes the stream and ends the connections. The run must have ended.
func (r *Run) Close() {
	if r.consumer != nil {
		r.consumer.conn.Close()
	}
	if r.publisher != nil {
		r.publisher.conn.Close()
	}
	if r.js != nil {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		_ = r.js.DeleteStream(ctx, r.load.Name) // what is left is the next run's neighbour, not its error
		cancel()
	}
	r.control.Close()
}
