package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Figures are what the log says, computed from one pass over its lines.
type Figures struct {
	Tally       Tally
	Unreadable  uint64
	Body        int64 // bytes sent to clients
	Status      [1000]uint64
	First, Last time.Time
	Seconds     map[int64]uint32
	Paths       map[string]*PathFigures
	Timed       uint64 // lines that tell how long the request took
}

// PathFigures are those of one path of one service.
type PathFigures struct {
	Name    string
	Count   uint64
	Errors  uint64
	Bytes   int64
	Took    [tookBuckets]uint32
	Longest time.Duration
	timed   uint64
}

const (
	// maxPaths bounds the memory; what comes later is counted as "(other paths)".
	maxPaths     = 100_000
	maxNameBytes = 120
	// Buckets of request times: each is a quarter longer than the one before, from 100 µs on.
	tookBuckets = 72
	firstBucket = 100 * time.Microsecond
	growth      = 1.25
)

func newFigures() *Figures {
	return &Figures{Seconds: map[int64]uint32{}, Paths: map[string]*PathFigures{}}
}

// add takes one line; key is the routing key that it came with.
func (f *Figures) add(key, text []byte) {
	f.Tally.add(text)
	l, err := parseLine(text)
	if err != nil {
		f.Unreadable++
		return
	}
	f.Body += l.Bytes
	f.Status[l.Status]++
	if f.First.IsZero() || l.Time.Before(f.First) {
		f.First = l.Time
	}
	if l.Time.After(f.Last) {
		f.Last = l.Time
	}
	f.Seconds[l.Time.Unix()]++
	if l.HasTook {
		f.Timed++
	}
	f.path(key, l.Path).add(&l)
}

func (f *Figures) path(key, path []byte) *PathFigures {
	service := key
	if i := slices.Index(key, '.'); i >= 0 {
		service = key[:i]
	}
	var buf [maxNameBytes]byte
	name := append(buf[:0], service[:min(len(service), 60)]...)
	name = append(name, ' ')
	name = append(name, path[:min(len(path), maxNameBytes-len(name))]...)
	p := f.Paths[string(name)]
	if p != nil {
		return p
	}
	if len(f.Paths) >= maxPaths {
		name = append(name[:0], "(other paths)"...)
		if p = f.Paths[string(name)]; p != nil {
			return p
		}
	}
	p = &PathFigures{Name: string(name)}
	f.Paths[p.Name] = p
	return p
}

func (p *PathFigures) add(l *Line) {
	p.Count++
	p.Bytes += l.Bytes
	if l.Status >= 500 {
		p.Errors++
	}
	if l.HasTook {
		p.timed++
		p.Longest = max(p.Longest, l.Took)
		p.Took[bucketOf(l.Took)]++
	}
}

func bucketOf(d time.Duration) int {
	if d <= firstBucket {
		return 0
	}
	return min(int(math.Ceil(math.Log(float64(d)/float64(firstBucket))/math.Log(growth))), tookBuckets-1)
}

// quantile returns the time within which the share q of the requests was done,
// at most a quarter too long.
func (p *PathFigures) quantile(q float64) time.Duration {
	want, seen := uint64(math.Ceil(q*float64(p.timed))), uint64(0)
	for i, n := range p.Took {
		if seen += uint64(n); seen >= want && n > 0 {
			return min(time.Duration(float64(firstBucket)*math.Pow(growth, float64(i))), p.Longest)
		}
	}
	return p.Longest
}

// peak returns the second with the most requests.
func (f *Figures) peak() (second time.Time, requests uint32) {
	var best int64
	for s, n := range f.Seconds {
		if n > requests || n == requests && s < best {
			best, requests = s, n
		}
	}
	return time.Unix(best, 0).UTC(), requests
}

// top returns the n paths that come first by a figure.
func (f *Figures) top(n int, figure func(*PathFigures) float64) []*PathFigures {
	var all []*PathFigures
	for _, p := range f.Paths {
		if figure(p) > 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *PathFigures) int {
		return cmp.Or(cmp.Compare(figure(b), figure(a)), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(n, len(all))]
}

// Analyst is a member of a Kafka group that reads the queue of all lines.
type Analyst struct {
	Figures *Figures
	Took    time.Duration

	client *kgo.Client
	read   atomic.Uint64
	stop   context.CancelFunc
	done   chan error
	bar    *demo.Bar
}

func startAnalyst(ctx context.Context, b *demo.Broker, bar *demo.Bar) (*Analyst, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(b.Kafka), kgo.ClientID("weblogs-report"), kgo.ConsumerGroup(reportGroup), kgo.ConsumeTopics(allQueue),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond), kgo.FetchMaxBytes(16<<20),
		kgo.AutoCommitInterval(time.Second),
	)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	a := &Analyst{Figures: newFigures(), client: client, stop: stop, done: make(chan error, 1), bar: bar}
	go func() { a.done <- a.run(ctx) }()
	return a, nil
}

func (a *Analyst) run(ctx context.Context) error {
	for {
		fetches := a.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", allQueue, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { a.Figures.add(r.Key, r.Value) })
		a.read.Store(a.Figures.Tally.Lines)
		a.bar.Set(a.Figures.Tally.Lines)
	}
}

// finish waits until so many lines were read, commits and leaves the group.
func (a *Analyst) finish(ctx context.Context, lines uint64) error {
	defer a.client.Close()
	a.bar.Total(lines)
	var ended error
	over := false
	err := demo.Until(ctx, func() bool {
		select {
		case ended = <-a.done:
			over = true
			return true
		default:
			return a.read.Load() >= lines
		}
	})
	if over {
		return cmp.Or(ended, errors.New("the group's reader ended early"))
	}
	a.stop()
	if e := <-a.done; e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("%d of %d lines read: %w", a.read.Load(), lines, err)
	}
	a.bar.Finish(a.read.Load())
	if err := a.client.CommitUncommittedOffsets(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
