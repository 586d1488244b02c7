package web

import (
	"sync"
	"time"
)

// history keeps what charts are drawn from: figures of an object as a user saw it, one sample in sampleEvery at most, and only while somebody
// looks. How much is kept is bounded however many objects there are.
type history struct {
	mu  sync.Mutex // guards all
	all map[historyKey]*track
}

type historyKey struct{ user, object string }

// Bounds of what is kept.
const (
	sampleEvery = 2 * time.Second
	maxSamples  = 300 // ten minutes and more
	maxTracks   = 500
)

// sample is some figures at a time.
type sample struct {
	at     time.Time
	values []float64
}

// track is what is kept of an object, the newest last.
type track struct{ samples []sample }

// note adds figures, and returns all that there are. They must not be changed.
func (h *history) note(key historyKey, now time.Time, values ...float64) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.all[key]
	if t == nil {
		if h.all == nil {
			h.all = map[historyKey]*track{}
		}
		if len(h.all) >= maxTracks {
			h.forgetOldest()
		}
		t = &track{}
		h.all[key] = t
	}
	n := len(t.samples)
	if n > 0 && now.Sub(t.samples[n-1].at) < sampleEvery {
		return append(t.samples[:n:n], sample{now, values})
	}
	if n >= maxSamples { // others may still read the old ones
		t.samples = append(make([]sample, 0, 2*maxSamples), t.samples[n-maxSamples+1:]...)
	}
	t.samples = append(t.samples, sample{now, values})
	return t.samples[:len(t.samples):len(t.samples)]
}

// forgetOldest forgets the track that nobody has looked at for the longest time.
func (h *history) forgetOldest() {
	var oldest historyKey
	var at time.Time
	for key, t := range h.all {
		if last := t.samples[len(t.samples)-1].at; at.IsZero() || last.Before(at) {
			oldest, at = key, last
		}
	}
	delete(h.all, oldest)
}

// window is how far back charts go.
const window = 10 * time.Minute

// gauges are the values of a figure, at the times of the samples within the window.
func gauges(samples []sample, which int) (points []point) {
	if len(samples) == 0 {
		return nil
	}
	from := samples[len(samples)-1].at.Add(-window)
	for _, s := range samples {
		if s.at.After(from) {
			points = append(points, point{s.at, s.values[which]})
		}
	}
	return points
}

// perSecond are the rates of a counter between samples; one that began anew counts from 0.
func perSecond(samples []sample, which int) (points []point) {
	if len(samples) == 0 {
		return nil
	}
	from := samples[len(samples)-1].at.Add(-window)
	for i := 1; i < len(samples); i++ {
		a, b := samples[i-1], samples[i]
		took := b.at.Sub(a.at).Seconds()
		if b.at.After(from) && took > 0.2 {
			points = append(points, point{b.at, max(0, b.values[which]-a.values[which]) / took})
		}
	}
	return points
}
