package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Ledger is what became of each mail, as the two logs tell it: those that were sent,
// and those that died, of which some are sent later.
type Ledger struct {
	Sent     map[string]*Sent // by recipient
	Died     map[string]string
	Twice    int // records of a mail that was sent already
	Deaths   map[string]int
	Attempts map[int]int // mails by the attempt that succeeded
}

// Sent is one mail that a mail server took.
type Sent struct {
	Segment string
	At      time.Time // of its record in the log
}

func newLedger() *Ledger {
	return &Ledger{Sent: map[string]*Sent{}, Died: map[string]string{}, Deaths: map[string]int{}, Attempts: map[int]int{}}
}

func (l *Ledger) add(r *kgo.Record) {
	h := demo.Headers(r)
	to := h[recipientHeader]
	if r.Topic == deadQueue {
		l.Deaths[h[reasonHeader]]++
		l.Died[to] = h[reasonHeader]
		return
	}
	if l.Sent[to] != nil {
		l.Twice++
		return
	}
	l.Sent[to] = &Sent{Segment: h[segmentHeader], At: r.Timestamp}
	n, _ := strconv.Atoi(h[attemptHeader])
	l.Attempts[n]++
}

// Outcome counts the mails by where they are in the end.
type Outcome struct{ Sent, Expired, Dead, Revived int }

// All is how many mails there are a word about.
func (o Outcome) All() int { return o.Sent + o.Expired + o.Dead }

func (l *Ledger) outcome() Outcome {
	o := Outcome{Sent: len(l.Sent)}
	for to, reason := range l.Died {
		switch {
		case l.Sent[to] != nil:
			o.Revived++
		case reason == reasonExpired:
			o.Expired++
		default:
			o.Dead++
		}
	}
	return o
}

// Watch reads both logs as they grow.
type Watch struct {
	client *kgo.Client
	wait   sync.WaitGroup

	mu     sync.Mutex // guards the rest
	ledger *Ledger
	err    error
}

func startWatch(ctx context.Context, b *demo.Broker, each func(Outcome)) (*Watch, error) {
	start := map[int32]kgo.Offset{0: kgo.NewOffset().AtStart()}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.ClientID("campaign-watch"), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{sentQueue: start, deadQueue: start}))
	if err != nil {
		return nil, err
	}
	w := &Watch{client: client, ledger: newLedger()}
	w.wait.Go(func() {
		for {
			fetches := client.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			w.mu.Lock()
			if err := fetches.Err(); err != nil {
				w.err = fmt.Errorf("read the logs: %w", err)
				w.mu.Unlock()
				return
			}
			fetches.EachRecord(w.ledger.add)
			each(w.ledger.outcome())
			w.mu.Unlock()
		}
	})
	return w, nil
}

func (w *Watch) close() {
	w.client.Close()
	w.wait.Wait()
}

// until waits until the ledger is as it should be.
func (w *Watch) until(ctx context.Context, what string, done func(*Ledger) bool) error {
	var failed error
	var now Outcome
	err := demo.Until(ctx, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		failed, now = w.err, w.ledger.outcome()
		return failed != nil || done(w.ledger)
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("waiting until %s (%d sent, %d expired, %d dead): %w", what, now.Sent, now.Expired, now.Dead, err)
	}
	return nil
}

// readLedger has a Kafka group read both logs from the beginning.
func readLedger(ctx context.Context, b *demo.Broker) (*Ledger, error) {
	l := newLedger()
	err := b.ReadAll(ctx, reportGroup, []string{sentQueue, deadQueue}, func(r *kgo.Record) error {
		l.add(r)
		return nil
	})
	return l, err
}
