package amqpload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Fleet is a number of queues that grows, published to in turn over the default exchange.
// It is owned by one goroutine.
type Fleet struct {
	load    Load
	control *Conn
	names   []string
	drained map[int]bool // by Check, since the last Purge
}

// OpenFleet begins with no queue. Of the load it takes address, name, body and window.
func (l Load) OpenFleet(ctx context.Context) (*Fleet, error) {
	l.defaults()
	c, err := Dial(ctx, l.Address)
	if err != nil {
		return nil, err
	}
	return &Fleet{load: l, control: c, drained: map[int]bool{}}, nil
}

// Reopen connects anew, such as to a broker that was restarted at another address; the
// queues are taken to be there still.
func (f *Fleet) Reopen(ctx context.Context, a Address) error {
	f.control.Close()
	f.load.Address = a
	c, err := Dial(ctx, a)
	if err != nil {
		return err
	}
	f.control = c
	return nil
}

// Grow declares durable queues until there are n, one after the other.
func (f *Fleet) Grow(ctx context.Context, n int) (Result, error) {
	stop := context.AfterFunc(ctx, func() { f.control.Close() })
	defer stop()
	r := Result{Confirm: measure.NewLatencies()}
	began := time.Now()
	for last := began; len(f.names) < n; {
		name := f.load.Name + "." + strconv.Itoa(len(f.names))
		if _, err := f.control.Call(method(queueDeclare).u16(0).short(name).u8(2).u32(0), queueDeclareOk); err != nil {
			return r, errors.Join(fmt.Errorf("declare queue %s: %w", name, err), context.Cause(ctx))
		}
		f.names = append(f.names, name)
		now := time.Now()
		r.Confirm.AddDuration(now.Sub(last))
		r.Published++
		last = now
	}
	r.Elapsed = time.Since(began)
	return r, nil
}

// Publisher opens a connection that publishes to all queues in turn.
func (f *Fleet) Publisher(ctx context.Context) (*FleetPublisher, error) {
	l := f.load
	l.RoutingKeys = f.names
	p, err := newPublisher(ctx, &l, 0)
	if err != nil {
		return nil, err
	}
	return &FleetPublisher{p}, nil
}

// FleetPublisher publishes once.
type FleetPublisher struct{ p *publisher }

// Publish publishes so many messages to each queue and waits for all confirms.
func (p *FleetPublisher) Publish(ctx context.Context, perQueue int64) (Result, error) {
	stop := context.AfterFunc(ctx, p.Close)
	defer stop()
	total := perQueue * int64(len(p.p.load.RoutingKeys))
	began := time.Now()
	err := p.p.run(began, total, 1<<62)
	return Result{Published: p.p.sent.Load(), Confirmed: p.p.confirmed.Load(), Elapsed: time.Since(began), Confirm: p.p.confirm},
		errors.Join(err, context.Cause(ctx))
}

// Close ends the connection.
func (p *FleetPublisher) Close() { p.p.conn.Close() }

// Check takes all messages out of a sample of the queues, spread evenly, and makes sure
// that each has its own, perQueue of them in order.
func (f *Fleet) Check(sample int, perQueue int64) error {
	sample = min(sample, len(f.names))
	for i := range sample {
		q := i * len(f.names) / sample
		f.drained[q] = true
		if err := f.drain(q, perQueue); err != nil {
			return fmt.Errorf("queue %s: %w", f.names[q], err)
		}
	}
	return nil
}

func (f *Fleet) drain(q int, perQueue int64) error {
	for n := int64(0); ; n++ {
		body, err := f.control.get(f.names[q])
		if err != nil {
			return err
		}
		if body == nil {
			if n != perQueue {
				return fmt.Errorf("%d messages were published to it, %d came", perQueue, n)
			}
			return nil
		}
		if len(body) != f.load.BodyBytes {
			return fmt.Errorf("body of %d bytes, %d were published", len(body), f.load.BodyBytes)
		}
		if seq, _ := measure.Stamp(body); seq != uint64(n)*uint64(len(f.names))+uint64(q) {
			return fmt.Errorf("message %d in all came as number %d of its queue", seq, n)
		}
	}
}

// get takes one message, acknowledged with it; the body is nil if there is none.
func (c *Conn) get(queue string) ([]byte, error) {
	if err := c.send(1, method(basicGet).u16(0).short(queue).u8(1)); err != nil {
		return nil, err
	}
	var body []byte
	left := -1 // body bytes still to come, once the header was seen
	for left != 0 {
		kind, p, err := c.next()
		if err != nil {
			return nil, err
		}
		switch {
		case kind == frameMethod && len(p) >= 4 && args(p).id() == basicGetEmpty:
			return nil, nil
		case kind == frameMethod && len(p) >= 4 && args(p).id() != basicGetOk:
			if err := closed(args(p).id(), p[4:]); err != nil {
				return nil, err
			}
		case kind == frameHeader && len(p) >= 12:
			left = int(binary.BigEndian.Uint64(p[4:]))
			body = make([]byte, 0, min(left, frameMaxBytes))
		case kind == frameBody:
			if body = append(body, p...); len(p) > left {
				return nil, errors.New("more body than its header says")
			}
			left -= len(p)
		}
	}
	return body, nil
}

// Purge empties every queue and makes sure that of those that Check did not look at each
// held perQueue messages.
func (f *Fleet) Purge(ctx context.Context, perQueue int64) error {
	stop := context.AfterFunc(ctx, func() { f.control.Close() })
	defer stop()
	defer clear(f.drained)
	for i, name := range f.names {
		p, err := f.control.Call(method(queuePurge).u16(0).short(name).u8(0), queuePurgeOk)
		if err != nil {
			return errors.Join(fmt.Errorf("purge queue %s: %w", name, err), context.Cause(ctx))
		}
		if len(p) < 4 {
			return errors.New("queue.purge-ok cut short")
		}
		want := perQueue
		if f.drained[i] {
			want = 0
		}
		if n := int64(binary.BigEndian.Uint32(p)); n != want {
			return fmt.Errorf("queue %s holds %d messages, it should hold %d", name, n, want)
		}
	}
	return nil
}

// Close ends the connection. The queues stay.
func (f *Fleet) Close() { f.control.Close() }
