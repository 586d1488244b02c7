package amqpload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Slices is one queue that is published to and consumed from a slice at a time, with
// whatever was not consumed waiting in it. Numbers go on from slice to slice, so that the
// check of order and loss spans all of them. It is owned by one goroutine.
type Slices struct {
	load    Load
	control *Conn
	ins     []*publisher
	in      *publisher // whose turn it is
	out     *consumer
	epoch   time.Time
	extra   int // bindings that match nothing published
}

// OpenSlices declares the load's queue anew, with its exchange if it names one, a consumer,
// and a publisher for each of the lists of routing keys; with no list, one publisher with
// the load's own. Of the load it takes address, names, body, window (which it needs) and
// how to acknowledge.
func (l Load) OpenSlices(ctx context.Context, keys ...[]string) (_ *Slices, err error) {
	if l.Window <= 0 {
		return nil, errors.New("slices need confirms: they tell when the last publish was taken")
	}
	l.Queues, l.ExtraBinds, l.Publishers = 1, 0, max(1, len(keys))
	l.defaults()
	s := &Slices{load: l, epoch: time.Now()}
	if s.control, err = Dial(ctx, l.Address); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := (&Run{load: l, control: s.control}).declare(); err != nil {
		return nil, fmt.Errorf("declare queue %s: %w", l.Name, err)
	}
	for i := range l.Publishers {
		its := l
		if len(keys) > 0 {
			its.RoutingKeys = keys[i]
		}
		p, err := newPublisher(ctx, &its, i)
		if err != nil {
			return nil, err
		}
		p.epoch = s.epoch
		s.ins = append(s.ins, p)
		go p.readConfirms()
	}
	s.in = s.ins[0]
	if s.out, err = newConsumer(ctx, &s.load, l.Name); err != nil {
		return nil, err
	}
	s.out.epoch = s.epoch
	return s, nil
}

// Use makes the publisher of that list of routing keys the one that publishes.
func (s *Slices) Use(publisher int) { s.in = s.ins[publisher] }

// Publish publishes n messages and waits for the last confirm.
func (s *Slices) Publish(ctx context.Context, n int64) (Result, error) {
	return s.slice(ctx, n, 0)
}

// Take consumes n messages at least, and what was on its way when that was reached.
func (s *Slices) Take(ctx context.Context, n int64) (Result, error) {
	return s.slice(ctx, 0, n)
}

// Both publishes n messages while as many are consumed, and tells the deliveries.
func (s *Slices) Both(ctx context.Context, n int64) (Result, error) {
	return s.slice(ctx, n, n)
}

// Waiting is how many messages the queue must hold.
func (s *Slices) Waiting() int64 {
	n := -s.out.check.Count
	for _, p := range s.ins {
		n += p.sent.Load()
	}
	return n
}

// Check makes sure that the queue holds what was published and not consumed.
func (s *Slices) Check() error {
	r := Run{load: s.load, control: s.control}
	return r.waitDepth(s.load.Name, s.Waiting())
}

func (s *Slices) slice(ctx context.Context, publish, take int64) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, s.abort)
	defer stop()
	r := Result{Latency: measure.NewLatencies(), Confirm: measure.NewLatencies()}
	s.in.confirm, s.out.latency = r.Confirm, r.Latency
	sent, got, began := s.in.sent.Load(), s.out.check.Count, time.Now()
	published := make(chan error, 1)
	go func() {
		err := s.in.slice(sent + publish)
		failWith(cancel, err)
		published <- err
	}()
	var err error
	if take > 0 {
		err = s.out.slice(got + take)
		failWith(cancel, err)
	}
	err = errors.Join(<-published, err)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the other's connection was cut for it
	}
	if err == nil {
		err = s.out.check.Err(nil)
	}
	r.Published, r.Confirmed, r.Delivered = s.in.sent.Load()-sent, s.in.sent.Load()-sent, s.out.check.Count-got
	r.Elapsed = time.Since(began)
	return r, err
}

func (s *Slices) abort() {
	for _, p := range s.ins {
		p.conn.Close()
	}
	if s.out != nil {
		s.out.conn.Close()
	}
}

// bindingQueues is how many queues the bindings of Bind lead to.
const bindingQueues = 10

// Bind adds bindings to the load's topic exchange until there are n besides the queue's
// own, one after the other: patterns of four kinds that share words with the routing keys
// k.<i>.x and match none of them. They lead to a few queues that stay empty.
func (s *Slices) Bind(ctx context.Context, n int) (Result, error) {
	stop := context.AfterFunc(ctx, func() { s.control.Close() })
	defer stop()
	r := Result{Confirm: measure.NewLatencies()}
	run := Run{load: s.load, control: s.control}
	began := time.Now()
	for last := began; s.extra < n; s.extra++ {
		queue := s.load.queue(1 + s.extra%bindingQueues)
		if s.extra < bindingQueues {
			if _, err := s.control.Call(method(queueDeclare).u16(0).short(queue).u8(2).u32(0), queueDeclareOk); err != nil {
				return r, errors.Join(err, context.Cause(ctx))
			}
		}
		pattern := [...]string{"k.%d.#", "*.%d.x", "#.y%d", "s%d.*.x"}[s.extra%4]
		if err := run.bind(queue, fmt.Sprintf(pattern, 1_000_000+s.extra)); err != nil {
			return r, errors.Join(fmt.Errorf("binding %d: %w", s.extra, err), context.Cause(ctx))
		}
		now := time.Now()
		r.Confirm.AddDuration(now.Sub(last))
		r.Published++
		last = now
	}
	r.Elapsed = time.Since(began)
	return r, nil
}

// Close deletes what was declared and ends the connections.
func (s *Slices) Close() {
	s.abort()
	s.load.Queues = 1 + min(s.extra, bindingQueues)
	(&Run{load: s.load, control: s.control}).Close()
}

// slice publishes up to a total of messages since the beginning, all of them confirmed in
// the end. The goroutine that reads confirms must run already.
func (p *publisher) slice(total int64) error {
	p.total, p.until = total, 1<<62
	err := p.publish()
	if err == nil {
		err = p.waitConfirmed(total)
	}
	if err == nil {
		return nil
	}
	p.conn.Close()
	<-p.finished
	if p.readErr != nil {
		err = p.readErr
	}
	return fmt.Errorf("publisher after %d messages: %w", p.sent.Load(), err)
}

// slice consumes up to a total of messages since the beginning, and those that come before
// the broker has stopped, all of them acknowledged in the end.
func (k *consumer) slice(total int64) error {
	if err := k.start(); err != nil {
		return err
	}
	k.scan.cancelled = false
	for asked := false; !k.scan.cancelled; {
		_ = k.conn.SetReadDeadline(time.Now().Add(measure.StallLimit))
		if err := k.read(); err != nil {
			return fmt.Errorf("consumer of %s after %d deliveries: %w", k.queue, k.check.Count, err)
		}
		if !asked && k.check.Count >= total {
			asked = true
			if err := k.conn.send(1, method(basicCancel).short(consumerTag).u8(0)); err != nil {
				return err
			}
		}
	}
	return k.ack(true)
}
