package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sample is the broker's metrics page at one moment: value by name, with the
// labels as they were written, such as name{queue="x"}.
type Sample struct {
	At     time.Time
	Values map[string]float64
}

func scrape(ctx context.Context, addr string) (*Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics/per-object", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the broker's metrics: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the broker's metrics at %s: %s", addr, res.Status)
	}
	return parseMetrics(io.LimitReader(res.Body, 64<<20))
}

// parseMetrics reads Prometheus' text format, as far as names, labels and values go.
func parseMetrics(r io.Reader) (*Sample, error) {
	s := &Sample{At: time.Now(), Values: map[string]float64{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		if text == "" || text[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(text, '}') + 1
		if at == 0 {
			at = strings.IndexByte(text, ' ')
		}
		if at <= 0 || at >= len(text) {
			return nil, fmt.Errorf("metrics: odd line %.100q", text)
		}
		value, _, _ := strings.Cut(strings.TrimSpace(text[at:]), " ") // a time may follow
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: odd line %.100q", text)
		}
		s.Values[text[:at]] = v
	}
	return s, lines.Err()
}

// sum adds up a metric over all its labels.
func (s *Sample) sum(name string) float64 {
	total := s.Values[name]
	for key, v := range s.Values {
		if strings.HasPrefix(key, name+"{") {
			total += v
		}
	}
	return total
}

// label returns the value of a label of a metric that has one series.
func (s *Sample) label(name, label string) string {
	for key := range s.Values {
		rest, ok := strings.CutPrefix(key, name+"{")
		for ok && rest != "" {
			var this, value string
			this, rest, ok = strings.Cut(rest, `="`)
			if value, rest, ok = cutValue(rest, ok); ok && this == label {
				return value
			}
			rest = strings.TrimPrefix(rest, ",")
		}
	}
	return ""
}

func cutValue(s string, ok bool) (value, rest string, found bool) {
	if !ok {
		return "", "", false
	}
	return strings.Cut(s, `"`)
}

// Watch samples the metrics during a run.
type Watch struct {
	Before, After *Sample
	PeakMemory    float64
	PeakReady     float64 // of the work queue

	addr string
	stop chan struct{}
	mu   sync.Mutex // guards the peaks while the run lasts
	wait sync.WaitGroup
}

func startWatch(ctx context.Context, addr string) (*Watch, error) {
	before, err := scrape(ctx, addr)
	if err != nil {
		return nil, err
	}
	w := &Watch{Before: before, addr: addr, stop: make(chan struct{})}
	w.look(before)
	w.wait.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				if s, err := scrape(ctx, addr); err == nil {
					w.look(s)
				}
			}
		}
	})
	return w, nil
}

func (w *Watch) look(s *Sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.PeakMemory = max(w.PeakMemory, s.sum("process_resident_memory_bytes"))
	for key, v := range s.Values {
		if strings.HasPrefix(key, "leveret_queue_messages_ready{") && strings.Contains(key, `queue="`+errorQueue+`"`) {
			w.PeakReady = max(w.PeakReady, v)
		}
	}
}

func (w *Watch) end(ctx context.Context) error {
	close(w.stop)
	w.wait.Wait()
	var err error
	if w.After, err = scrape(ctx, w.addr); err == nil {
		w.look(w.After)
	}
	return err
}

// grew is by how much a counter rose during the run.
func (w *Watch) grew(name string) float64 { return w.After.sum(name) - w.Before.sum(name) }
