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

// Event is one thing that a worker told.
type Event struct {
	Key     string // begun, progress, finished, broken, dropped; done for a result, failed for a job that was set aside
	ID      string
	Worker  string
	Attempt int
	Percent int
	Reason  string
	Took    time.Duration
	At      time.Time
}

const doneKey = "done" // of an event that is a result

func eventOf(r *kgo.Record) Event {
	h := demo.Headers(r)
	number := func(name string) int {
		n, _ := strconv.Atoi(h[name])
		return n
	}
	e := Event{Key: string(r.Key), ID: h[idHeader], Worker: h[workerHeader], Attempt: number(attemptHeader), Percent: number(percentHeader),
		Reason: h[reasonHeader], Took: time.Duration(number(tookHeader)) * time.Millisecond, At: r.Timestamp}
	switch r.Topic {
	case doneQueue:
		e.Key = doneKey
	case failedQueue:
		e.Key, e.Reason = failedKey, h["x-first-death-reason"]
	}
	return e
}

// Watch reads the logs as they grow, and calls each for each event, one at a time.
type Watch struct {
	client *kgo.Client
	wait   sync.WaitGroup

	mu     sync.Mutex // guards the rest
	events []Event
	err    error
}

func startWatch(ctx context.Context, b *demo.Broker, each func(Event)) (*Watch, error) {
	start := map[int32]kgo.Offset{0: kgo.NewOffset().AtStart()}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.ClientID("video-watch"), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{logQueue: start, doneQueue: start, failedQueue: start}))
	if err != nil {
		return nil, err
	}
	w := &Watch{client: client}
	w.wait.Go(func() {
		for {
			fetches := client.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			err := fetches.Err()
			w.mu.Lock()
			if err != nil {
				w.err = fmt.Errorf("read the logs: %w", err)
				w.mu.Unlock()
				return
			}
			var fresh []Event
			fetches.EachRecord(func(r *kgo.Record) { fresh = append(fresh, eventOf(r)) })
			w.events = append(w.events, fresh...)
			w.mu.Unlock()
			for _, e := range fresh {
				each(e)
			}
		}
	})
	return w, nil
}

func (w *Watch) close() {
	w.client.Close()
	w.wait.Wait()
}

// until waits until the events are as they should be.
func (w *Watch) until(ctx context.Context, what string, done func([]Event) bool) error {
	var failed error
	err := demo.Until(ctx, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		failed = w.err
		return failed != nil || done(w.events)
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("waiting until %s: %w", what, err)
	}
	return nil
}

// first waits for an event, from what was told already on. With unless, found is false
// when that is so of an event before.
func (w *Watch) first(ctx context.Context, what string, is, unless func(Event) bool) (e Event, found bool, err error) {
	err = w.until(ctx, what, func(events []Event) bool {
		for _, x := range events {
			if is(x) {
				e, found = x, true
				return true
			}
			if unless != nil && unless(x) {
				return true
			}
		}
		return false
	})
	return e, found, err
}

// settled is how many videos have a result or were set aside.
func settled(events []Event) int {
	ids := map[string]bool{}
	for _, e := range events {
		if e.Key == doneKey || e.Key == failedKey {
			ids[e.ID] = true
		}
	}
	return len(ids)
}

// readEvents has a Kafka group read the three logs from the beginning.
func readEvents(ctx context.Context, b *demo.Broker) (events []Event, err error) {
	err = b.ReadAll(ctx, reportGroup, []string{logQueue, doneQueue, failedQueue}, func(r *kgo.Record) error {
		events = append(events, eventOf(r))
		return nil
	})
	return events, err
}
