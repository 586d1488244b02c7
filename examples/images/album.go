package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Result is one finished size of a picture. The picture itself stays in the log:
// here is only at which offset.
type Result struct {
	Width  int           `json:"width"`
	Height int           `json:"height"`
	Bytes  int           `json:"bytes"`
	Worker string        `json:"worker"`
	Waited time.Duration `json:"-"`
	Took   time.Duration `json:"-"`
	Error  string        `json:"error,omitempty"` // instead of a picture
	Offset int64         `json:"-"`
}

// Picture is what a page shows of one upload.
type Picture struct {
	ID    string            `json:"id"`
	Name  string            `json:"name"`
	Sizes map[string]Result `json:"sizes"`

	changed uint64 // the album's step at which it changed last
}

// Album is what a web server knows of pictures. All of it comes from the log, read
// from its beginning: a server that starts late, or anew, knows what the others know.
type Album struct {
	kafka  string
	client *kgo.Client
	wait   sync.WaitGroup

	mu       sync.Mutex // guards the rest
	pictures map[string]*Picture
	order    []*Picture // as they were taken
	step     uint64
	news     chan struct{} // closed at the next change
	next     int64         // offset of the next record
	err      error
}

// maxPictures is how many an album shows; the oldest leave it, not the log.
const maxPictures = 5000

func openAlbum(ctx context.Context, b *demo.Broker) (*Album, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.ClientID("images-web"), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{albumQueue: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	a := &Album{kafka: b.Kafka, client: client, pictures: map[string]*Picture{}, news: make(chan struct{})}
	a.wait.Go(func() { a.run(ctx) })
	return a, nil
}

func (a *Album) close() {
	a.client.Close()
	a.wait.Wait()
}

func (a *Album) run(ctx context.Context) {
	for {
		fetches := a.client.PollFetches(ctx)
		if fetches.IsClientClosed() || ctx.Err() != nil {
			return
		}
		if err := fetches.Err(); err != nil {
			a.mu.Lock()
			a.err = fmt.Errorf("read %s: %w", albumQueue, err)
			a.mu.Unlock()
			return
		}
		a.mu.Lock()
		fetches.EachRecord(a.add)
		close(a.news)
		a.news = make(chan struct{})
		a.mu.Unlock()
	}
}

func (a *Album) add(r *kgo.Record) {
	a.next = r.Offset + 1
	h := demo.Headers(r)
	id := h[idHeader]
	if id == "" {
		return
	}
	a.step++
	p := a.pictures[id]
	if p == nil {
		p = &Picture{ID: id, Sizes: map[string]Result{}}
		a.pictures[id], a.order = p, append(a.order, p)
		if len(a.order) > maxPictures {
			delete(a.pictures, a.order[0].ID)
			a.order = a.order[1:]
		}
	}
	p.changed = a.step
	p.Name = h[nameHeader]
	size, done := strings.CutPrefix(string(r.Key), donePfx)
	if _, twice := p.Sizes[size]; !done || twice { // a worker that died before its ack leaves a second one
		return
	}
	p.Sizes[size] = resultOf(h, r)
}

func resultOf(h map[string]string, r *kgo.Record) Result {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(h[name], 10, 64)
		return n
	}
	return Result{Width: int(number(widthHeader)), Height: int(number(heightHeader)), Bytes: len(r.Value), Worker: h[workerHeader],
		Waited: time.Duration(number(waitedHeader)) * time.Millisecond, Took: time.Duration(number(tookHeader)) * time.Millisecond,
		Error: h[errorHeader], Offset: r.Offset}
}

// since is a copy of what changed after a step, the step now, and a channel that is
// closed when there is more.
func (a *Album) since(step uint64) (changed []Picture, now uint64, more <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if step < a.step {
		for _, p := range a.order {
			if p.changed > step {
				changed = append(changed, p.copy())
			}
		}
	}
	return changed, a.step, a.news
}

func (p *Picture) copy() Picture {
	c := *p
	c.Sizes = make(map[string]Result, len(p.Sizes))
	for name, r := range p.Sizes {
		c.Sizes[name] = r
	}
	return c
}

func (a *Album) picture(id string) (Picture, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.pictures[id]; p != nil {
		return p.copy(), true
	}
	return Picture{}, false
}

// until waits until enough says so of every picture and the offset that was read up to.
func (a *Album) until(ctx context.Context, enough func(pictures []Picture, next int64) bool) error {
	ctx, cancel := context.WithTimeout(ctx, demo.Patience)
	defer cancel()
	for {
		all, _, more := a.since(0)
		a.mu.Lock()
		next, err := a.next, a.err
		a.mu.Unlock()
		if err != nil || enough(all, next) {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("%d pictures in the album so far: %w", len(all), context.Cause(ctx))
		}
	}
}

// read fetches one record of the album by its offset and writes its picture.
func (a *Album) read(ctx context.Context, offset int64, w io.Writer) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(a.kafka), kgo.ClientID("images-web-read"), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{albumQueue: {0: kgo.NewOffset().At(offset)}}))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	fetches := client.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		return err
	}
	for _, r := range fetches.Records() {
		if r.Offset == offset {
			_, err := w.Write(r.Value)
			return err
		}
	}
	return errors.New("the log does not have it any more")
}
