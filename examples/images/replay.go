package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"io"
	"net/http"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// addSquares makes a size that nobody had thought of, of the pictures that came
// before: their jobs are long acked, and the log still has them.
func addSquares(ctx context.Context, b *demo.Broker) (n int, took time.Duration, err error) {
	began := time.Now()
	conn, err := b.Dial()
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	p, err := demo.NewPublisher(conn)
	if err != nil {
		return 0, 0, err
	}
	err = b.ReadAll(ctx, squareGroup, []string{originalsQueue}, func(r *kgo.Record) error {
		h := demo.Headers(r)
		table := amqp.Table{idHeader: h[idHeader], nameHeader: h[nameHeader], workerHeader: squareGroup}
		start := time.Now()
		picture, width, height, err := resize(r.Value, square)
		if err != nil {
			table[errorHeader] = err.Error()
		} else {
			table[widthHeader], table[heightHeader] = int32(width), int32(height)
		}
		table[tookHeader] = time.Since(start).Milliseconds()
		n++
		return p.Send(ctx, exchangeName, donePfx+square.Name, amqp.Publishing{ContentType: "image/jpeg", Headers: table, Body: picture})
	})
	return n, time.Since(began), err
}

// Late is what a second web server knows that was started when all was over.
type Late struct {
	Took     time.Duration
	Pictures int
	Same     bool // as the first one's, to the byte
	Why      string
}

// comeLate starts a second web server and compares it with the first.
func comeLate(ctx context.Context, b *demo.Broker, first *Server) (*Late, error) {
	want, _, _ := first.Album.since(0)
	first.Album.mu.Lock()
	end := first.Album.next
	first.Album.mu.Unlock()
	began := time.Now()
	second, err := startServer(ctx, b, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer second.close()
	if err := second.Album.until(ctx, func(_ []Picture, next int64) bool { return next >= end }); err != nil {
		return nil, err
	}
	l := &Late{Took: time.Since(began), Same: true}
	got, _, _ := second.Album.since(0)
	l.Pictures = len(got)
	if len(got) != len(want) {
		l.Same, l.Why = false, fmt.Sprintf("%d pictures, the first one has %d", len(got), len(want))
		return l, nil
	}
	for i, p := range want {
		if got[i].ID != p.ID || len(got[i].Sizes) != len(p.Sizes) {
			l.Same, l.Why = false, fmt.Sprintf("picture %d differs", i+1)
			return l, nil
		}
	}
	// The pictures themselves: the newest one, every size, from both servers.
	if len(want) > 0 {
		for size := range want[len(want)-1].Sizes {
			path := "pictures/" + want[len(want)-1].ID + "/" + size + ".jpg"
			a, errA := get(ctx, first.URL+path)
			b, errB := get(ctx, second.URL+path)
			if errA != nil || errB != nil || sha256.Sum256(a) != sha256.Sum256(b) {
				l.Same, l.Why = false, fmt.Sprintf("%s: %v %v", path, errA, errB)
			}
		}
	}
	return l, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", res.Status)
	}
	return io.ReadAll(res.Body)
}

// Figures are what the report says of one size.
type Figures struct {
	Count, Failed, Wrong int
	Bytes                int64
	Waited, Took         []time.Duration
}

// Count is what a Kafka group finds in the album.
type Count struct {
	Sizes  map[string]*Figures
	Taken  int
	Twice  int            // results that came a second time, of a worker that had died
	Shares map[string]int // results by worker
	Early  int            // thumbs that were there before the first large picture
}

// count reads the whole album by a Kafka group, unpacks every picture in it and
// looks whether it has the size that it should have.
func count(ctx context.Context, b *demo.Broker) (*Count, error) {
	c := &Count{Sizes: map[string]*Figures{}, Shares: map[string]int{}}
	seen := map[string]bool{}
	err := b.ReadAll(ctx, reportGroup, []string{albumQueue}, func(r *kgo.Record) error {
		h := demo.Headers(r)
		name, done := strings.CutPrefix(string(r.Key), donePfx)
		if !done {
			c.Taken++
			return nil
		}
		key := h[idHeader] + "/" + name
		if seen[key] {
			c.Twice++
			return nil
		}
		seen[key] = true
		f := c.Sizes[name]
		if f == nil {
			f = &Figures{}
			c.Sizes[name] = f
		}
		if name == sizes[0].Name && c.Sizes[sizes[len(sizes)-1].Name] == nil {
			c.Early++
		}
		result := resultOf(h, r)
		c.Shares[result.Worker]++
		f.Count++
		if result.Error != "" {
			f.Failed++
			return nil
		}
		f.Bytes += int64(len(r.Value))
		f.Waited, f.Took = append(f.Waited, result.Waited), append(f.Took, result.Took)
		edge := square.Edge
		if s, ok := sizeNamed(name); ok {
			edge = s.Edge
		}
		picture, _, err := image.Decode(bytes.NewReader(r.Value))
		if err != nil || picture.Bounds().Dx() != result.Width || picture.Bounds().Dy() != result.Height || max(result.Width, result.Height) > edge {
			f.Wrong++
		}
		return nil
	})
	return c, err
}
