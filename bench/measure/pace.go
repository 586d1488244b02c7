package measure

import "time"

// Pacer spaces events evenly. Every event has a due time fixed from the start; one that
// is late does not move the ones after it, and latency is counted from the due time.
type Pacer struct {
	start    time.Time
	perEvent float64 // nanoseconds
	// Late is how far behind its due time the latest event was released at worst: the
	// generator's own share of the latencies that follow.
	Late time.Duration
}

// NewPacer starts now, at eventsPerSecond.
func NewPacer(start time.Time, eventsPerSecond float64) *Pacer {
	return &Pacer{start: start, perEvent: 1e9 / eventsPerSecond}
}

// Due is when event i is due, counted from the start.
func (p *Pacer) Due(i int64) time.Duration { return time.Duration(float64(i) * p.perEvent) }

// Wait returns when event i is due (at once if it is overdue), with its due time counted
// from the start. The caller should have its thread locked and PrepareThread called.
func (p *Pacer) Wait(i int64) time.Duration {
	due := p.Due(i)
	for {
		ahead := due - time.Since(p.start)
		if ahead <= 0 {
			p.Late = max(p.Late, -ahead)
			return due
		}
		sleep(ahead)
	}
}
