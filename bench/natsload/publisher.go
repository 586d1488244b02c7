package natsload

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publisher is one connection that publishes.
type publisher struct {
	load    *Load
	conn    *nats.Conn
	js      jetstream.JetStream
	bodies  [][]byte     // gone through by turns: the client holds a body until it is acknowledged
	acked   atomic.Int64 // publishes
	confirm *measure.Latencies
	late    time.Duration
}

// publish is one that is not acknowledged yet.
type publish struct {
	future jetstream.PubAckFuture
	at     time.Time
}

func newPublisher(l *Load) (*publisher, error) {
	c, err := Dial(l.Address)
	if err != nil {
		return nil, err
	}
	p := &publisher{load: l, conn: c, bodies: make([][]byte, 2*l.Window), confirm: measure.NewLatencies()}
	for i := range p.bodies {
		p.bodies[i] = make([]byte, l.BodyBytes)
	}
	if p.js, err = jetstream.New(c, jetstream.WithPublishAsyncMaxPending(l.Window)); err != nil {
		c.Close()
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	return p, nil
}

// run publishes until the count or the time is reached, and returns when all of it is
// acknowledged.
func (p *publisher) run(ctx context.Context, epoch time.Time) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	open := make(chan publish, p.load.Window)
	settled := make(chan error, 1)
	go func() {
		err := p.settle(ctx, open)
		cancel(err)
		settled <- err
	}()
	err := p.publish(ctx, epoch, open)
	if err != nil {
		cancel(err)
	}
	close(open)
	if settleErr := <-settled; settleErr != nil && !errors.Is(settleErr, err) {
		err = errors.Join(err, settleErr)
	}
	if err != nil {
		return fmt.Errorf("publish after %d messages: %w", p.acked.Load(), err)
	}
	return nil
}

func (p *publisher) publish(ctx context.Context, epoch time.Time, open chan<- publish) error {
	due := func(int64) time.Duration { return time.Since(epoch) }
	if p.load.Rate > 0 {
		runtime.LockOSThread() // never unlocked: see amqpload
		measure.PrepareThread()
		pace := measure.NewPacer(epoch, p.load.Rate)
		due = pace.Wait
		defer func() { p.late = pace.Late }()
	}
	for i := range p.load.Messages {
		at := due(i)
		if at >= p.load.For {
			return nil
		}
		body := p.bodies[i%int64(len(p.bodies))]
		measure.PutStamp(body, measure.Seq(0, uint64(i)), measure.Micros(at))
		if p.load.Window == 1 {
			if err := p.publishSync(ctx, i, body); err != nil {
				return err
			}
			continue
		}
		future, err := p.js.PublishAsync(p.load.Name, body, jetstream.WithStallWait(measure.StallLimit))
		if err != nil {
			return err
		}
		select {
		case open <- publish{future, epoch.Add(at)}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// publishSync waits for the acknowledgement.
func (p *publisher) publishSync(ctx context.Context, i int64, body []byte) error {
	began := time.Now()
	ack, err := p.js.Publish(ctx, p.load.Name, body)
	if err != nil {
		return err
	}
	p.confirm.AddDuration(time.Since(began))
	return p.take(ack, i)
}

// settle waits for the acknowledgements in the order of their publishes.
func (p *publisher) settle(ctx context.Context, open <-chan publish) error {
	for o := range open {
		select {
		case ack := <-o.future.Ok():
			p.confirm.AddDuration(time.Since(o.at))
			if err := p.take(ack, p.acked.Load()); err != nil {
				return err
			}
		case err := <-o.future.Err():
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// take checks that a publish got the place in the stream that follows the one before.
func (p *publisher) take(ack *jetstream.PubAck, number int64) error {
	if want := uint64(number) + 1; ack.Sequence != want || ack.Duplicate {
		return fmt.Errorf("publish %d was given sequence %d (duplicate: %t), %d was due", number, ack.Sequence, ack.Duplicate, want)
	}
	p.acked.Add(1)
	return nil
}
