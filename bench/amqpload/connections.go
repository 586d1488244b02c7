package amqpload

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Connections are a number of connections that grows, each with a channel open and nothing
// to do. They are owned by one goroutine.
type Connections struct {
	address Address
	conns   []*Conn
}

// NewConnections begins with none.
func NewConnections(a Address) *Connections { return &Connections{address: a} }

// Grow opens connections one after the other until there are n.
func (c *Connections) Grow(ctx context.Context, n int) (Result, error) {
	r := Result{Confirm: measure.NewLatencies()}
	began := time.Now()
	for last := began; len(c.conns) < n; {
		conn, err := Dial(ctx, c.address)
		if err != nil {
			return r, fmt.Errorf("connection %d: %w", len(c.conns)+1, err)
		}
		conn.buf, conn.start, conn.end = nil, 0, 0 // nothing more is read from it
		c.conns = append(c.conns, conn)
		now := time.Now()
		r.Confirm.AddDuration(now.Sub(last))
		r.Published++
		last = now
	}
	r.Elapsed = time.Since(began)
	return r, nil
}

// Trickle has the connections publish in turn to one queue, the load's, each message when
// it is due at the load's rate, while one consumer takes them out. Each connection's
// messages must arrive without a gap and in order.
func (c *Connections) Trickle(ctx context.Context, l Load) (Result, error) {
	if l.Rate <= 0 || len(c.conns) == 0 {
		return Result{}, errors.New("a trickle needs a rate and a connection")
	}
	l.Publishers, l.Window = len(c.conns), 0
	r, err := l.openTrickle(ctx)
	if err != nil {
		return Result{}, err
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, r.abort)
	defer stop()
	p, err := c.trickler(&r.load)
	if err != nil {
		return Result{}, err
	}
	k := r.consumers[0]
	epoch := time.Now()
	consumed := make(chan error, 1)
	go func() { consumed <- k.run(epoch) }()
	published := make(chan error, 1)
	go func() { published <- p.publish(epoch, l.For) }()
	if err := <-published; err != nil {
		r.abort()
		<-consumed
		return Result{}, errors.Join(err, context.Cause(ctx))
	}
	// What is on its way needs a moment; a message that does not come is a loss.
	lost := time.AfterFunc(measure.StallLimit, r.abort)
	defer lost.Stop()
	k.expectTotal(sum(p.sent))
	if err := <-consumed; err != nil {
		return Result{}, errors.Join(err, context.Cause(ctx))
	}
	out := Result{Published: sum(p.sent), Delivered: k.check.Count, Elapsed: k.lastAt, Latency: k.latency, Confirm: measure.NewLatencies(), Late: p.late}
	if err := k.check.Err(p.sent); err != nil {
		return out, err
	}
	return out, r.CheckEmpty()
}

// openTrickle is Open without publishers, and with the consumer attached.
func (l Load) openTrickle(ctx context.Context) (*Run, error) {
	publishers := l.Publishers
	l.Publishers = 0
	l.defaults()
	l.Publishers = publishers
	control, err := Dial(ctx, l.Address)
	if err != nil {
		return nil, err
	}
	r := &Run{load: l, control: control}
	if err = r.declare(); err == nil {
		err = r.Attach(ctx)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// trickler writes one message after the other, each on the next connection.
type trickler struct {
	conns []*Conn
	block *Block // one message
	rate  float64
	sent  []int64 // by connection
	late  time.Duration
}

func (c *Connections) trickler(l *Load) (*trickler, error) {
	o := BlockOptions{Keys: []string{l.queue(0)}, BodyBytes: l.BodyBytes, Persistent: !l.Transient, FrameMaxBytes: c.conns[0].FrameMaxBytes}
	b, err := NewBlock(o, 1)
	if err != nil {
		return nil, err
	}
	return &trickler{conns: c.conns, block: b, rate: l.Rate, sent: make([]int64, len(c.conns))}, nil
}

// publish needs a goroutine of its own.
func (t *trickler) publish(epoch time.Time, length time.Duration) error {
	runtime.LockOSThread() // never unlocked: the thread with its timer setting ends with the goroutine
	measure.PrepareThread()
	pace := measure.NewPacer(epoch, t.rate)
	for n := int64(0); pace.Due(n) < length; n++ {
		due := pace.Wait(n)
		i := int(n) % len(t.conns)
		t.block.Stamp(measure.Seq(i, uint64(t.sent[i])), measure.Micros(due))
		if _, err := t.conns[i].Write(t.block.Frames); err != nil {
			return fmt.Errorf("publish on connection %d: %w", i, err)
		}
		t.sent[i]++
	}
	t.late = pace.Late
	return nil
}

// Close ends all of them, without ceremony.
func (c *Connections) Close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}
