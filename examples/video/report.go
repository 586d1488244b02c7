package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Mishap is what was done to a worker, and what became of its job.
type Mishap struct {
	What    string // "killed", "frozen", "died late"
	Worker  string
	ID      string
	Percent int
	Noticed time.Duration // until another worker had the job
}

const diedLateWhat = "died late"

// Run is everything a run found out.
type Run struct {
	Title     string
	Jobs      []Job
	Workers   int
	Heartbeat time.Duration
	Mishaps   []Mishap
	// WantMishaps is how many there had to be.
	WantMishaps int
	Events      []Event        // as a Kafka group read them, when all was over
	Frames      map[string]int // pictures in a result, by video
	Want        map[string]int // the same, of a video that was made here
	Bad         []string       // results that can't be read
	Took        time.Duration
}

func (r *Run) of(id, key string) []Event {
	var out []Event
	for _, e := range r.Events {
		if e.ID == id && (key == "" || e.Key == key) {
			out = append(out, e)
		}
	}
	return out
}

// Faults lists what is not as it must be.
func (r *Run) Faults() []string {
	var out []string
	fault := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if len(r.Mishaps) < r.WantMishaps {
		fault("something happened to %d workers, want %d", len(r.Mishaps), r.WantMishaps)
	}
	hit := map[string]bool{}
	for _, m := range r.Mishaps {
		hit[m.ID] = true
		if len(r.of(m.ID, begunKey)) < 2 {
			fault("no other worker took over video %s of %s, which was %s", m.ID, m.Worker, m.What)
		}
	}
	for _, j := range r.Jobs {
		done, begun, broken := len(r.of(j.ID, doneKey)), len(r.of(j.ID, begunKey)), len(r.of(j.ID, brokenKey))
		failed := r.of(j.ID, failedKey)
		switch {
		case broken > 0:
			if done != 0 || len(failed) != 1 || failed[0].Reason != "rejected" {
				fault("%s can't be read: %d results, set aside %v", j.Name, done, failed)
			}
		case done != 1 || len(failed) != 0:
			fault("%s has %d results and was set aside %d times, want 1 and 0", j.Name, done, len(failed))
		case r.Frames[j.ID] == 0 || r.Want[j.ID] != 0 && r.Frames[j.ID] != r.Want[j.ID]:
			fault("the result of %s has %d pictures, want %d", j.Name, r.Frames[j.ID], r.Want[j.ID])
		}
		if !hit[j.ID] && begun != 1 {
			fault("%s was begun %d times, though nothing happened to its worker", j.Name, begun)
		}
	}
	return append(out, r.Bad...)
}

func (r *Run) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("")
	p("THE VIDEOS  (as a Kafka group reads it from the log, when all is over)")
	for _, j := range r.Jobs {
		p("  %-22s %s", demo.Cut(j.Name, 22), strings.Join(r.story(j.ID), "; "))
	}
	p("")
	p("WHAT HAPPENED TO WORKERS")
	for _, m := range r.Mishaps {
		switch m.What {
		case "frozen":
			p("  %s was frozen at %d %% of video %s: its heartbeats (%s) stopped, the broker closed its connection, and another had the job", m.Worker, m.Percent, m.ID, demo.Short(r.Heartbeat))
			p("      after %s, when one was free; when it woke up it found its connection gone, and dropped its work", demo.Short(m.Noticed))
		case "killed":
			p("  %s was killed at %d %% of video %s: another had the job after %s, when one was free", m.Worker, m.Percent, m.ID, demo.Short(m.Noticed))
		default:
			p("  %s died when the result of video %s was published, and the job not acked yet: it was done again, and the second result went nowhere", m.Worker, m.ID)
		}
	}
	p("")
	p("THE WORK")
	var longest time.Duration
	var results, begun int
	for _, e := range r.Events {
		switch e.Key {
		case doneKey:
			results++
			longest = max(longest, e.Took)
		case begunKey:
			begun++
		}
	}
	p("  %d jobs, begun %d times by %d workers, %d results; in %.1f s", len(r.Jobs), begun, r.Workers, results, r.Took.Seconds())
	p("  the longest took %s with a heartbeat of %s: who works is not taken for dead", demo.Short(longest), demo.Short(r.Heartbeat))
	p("")
	faults := r.Faults()
	for _, f := range faults {
		p("  WRONG: %s", f)
	}
	if len(faults) == 0 {
		p("Every video that can be read has exactly one result, of as many pictures as it should have.")
	}
}

// story is what happened to one video, in order.
func (r *Run) story(id string) []string {
	var parts []string
	events := r.of(id, "")
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	furthest := map[string]int{}
	for _, e := range events {
		switch e.Key {
		case begunKey:
			if e.Attempt > 1 {
				parts = append(parts, fmt.Sprintf("%s took it over (attempt %d)", e.Worker, e.Attempt))
			}
		case progressKey:
			furthest[e.Worker] = e.Percent
		case finishedKey:
			parts = append(parts, fmt.Sprintf("%s did it in %s", e.Worker, demo.Short(e.Took)))
		case brokenKey:
			parts = append(parts, fmt.Sprintf("%s: %s", e.Worker, demo.Cut(e.Reason, 60)))
		case droppedKey:
			parts = append(parts, e.Worker+" woke up and dropped it")
		case failedKey:
			parts = append(parts, "set aside ("+e.Reason+")")
		}
		for _, m := range r.Mishaps {
			if m.ID == id && m.Worker == e.Worker && e.Key == progressKey && e.Percent >= m.Percent && m.What != diedLateWhat && !slices.Contains(parts, told(m)) {
				parts = append(parts, told(m))
			}
		}
	}
	return parts
}

func told(m Mishap) string { return fmt.Sprintf("%s %s at %d %%", m.Worker, m.What, m.Percent) }
