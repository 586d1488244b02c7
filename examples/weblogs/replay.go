package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Replay is what one replay by time brought.
type Replay struct {
	What       string
	From, To   time.Time // To is zero for "until the end"
	Start, End int64     // offsets, as the broker named them for these times
	Want, Got  Tally
	Took       time.Duration
}

// Whole reports whether exactly the lines that went in came out again.
func (r *Replay) Whole() bool { return r.Got == r.Want }

const replayWindow = 10 * time.Minute

// worstTenMinutes finds the ten whole minutes of the archived part with the most
// error lines (of equal ones the most lines, then the earliest).
func worstTenMinutes(minutes map[int64]*Ticks) (from time.Time, want Ticks) {
	var starts []int64
	for m := range minutes {
		starts = append(starts, m)
	}
	slices.Sort(starts)
	best := Ticks{}
	var first int64
	for _, m := range starts {
		sum := Ticks{}
		for i := range int64(replayWindow / time.Minute) {
			if t := minutes[m+i]; t != nil {
				sum.All.plus(t.All)
				sum.Errors.plus(t.Errors)
			}
		}
		if sum.Errors.Lines > best.Errors.Lines || sum.Errors.Lines == best.Errors.Lines && sum.All.Lines > best.All.Lines {
			best, first = sum, m
		}
	}
	return time.Unix(first*60, 0).UTC(), best
}

// replayByTime reads the records of a queue whose times lie in [from, to); a zero
// to means until the end. The broker is asked for the offsets of the two times.
//
// Every record with a time of at least from lies at or behind the first one of
// that time, so the start is exact. Lines may be out of order by lateness: behind
// the first record of to+lateness none of a time before to can follow.
func replayByTime(ctx context.Context, b *demo.Broker, queue string, from, to time.Time, lateness time.Duration) (*Replay, error) {
	r := &Replay{From: from, To: to}
	began := time.Now()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.ClientID("weblogs-replay"), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(client)
	if r.Start, err = offsetAt(ctx, admin, queue, from); err == nil {
		if to.IsZero() {
			r.End, err = endOf(ctx, admin, queue)
		} else {
			r.End, err = offsetAt(ctx, admin, queue, to.Add(lateness))
		}
	}
	client.Close()
	if err != nil {
		return nil, err
	}
	if r.Start < r.End {
		if err := r.read(ctx, b, queue); err != nil {
			return nil, err
		}
	}
	r.Took = time.Since(began)
	return r, nil
}

func (r *Replay) read(ctx context.Context, b *demo.Broker, queue string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.ClientID("weblogs-replay"), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{queue: {0: kgo.NewOffset().At(r.Start)}}))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, demo.Patience)
	defer cancel()
	for next := r.Start; next < r.End; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("replay %s at offset %d of %d: %w", queue, next, r.End, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			next = rec.Offset + 1
			if rec.Offset < r.End && !rec.Timestamp.Before(r.From) && (r.To.IsZero() || rec.Timestamp.Before(r.To)) {
				r.Got.add(rec.Value)
			}
		})
	}
	return nil
}

// offsetAt is the offset of the first record of that time or later, or the end.
func offsetAt(ctx context.Context, admin *kadm.Client, queue string, at time.Time) (int64, error) {
	listed, err := admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), queue)
	return only(listed, err, queue)
}

func endOf(ctx context.Context, admin *kadm.Client, queue string) (int64, error) {
	listed, err := admin.ListEndOffsets(ctx, queue)
	return only(listed, err, queue)
}

func only(listed kadm.ListedOffsets, err error, queue string) (int64, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("offsets of %s: %w", queue, err)
	}
	o, ok := listed.Lookup(queue, 0)
	if !ok {
		return 0, fmt.Errorf("offsets of %s: partition 0 is missing in the answer", queue)
	}
	return o.Offset, nil
}
