package amqpload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Load says what to do to a broker. Every publisher and every consumer has a connection
// of its own; each queue has one consumer.
type Load struct {
	Address Address
	Name    string // of the first queue; others get a number behind it

	Queues       int    // default 1
	Publishers   int    // default 1; on the default exchange, publisher i sends to queue i modulo Queues
	Exchange     string // default: the default exchange
	ExchangeType string
	Keys         int      // routing keys k.<i>.x that publishers go through, with Exchange; default 1
	RoutingKeys  []string // those of every publisher, in turn, instead of what the fields above say
	ExtraBinds   int      // bindings of each queue that match nothing published, with a topic exchange

	// Of each queue: the time to live of its messages in ms, and how many stay; 0: none, all.
	TTLMs, MaxLength int
	// Priorities is how many each queue tells apart, which messages have in turn; 0: none.
	Priorities int
	// Stream has queues be streams that keep streamBytes, of which consumers get all.
	Stream bool
	// DyingMs has publishers send to a queue that nobody reads, where messages expire after so
	// many ms and from where they come to the first queue as dead letters; 0: they send there.
	DyingMs int
	// DelayMs is how long an exchange of the type x-delayed-message keeps each message; 0: not at all.
	DelayMs int

	BodyBytes       int
	Transient       bool    // delivery mode 1
	Varied          bool    // properties and headers of its own for each message
	Window          int     // publisher confirms, at most so many open a publisher; 0: none
	WritePerMessage bool    // one write(2) a message
	Rate            float64 // messages a second in all, each written when it is due; 0: no limit

	AutoAck  bool
	Prefetch int // without AutoAck
	AckEvery int // messages an acknowledgement covers, without AutoAck; default 1

	Messages      int64         // at most so many in all
	For           time.Duration // no publish begins later than this
	SkipLatencies int64         // deliveries of each queue left out of the latencies: warming up
}

// streamBytes is what a stream keeps, so that a disk has room for any load.
const streamBytes = 1 << 30

// Result is what a load did. Elapsed goes from the first publish (or, draining, the
// consume) to the last delivery or confirm.
type Result struct {
	Published, Confirmed, Delivered int64
	Elapsed                         time.Duration
	Latency                         *measure.Latencies // from stamp to the read that had the delivery
	Confirm                         *measure.Latencies // from the write (paced: from when it was due) to its confirm
	Late                            time.Duration      // how far a paced publisher was behind at worst
}

// Run is a load with its queues declared and its connections open.
type Run struct {
	load       Load
	control    *Conn
	publishers []*publisher
	consumers  []*consumer
	sent       []int64 // by publisher
}

func (l *Load) defaults() {
	l.Queues, l.Publishers, l.Keys = max(l.Queues, 1), max(l.Publishers, 1), max(l.Keys, 1)
	l.AckEvery, l.Prefetch = max(l.AckEvery, 1), max(l.Prefetch, 0)
}

func (l *Load) queue(i int) string {
	if i == 0 {
		return l.Name
	}
	return l.Name + "." + strconv.Itoa(i)
}

// keys are the routing keys of one publisher.
func (l *Load) keys(publisher int) []string {
	if len(l.RoutingKeys) > 0 {
		return l.RoutingKeys
	}
	if l.DyingMs > 0 {
		return []string{l.dying()}
	}
	if l.Exchange == "" { // a block holds as many messages of each priority
		return slices.Repeat([]string{l.queue(publisher % l.Queues)}, max(l.Priorities, 1))
	}
	keys := make([]string, l.Keys)
	for i := range keys {
		keys[i] = fmt.Sprintf("k.%d.x", i)
	}
	return keys
}

// dying is the queue in which messages expire first.
func (l *Load) dying() string { return l.Name + ".dying" }

// messagesPerBlock fits blockBytes, and half the window so that it never runs dry.
func (l *Load) messagesPerBlock(messageBytes int) int {
	if l.Rate > 0 {
		return 1
	}
	n := blockBytes / messageBytes
	if l.Window > 0 {
		n = min(n, l.Window/2)
	}
	return max(n, 1)
}

// Open declares the load's queues anew and opens its publishers. Close must follow.
func (l Load) Open(ctx context.Context) (*Run, error) {
	l.defaults()
	c, err := Dial(ctx, l.Address)
	if err != nil {
		return nil, err
	}
	r := &Run{load: l, control: c, sent: make([]int64, l.Publishers)}
	if err := r.declare(); err != nil {
		r.Close()
		return nil, fmt.Errorf("declare queues: %w", err)
	}
	for i := range l.Publishers {
		p, err := newPublisher(ctx, &r.load, i)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.publishers = append(r.publishers, p)
	}
	return r, nil
}

