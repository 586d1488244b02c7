package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/leveret-mq/leveret/bench/measure"
)

// What the climbs have in common: small bodies, a window that never runs dry.
const (
	curveBody    = 12
	curveSlice   = 2_000_000 // messages of a slice at --time 1.5s
	curveSample  = 100       // queues whose messages are looked at one by one
	manyKeys     = 100_000
	crowdPref    = 200
	bytesOnRoute = 32 << 20 // of large messages, published and not confirmed
	growthFrom   = 1000     // what is added to reach a smaller point is too little to be measured
	spareFiles   = 256      // descriptors that broker and load need besides the connections'
)

// slice is how many messages are measured at a point, in proportion to --time.
func (c *climb) slice(atDefault int64) int64 {
	return max(1000, int64(float64(atDefault)*float64(c.options.time)/float64(defaultTime)))
}

func (c *climb) load(bodyBytes int) amqpload.Load {
	return amqpload.Load{Address: c.amqp, Name: runName(amqp, c.curve.name), BodyBytes: bodyBytes,
		Window: wideWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
}

func published(r amqpload.Result, bodyBytes int) work {
	return work{messages: r.Published, bodyBytes: bodyBytes, elapsed: r.Elapsed, latency: r.Confirm, latencyName: "publish to confirm"}
}

func delivered(r amqpload.Result, bodyBytes int) work {
	return work{messages: r.Delivered, bodyBytes: bodyBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "publish to delivery"}
}

func climbBacklog(ctx context.Context, c *climb) error {
	s, err := c.load(curveBody).OpenSlices(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	n := c.slice(curveSlice)
	for _, x := range c.points {
		c.stage("filling up to %d", x)
		if more := x - s.Waiting(); more > 0 {
			if _, err := s.Publish(ctx, more); err != nil {
				return err
			}
		}
		err := c.measure(ctx, "backlog-publish", x, func(ctx context.Context) (work, error) {
			r, err := s.Publish(ctx, n)
			return published(r, curveBody), err
		})
		if err != nil {
			return err
		}
		err = c.measure(ctx, "backlog-consume", x, func(ctx context.Context) (work, error) {
			r, err := s.Take(ctx, n)
			return work{messages: r.Delivered, bodyBytes: curveBody, elapsed: r.Elapsed}, err
		})
		if err != nil {
			return err
		}
		err = c.measure(ctx, "backlog-both", x, func(ctx context.Context) (work, error) {
			r, err := s.Both(ctx, n)
			w := published(r, curveBody)
			w.messages = r.Delivered
			return w, err
		})
		if err != nil {
			return err
		}
		if err := s.Check(); err != nil {
			return err
		}
	}
	return nil
}

func climbQueues(ctx context.Context, c *climb) error {
	f, err := c.load(curveBody).OpenFleet(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, x := range c.points {
		if err := c.queuesAt(ctx, f, x); err != nil {
			return err
		}
	}
	return nil
}

func (c *climb) queuesAt(ctx context.Context, f *amqpload.Fleet, x int64) error {
	err := c.grow(ctx, "queues-declare", x, "declare to declare-ok", f.Grow)
	if err != nil {
		return err
	}
	if err := c.pairBeside(ctx, "queues-beside", x); err != nil {
		return err
	}
	// The first message of a queue makes its files; the next ones find them.
	for _, series := range []string{"queues-first", "queues-all"} {
		perQueue := max(1, c.slice(curveSlice/10)/x)
		if series == "queues-first" {
			if perQueue = 1; x < growthFrom {
				c.session.show.skip()
				continue
			}
		}
		if err := c.publishAll(ctx, f, series, x, perQueue); err != nil {
			return err
		}
	}
	if c.own == nil {
		return nil
	}
	return c.restart(ctx, f, x)
}

// grow reaches a point, and measures what each step on the way cost if they are many.
func (c *climb) grow(ctx context.Context, series string, x int64, latency string, grow func(context.Context, int) (amqpload.Result, error)) error {
	if x < growthFrom {
		c.session.show.skip()
		_, err := grow(ctx, int(x))
		return err
	}
	return c.measure(ctx, series, x, func(ctx context.Context) (work, error) {
		r, err := grow(ctx, int(x))
		w := published(r, 0)
		w.latencyName = latency
		return w, err
	})
}

func (c *climb) publishAll(ctx context.Context, f *amqpload.Fleet, series string, x, perQueue int64) error {
	p, err := f.Publisher(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	err = c.measure(ctx, series, x, func(ctx context.Context) (work, error) {
		r, err := p.Publish(ctx, perQueue)
		return published(r, curveBody), err
	})
	if err != nil {
		return err
	}
	c.stage("checking %d queues", x)
	if err := f.Check(curveSample, perQueue); err != nil {
		return err
	}
	return f.Purge(ctx, perQueue)
}

// pairBeside is one publisher and one consumer on a queue of their own.
func (c *climb) pairBeside(ctx context.Context, series string, x int64) error {
	l := c.load(curveBody)
	l.Messages, l.For = c.slice(curveSlice), time.Minute
	run, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Attach(ctx); err != nil {
		return err
	}
	err = c.measure(ctx, series, x, func(ctx context.Context) (work, error) {
		r, err := run.PublishAndConsume(ctx)
		return delivered(r, curveBody), err
	})
	if err != nil {
		return err
	}
	return run.CheckEmpty()
}

// restart stops the broker and starts it again with what it has. The time is that to its
// first confirmed message.
func (c *climb) restart(ctx context.Context, f *amqpload.Fleet, x int64) error {
	c.stage("restarting with %d queues", x)
	if err := c.own.halt(); err != nil {
		return err
	}
	next, err := c.own.restart(ctx, c.options)
	if err != nil {
		return err
	}
	*c.own = *next
	c.amqp, c.pidAMQP = next.target.amqp, next.target.pidAMQP
	cpu, err := measure.CPUOf(c.pidAMQP)
	if err != nil && !errors.Is(err, measure.ErrUnsupported) {
		return err
	}
	res := c.point("queues-restart", x)
	res.OK, res.Messages, res.Seconds = true, x, round(next.ready.Seconds(), 4)
	res.P50, res.Latency = millis(next.ready), "start to first confirm"
	res.BrokerUser, res.BrokerSystem = cpu.User.Seconds(), cpu.System.Seconds()
	const mb = 1 << 20
	res.PeakRSSMB, res.PeakAnonMB = round(float64(next.idle.RSSBytes)/mb, 1), round(float64(next.idle.AnonBytes)/mb, 1)
	if err := c.session.add(res); err != nil {
		return err
	}
	return f.Reopen(ctx, c.amqp)
}

func climbBindings(ctx context.Context, c *climb) error {
	l := c.load(curveBody)
	l.Exchange, l.ExchangeType = l.Name, "topic"
	s, err := l.OpenSlices(ctx, bindingKeys(64), bindingKeys(manyKeys))
	if err != nil {
		return err
	}
	defer s.Close()
	n := c.slice(curveSlice/2) / manyKeys * manyKeys
	for _, x := range c.points {
		if err := c.grow(ctx, "bindings-bind", x, "bind to bind-ok", s.Bind); err != nil {
			return err
		}
		for i, series := range []string{"bindings-64-keys", "bindings-100k-keys"} {
			s.Use(i)
			err := c.measure(ctx, series, x, func(ctx context.Context) (work, error) {
				r, err := s.Both(ctx, max(n, manyKeys))
				return delivered(r, curveBody), err
			})
			if err != nil {
				return err
			}
			if _, err := s.Take(ctx, s.Waiting()); err != nil {
				return err
			}
		}
		if err := s.Check(); err != nil {
			return err
		}
	}
	return nil
}

func bindingKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("k.%d.x", i)
	}
	return keys
}

func climbConnections(ctx context.Context, c *climb) error {
	conns := amqpload.NewConnections(c.amqp)
	defer conns.Close()
	for _, x := range c.points {
		if limit := measure.FileLimit(c.pidAMQP); limit > 0 && limit < x+spareFiles {
			c.skip(x, fmt.Sprintf("this machine allows a process %d open files", limit))
			continue
		}
		if err := c.grow(ctx, "connections-open", x, "connect to channel.open-ok", conns.Grow); err != nil {
			return err
		}
		if err := c.pairBeside(ctx, "connections-pair", x); err != nil {
			return err
		}
		l := c.load(1024)
		l.Rate, l.For, l.AckEvery = pacedRate, 2*c.options.time, 1
		err := c.measure(ctx, "connections-all", x, func(ctx context.Context) (work, error) {
			r, err := conns.Trickle(ctx, l)
			w := delivered(r, l.BodyBytes)
			w.late, w.latencyName = r.Late, "due to delivery"
			return w, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func climbSize(ctx context.Context, c *climb) error {
	for _, x := range c.points {
		l := c.load(int(x))
		l.Window = int(min(confirmWindow, max(2, bytesOnRoute/x)))
		l.Prefetch, l.AckEvery = l.Window, max(1, min(ackBatch, l.Window/4))
		l.Messages, l.For = max(8, int64(c.options.maxBytes)/(x+recordOverhead)), c.options.time
		if err := c.sizeAt(ctx, x, l); err != nil {
			return err
		}
	}
	return nil
}

func (c *climb) sizeAt(ctx context.Context, x int64, l amqpload.Load) error {
	run, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := run.Attach(ctx); err != nil {
		return err
	}
	err = c.measure(ctx, "size", x, func(ctx context.Context) (work, error) {
		r, err := run.PublishAndConsume(ctx)
		return delivered(r, int(x)), err
	})
	if err != nil {
		return err
	}
	return run.CheckEmpty()
}

func climbConsumers(ctx context.Context, c *climb) error {
	for _, x := range c.points {
		if err := c.crowd(ctx, "consumers-one-conn", x, 1); err != nil {
			return err
		}
		if err := c.crowd(ctx, "consumers-own-conn", x, int(x)); err != nil {
			return err
		}
	}
	return nil
}

func (c *climb) crowd(ctx context.Context, series string, x int64, conns int) error {
	l := c.load(curveBody)
	l.Messages, l.For, l.Prefetch = c.slice(curveSlice/2), time.Minute, crowdPref
	crowd, err := l.OpenCrowd(ctx, int(x), conns)
	if err != nil {
		return err
	}
	defer crowd.Close()
	err = c.measure(ctx, series, x, func(ctx context.Context) (work, error) {
		r, err := crowd.PublishAndConsume(ctx)
		return delivered(r, curveBody), err
	})
	if err != nil {
		return err
	}
	return crowd.CheckEmpty()
}
