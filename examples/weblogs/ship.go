package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Tally counts lines, and adds up their hashes so that two tallies are equal
// only if they are of the same lines, in whatever order.
type Tally struct {
	Lines uint64
	Sum   uint64
}

func (t *Tally) add(text []byte) {
	t.Lines++
	t.Sum += xxhash.Sum64(text)
}

func (t *Tally) plus(o Tally) {
	t.Lines += o.Lines
	t.Sum += o.Sum
}

// Shipped is what went in.
type Shipped struct {
	All, Errors Tally            // everything, and the error lines of it
	Minutes     map[int64]*Ticks // the archived part, by minute of the lines' own times
	MaxLateness time.Duration    // how far a line's time lay behind an earlier line's, at most
	Kafka, AMQP uint64           // lines by the way they took
	KafkaTook   time.Duration
	AMQPTook    time.Duration
	LiveFrom    time.Time // when the first line was published by AMQP
	LiveLines   Tally

	latest      time.Time
	minute      int64 // that minuteTicks are of
	minuteTicks *Ticks
}

// Ticks are the lines of one minute.
type Ticks struct{ All, Errors Tally }

func newShipped() *Shipped { return &Shipped{Minutes: map[int64]*Ticks{}} }

func (s *Shipped) note(e Entry) {
	s.All.add(e.Text)
	if e.Error {
		s.Errors.add(e.Text)
	}
}

// noteArchived also counts by minute and watches the order of the times.
func (s *Shipped) noteArchived(e Entry) {
	s.note(e)
	s.Kafka++
	if e.Time.After(s.latest) {
		s.latest = e.Time
	}
	s.MaxLateness = max(s.MaxLateness, s.latest.Sub(e.Time))
	if m := e.Time.Unix() / 60; m != s.minute || s.minuteTicks == nil {
		s.minute = m
		if s.minuteTicks = s.Minutes[m]; s.minuteTicks == nil {
			s.minuteTicks = &Ticks{}
			s.Minutes[m] = s.minuteTicks
		}
	}
	s.minuteTicks.All.add(e.Text)
	if e.Error {
		s.minuteTicks.Errors.add(e.Text)
	}
}

// ship sends the source's lines, the first part through Kafka as an archive with
// the lines' own times, the rest through AMQP as they would come in live. One
// follows the other so that record times rise along the log, as they do in life:
// AMQP has no time of the publisher's, the broker stamps the arrival.
func ship(ctx context.Context, b *demo.Broker, src Source, liveShare float64, p *demo.Progress) (*Shipped, error) {
	live := uint64(float64(src.Lines()) * liveShare)
	archived := uint64(src.Lines()) - live
	s := newShipped()
	if err := shipKafka(ctx, b, src, archived, s, p.Bar("archived lines through Kafka", archived)); err != nil {
		return nil, err
	}
	if err := shipAMQP(ctx, b, src, s, p.Bar("newest lines through AMQP", live)); err != nil {
		return nil, err
	}
	return s, nil
}

func shipKafka(ctx context.Context, b *demo.Broker, src Source, count uint64, s *Shipped, bar *demo.Bar) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(b.Kafka), kgo.ClientID("weblogs-shipper"),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1<<20),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	start := time.Now()
	var failed atomic.Pointer[error]
	var acked atomic.Uint64
	var done sync.WaitGroup
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
		acked.Add(1)
		done.Done()
	}
	var slab []byte // lines lie one behind the other: fewer, larger allocations
	for range count {
		e, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if cap(slab)-len(slab) < len(e.Text) {
			slab = make([]byte, 0, max(256<<10, len(e.Text)))
		}
		from := len(slab)
		slab = append(slab, e.Text...)
		s.noteArchived(e)
		done.Add(1)
		client.Produce(ctx, &kgo.Record{Topic: feedTopic, Key: e.Key, Value: slab[from:len(slab):len(slab)], Timestamp: e.Time}, promise)
		if s.Kafka%4096 == 0 {
			bar.Set(acked.Load())
			if failed.Load() != nil || ctx.Err() != nil {
				break
			}
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("send to topic %s: %w", feedTopic, err)
	}
	done.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("send to topic %s: %w", feedTopic, *err)
	}
	bar.Finish(s.Kafka)
	s.KafkaTook = time.Since(start)
	return ctx.Err()
}

// confirmWindow is how many publishes may wait for their confirms.
const confirmWindow = 2000

func shipAMQP(ctx context.Context, b *demo.Broker, src Source, s *Shipped, bar *demo.Bar) error {
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("confirm mode: %w", err)
	}
	start := time.Now()
	s.LiveFrom = start.Truncate(time.Millisecond)
	var waiting []*amqp.DeferredConfirmation
	settle := func(keep int) error {
		for ; len(waiting) > keep; waiting = waiting[1:] {
			ok, err := waiting[0].WaitContext(ctx)
			if err != nil {
				return fmt.Errorf("wait for a confirm: %w", err)
			}
			if !ok {
				return fmt.Errorf("the broker refused message %d", waiting[0].DeliveryTag)
			}
		}
		return nil
	}
	for {
		e, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		s.note(e)
		s.LiveLines.add(e.Text)
		s.AMQP++
		confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchangeName, string(e.Key), false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "text/plain", Body: e.Text})
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		waiting = append(waiting, confirm)
		if len(waiting) >= confirmWindow {
			if err := settle(confirmWindow / 2); err != nil {
				return err
			}
			bar.Set(s.AMQP - uint64(len(waiting)))
		}
	}
	if err := settle(0); err != nil {
		return err
	}
	bar.Finish(s.AMQP)
	s.AMQPTook = time.Since(start)
	return nil
}