func (r *Run) declare() error {
	l, c := &r.load, r.control
	if l.Exchange != "" {
		kind, args := l.ExchangeType, ""
		if l.DelayMs > 0 {
			kind, args = "x-delayed-message", table("x-delayed-type", l.ExchangeType)
		}
		if _, err := c.Call(method(exchangeDeclare).u16(0).short(l.Exchange).short(kind).u8(2).long(args), exchangeDeclareOk); err != nil {
			return err
		}
	}
	if l.DyingMs > 0 {
		dead := number("x-message-ttl", l.DyingMs) + table("x-dead-letter-exchange", "", "x-dead-letter-routing-key", l.Name)
		if _, err := c.Call(method(queueDeclare).u16(0).short(l.dying()).u8(2).long(dead), queueDeclareOk); err != nil {
			return err
		}
	}
	for i := range l.Queues {
		kind := ""
		if l.Stream {
			kind = table("x-queue-type", "stream") + number("x-max-length-bytes", streamBytes)
		}
		limits := number("x-message-ttl", l.TTLMs) + number("x-max-length", l.MaxLength) + number("x-max-priority", max(l.Priorities-1, 0))
		if _, err := c.Call(method(queueDeclare).u16(0).short(l.queue(i)).u8(2).long(limits+kind), queueDeclareOk); err != nil {
			return err
		}
		if l.Exchange == "" {
			continue
		}
		if err := r.bind(l.queue(i), "k.*.x"); err != nil {
			return err
		}
		for j := range l.ExtraBinds {
			if err := r.bind(l.queue(i), fmt.Sprintf("k.%d.#", 1_000_000+j)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Run) bind(queue, key string) error {
	_, err := r.control.Call(method(queueBind).u16(0).short(queue).short(r.load.Exchange).short(key).u8(0).u32(0), queueBindOk)
	return err
}

// Attach opens the consumers, one a queue; they begin when PublishAndConsume or Drain does.
func (r *Run) Attach(ctx context.Context) error {
	for i := range r.load.Queues {
		k, err := newConsumer(ctx, &r.load, r.load.queue(i))
		if err != nil {
			return err
		}
		r.consumers = append(r.consumers, k)
	}
	return nil
}

// Publish does the load's publishing alone, which leaves a backlog.
func (r *Run) Publish(ctx context.Context) (Result, error) {
	return r.PublishFrom(ctx, time.Now())
}

// PublishFrom is Publish with stamps that count from an epoch given by who reads them.
func (r *Run) PublishFrom(ctx context.Context, epoch time.Time) (Result, error) {
	return r.run(ctx, epoch, r.publishers, nil, nil)
}

// ConsumeWhile consumes what write sends to the one queue, with whatever client. The write
// is given the epoch from which the stamps of its one sender must count, and returns how
// many messages it sent.
func (r *Run) ConsumeWhile(ctx context.Context, write func(context.Context, time.Time) (int64, error)) (Result, error) {
	return r.run(ctx, time.Now(), nil, r.consumers, write)
}

// Drain consumes what Publish left.
func (r *Run) Drain(ctx context.Context) (Result, error) {
	return r.run(ctx, time.Now(), nil, r.consumers, nil)
}

// PublishAndConsume does both at once.
func (r *Run) PublishAndConsume(ctx context.Context) (Result, error) {
	return r.run(ctx, time.Now(), r.publishers, r.consumers, nil)
}

func (r *Run) run(ctx context.Context, epoch time.Time, publishers []*publisher, consumers []*consumer, write func(context.Context, time.Time) (int64, error)) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, r.abort)
	defer stop()
	began := time.Since(epoch)
	var consuming, publishing sync.WaitGroup
	for _, k := range consumers {
		consuming.Go(func() { failWith(cancel, k.run(epoch)) })
	}
	for _, p := range publishers {
		total := r.load.Messages / int64(r.load.Publishers)
		publishing.Go(func() {
			failWith(cancel, p.run(epoch, total, r.load.For))
			r.sent[p.index] = p.sent.Load()
		})
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		measure.WatchProgress(ctx, cancel, r.progress, r.state)
	}()
	if write != nil {
		publishing.Go(func() {
			n, err := write(ctx, epoch)
			r.sent[0] = n
			failWith(cancel, err)
		})
	}
	publishing.Wait()
	published := time.Since(epoch) - began
	for i, k := range consumers {
		k.expectTotal(sum(r.expected(i)))
	}
	consuming.Wait()
	failure := context.Cause(ctx)
	stop() // the connections stay open for what follows
	cancel(nil)
	<-watched
	if failure != nil {
		return Result{}, failure
	}
	return r.result(publishers, consumers, published)
}

func failWith(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

// abort ends every connection, and with it every goroutine of the run.
func (r *Run) abort() {
	for _, p := range r.publishers {
		p.conn.Close()
	}
	for _, k := range r.consumers {
		k.conn.Close()
	}
}

// progress counts messages published, confirmed and delivered so far.
func (r *Run) progress() (n int64) {
	for _, p := range r.publishers {
		n += p.sent.Load() + p.confirmed.Load()
	}
	for _, k := range r.consumers {
		n += k.got.Load()
	}
	return n
}

func (r *Run) state() string {
	var sent, confirmed, got int64
	for _, p := range r.publishers {
		sent += p.sent.Load()
		confirmed += p.confirmed.Load()
	}
	for _, k := range r.consumers {
		got += k.got.Load()
	}
	return fmt.Sprintf("%d published, %d confirmed, %d delivered", sent, confirmed, got)
}

// expected is how many messages of each publisher belong into a queue.
func (r *Run) expected(queue int) []int64 {
	e := make([]int64, len(r.sent))
	for p, n := range r.sent {
		if r.load.Exchange != "" || p%r.load.Queues == queue {
			e[p] = n
		}
	}
	return e
}

func sum(v []int64) (n int64) {
	for _, x := range v {
		n += x
	}
	return n
}

func (r *Run) result(publishers []*publisher, consumers []*consumer, published time.Duration) (Result, error) {
	out := Result{Latency: measure.NewLatencies(), Confirm: measure.NewLatencies()}
	if len(publishers) > 0 {
		out.Elapsed = published
	}
	for _, p := range publishers {
		out.Published += p.sent.Load()
		out.Confirmed += p.confirmed.Load()
		out.Confirm.Merge(p.confirm)
		out.Late = max(out.Late, p.late)
	}
	var errs []error
	for i, k := range consumers {
		out.Delivered += k.check.Count
		out.Latency.Merge(k.latency)
		out.Elapsed = max(out.Elapsed, k.lastAt)
		if err := k.check.Err(r.expected(i)); err != nil {
			errs = append(errs, fmt.Errorf("queue %s: %w", k.queue, err))
		}
	}
	return out, errors.Join(errs...)
}

// CheckEmpty makes sure that nothing is left in the queues: all that was consumed is
// acknowledged, and nothing came twice. It ends the consumers' connections. A stream keeps what it has.
func (r *Run) CheckEmpty() error {
	for _, k := range r.consumers {
		k.conn.Shut()
	}
	r.consumers = nil
	if r.load.Stream {
		return nil
	}
	return r.CheckHolds(0)
}

// CheckHolds makes sure that each queue holds so many messages. Brokers count a little
// behind, so they are given time.
func (r *Run) CheckHolds(messages int64) error {
	for i := range r.load.Queues {
		if err := r.waitDepth(r.load.queue(i), messages); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) waitDepth(queue string, want int64) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		p, err := r.control.Call(method(queueDeclare).u16(0).short(queue).u8(1).u32(0), queueDeclareOk)
		if err != nil {
			return fmt.Errorf("look at queue %s: %w", queue, err)
		}
		if len(p) < 1 || len(p) < 9+int(p[0]) {
			return errors.New("queue.declare-ok cut short")
		}
		holds := int64(binary.BigEndian.Uint32(p[1+int(p[0]):]))
		if holds == want {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("queue %s holds %d messages, it should hold %d", queue, holds, want)
		}
	}
}

// Close deletes what was declared and ends the connections. The run must have ended.
func (r *Run) Close() {
	for _, p := range r.publishers {
		p.conn.Close()
	}
	for _, k := range r.consumers {
		k.conn.Close()
	}
	_ = r.control.SetDeadline(time.Now().Add(handshakeTimeout))
	for i := range r.load.Queues {
		_, _ = r.control.Call(method(queueDelete).u16(0).short(r.load.queue(i)).u8(0), queueDeleteOk)
	}
	if r.load.DyingMs > 0 {
		_, _ = r.control.Call(method(queueDelete).u16(0).short(r.load.dying()).u8(0), queueDeleteOk)
	}
	if r.load.Exchange != "" {
		_, _ = r.control.Call(method(exchangeDelete).u16(0).short(r.load.Exchange).u8(0), exchangeDeleteOk)
	}
	r.control.Shut()
}
