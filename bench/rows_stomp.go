package bench

import (
	"context"
	"fmt"

	"github.com/leveret-mq/leveret/bench/stompload"
)

// stompRows do over STOMP what the AMQP rows of the same workloads do.
func stompRows() []row {
	var out []row
	add := func(name, workload, about string, short bool, run func(context.Context, *running) error) {
		out = append(out, row{name: name, about: about, protocol: stomp, run: run, workload: workload, short: short})
	}
	for _, s := range sizes {
		ingest := stompload.Load{BodyBytes: s.bytes, Window: wideWindow}
		add("stomp-send-"+s.name, "ingest", "SEND, receipts of 50 (window 5,000), no consumer", s.short("1k"),
			func(ctx context.Context, x *running) error { return stompSend(ctx, x, ingest) })
		auto := stompload.Load{BodyBytes: s.bytes}
		add("stomp-"+s.name, "auto-ack", "SEND and consume, ack:auto", s.short("12b", "1k"),
			func(ctx context.Context, x *running) error { return stompBoth(ctx, x, auto) })
		acked := stompload.Load{BodyBytes: s.bytes, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
		add("stomp-ack-"+s.name, "confirm", "SEND, receipts of 50 (window 1,000), and consume, prefetch 1,000, ack:client of 100", s.short("1k"),
			func(ctx context.Context, x *running) error { return stompBoth(ctx, x, acked) })
	}
	return out
}

// prepareSTOMP completes a load for this run and opens it.
func (x *running) prepareSTOMP(ctx context.Context, l *stompload.Load) (*stompload.Run, error) {
	l.Address, l.Name, l.Login, l.Passcode = x.stomp, x.name, x.options.user, x.options.password
	l.Messages, l.For, _ = x.extent(0, x.messages(l.BodyBytes))
	return l.Open(ctx)
}

// stompSend leaves a backlog, and reads it back without being measured.
func stompSend(ctx context.Context, x *running, l stompload.Load) error {
	run, err := x.prepareSTOMP(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	err = x.measured(ctx, func() (work, error) {
		r, err := run.Publish(ctx)
		return work{messages: r.Published, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Confirm, latencyName: "send to receipt"}, err
	})
	if err != nil {
		return err
	}
	if err := run.Subscribe(ctx); err != nil {
		return err
	}
	if _, err := run.Drain(ctx); err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	return nil
}

func stompBoth(ctx context.Context, x *running, l stompload.Load) error {
	run, err := x.prepareSTOMP(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Subscribe(ctx); err != nil {
		return err
	}
	return x.measured(ctx, func() (work, error) {
		r, err := run.PublishAndConsume(ctx)
		return work{messages: r.Delivered, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "send to delivery", confirm: r.Confirm}, err
	})
}

// warmUpSTOMP puts some load on a broker that compiles as it goes.
func warmUpSTOMP(ctx context.Context, x *running) error {
	l := stompload.Load{BodyBytes: 256, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
	run, err := x.prepareSTOMP(ctx, &l)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Subscribe(ctx); err != nil {
		return err
	}
	_, err = run.PublishAndConsume(ctx)
	return err
}
