package management

import (
	"math"
	"sync"
	"time"
)

// Rates are worked out from counters that the broker has anyway. What is shown is sampled while somebody looks: a counter that was
// shown before has the time and the figure of then, and a ring of samples behind that; one that nobody asks for any more is forgotten. So a
// broker that nobody looks at samples nothing, and how much is remembered is bounded however many objects there are.

// rateKey is a counter.
type rateKey struct {
	vhost, queue string
	several      string // the hash of the names of virtual hosts, for the sum over these; "" for all, or one
	exchange     string
	connection   uint64
	channel      int
	what         string
}

// Bounds of what is remembered.
const (
	maxRates    = 20_000          // counters
	sampleEvery = time.Second     // at most
	rateWindow  = 5 * time.Second // over which a rate is taken, as RabbitMQ does
	ringSamples = 64              // of a counter, so the last minute and more
	forgetRates = 5 * time.Minute
)

// sample is a counter at a time.
type sample struct {
	at    time.Time
	value float64
}

// series is what is remembered of a counter, the newest last.
type series struct{ samples []sample }

// rates remembers counters.
type rates struct {
	mu    sync.Mutex // guards all below
	known map[rateKey]*series
	swept time.Time
}

// note adds a sample, and returns all that there are, the newest last. They must not be changed.
func (r *rates) note(key rateKey, now time.Time, value float64) []sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.known[key]
	if s == nil {
		if len(r.known) >= maxRates {
			r.sweep(now)
		}
		if len(r.known) >= maxRates {
			return []sample{{now, value}}
		}
		s = &series{}
		if r.known == nil {
			r.known = map[rateKey]*series{}
		}
		r.known[key] = s
	}
	n := len(s.samples)
	if n == 0 || now.Sub(s.samples[n-1].at) >= sampleEvery {
		if n == ringSamples { // others may still read the old ones
			s.samples = append(make([]sample, 0, ringSamples), s.samples[1:]...)
		}
		s.samples = append(s.samples, sample{now, value})
	}
	return s.samples[:len(s.samples):len(s.samples)]
}

// sweep forgets counters that nobody has asked for in a while, not more often than every second.
func (r *rates) sweep(now time.Time) {
	if now.Sub(r.swept) < time.Second {
		return
	}
	r.swept = now
	for key, s := range r.known {
		if now.Sub(s.samples[len(s.samples)-1].at) > forgetRates {
			delete(r.known, key)
		}
	}
}

// perSecond is the rate of a counter that is at value now: over the last seconds, and where nobody has looked for longer, since then.
func perSecond(samples []sample, now time.Time, value float64) float64 {
	for i := len(samples) - 1; i >= 0; i-- {
		s := samples[i]
		age := now.Sub(s.at)
		if age < rateWindow && i > 0 || age <= 0 {
			continue
		}
		if value < s.value {
			return 0 // it began anew
		}
		return math.Round((value-s.value)/age.Seconds()*100) / 100
	}
	return 0
}

// rate is the object behind a counter's name with _details: its rate, and the samples that are asked for.
func (c *call) rate(key rateKey, value uint64) object {
	now := time.Now()
	samples := c.s.rates.note(key, now, float64(value))
	o := object{{"rate", perSecond(samples, now, float64(value))}}
	age, step, ok := c.history(key.what)
	if !ok {
		return o
	}
	list, sum := []object{}, 0.0
	for at := now; now.Sub(at) <= age; at = at.Add(-step) {
		v := valueAt(samples, at)
		sum += v
		list = append(list, object{{"sample", v}, {"timestamp", at.UnixMilli()}})
	}
	first := valueAt(samples, now.Add(-age))
	return append(o, object{{"avg", sum / float64(len(list))}, {"avg_rate", (float64(value) - first) / age.Seconds()}, {"samples", list}}...)
}

// valueAt is what a counter was at a time, as far as it is known.
func valueAt(samples []sample, at time.Time) float64 {
	for i := len(samples) - 1; i >= 0; i-- {
		if !samples[i].at.After(at) {
			return samples[i].value
		}
	}
	return samples[0].value
}

// maxHistory is how many samples may be asked for.
const maxHistory = 500

// history reads how old samples may be that are asked for, and how far apart.
func (c *call) history(what string) (age, step time.Duration, ok bool) {
	prefix := "msg_rates"
	switch what {
	case "messages", "messages_ready", "messages_unacknowledged":
		prefix = "lengths"
	case "recv_oct", "send_oct":
		prefix = "data_rates"
	case "fd_used", "sockets_used", "proc_used", "mem_used", "disk_free":
		prefix = "node_stats"
	}
	a, okA := seconds(c.query(prefix + "_age"))
	i, okI := seconds(c.query(prefix + "_incr"))
	if !okA || !okI || i <= 0 || a < i || a/i > maxHistory {
		return 0, 0, false
	}
	return a, i, true
}

func seconds(text string) (time.Duration, bool) {
	n, ok := readInt([]byte(text))
	return time.Duration(n) * time.Second, ok && n > 0 && n < 1<<31
}

// counter adds a counter and its rate to statistics; none where it is 0.
func (o object) counter(c *call, key rateKey, name string, value uint64) object {
	key.what = name
	if value == 0 {
		return o
	}
	return append(o, pair{name, value}, pair{name + "_details", c.rate(key, value)})
}

// forget drops all samples.
func (r *rates) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = nil
}
