package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Run is everything a run found out.
type Run struct {
	Source   *Source
	Uploaded *Uploaded
	AllTook  time.Duration // until every size of every picture was there
	Squares  int
	SqTook   time.Duration
	Late     *Late
	Count    *Count
}

// Faults lists what is not as it must be.
func (r *Run) Faults() []string {
	var out []string
	n := len(r.Uploaded.IDs)
	check := func(what string, got, want int) {
		if got != want {
			out = append(out, fmt.Sprintf("%s: %s, want %s", what, demo.Grouped(got), demo.Grouped(want)))
		}
	}
	check("answers of the server", n+len(r.Uploaded.Refused), r.Source.Count)
	check("pictures taken, in the log", r.Count.Taken, n)
	for _, s := range append(slices.Clone(sizes), square) {
		f := r.Count.Sizes[s.Name]
		if f == nil {
			f = &Figures{}
		}
		check("pictures of size "+s.Name, f.Count, n)
		check("pictures of size "+s.Name+" that are not as they should be", f.Wrong, 0)
	}
	check("originals that the new size was made of", r.Squares, n)
	if !r.Late.Same {
		out = append(out, "the web server that came late shows something else: "+r.Late.Why)
	}
	return out
}

func (r *Run) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	u := r.Uploaded
	p("")
	p("UPLOADS")
	p("  %s pictures, %s, in %.1f s; answered 202 after %s (median), %s (slowest), without waiting for the work", demo.Grouped(len(u.IDs)),
		demo.Size(float64(u.Bytes)), u.Took.Seconds(), demo.Short(middle(u.Answers)), demo.Short(last(u.Answers)))
	for _, why := range u.Refused {
		p("  refused            %s", demo.Cut(why, 100))
	}
	p("")
	p("THE WORK  (read from the log by a Kafka group, every picture unpacked and measured)")
	p("  %-8s %8s %7s %9s %12s %12s", "size", "pictures", "failed", "bytes", "waited", "work")
	for _, s := range append(slices.Clone(sizes), square) {
		f := r.Count.Sizes[s.Name]
		if f == nil {
			continue
		}
		waited := demo.Short(middle(f.Waited))
		if s.Square {
			waited = "-"
		}
		p("  %-8s %8s %7d %9s %12s %12s", s.Name, demo.Grouped(f.Count), f.Failed, demo.Size(float64(f.Bytes)), waited, demo.Short(middle(f.Took)))
	}
	p("  (medians; the broker hands out thumbs before medium ones before large ones, whatever came first:")
	p("  %d of %d thumbs were there before the first large picture)", r.Count.Early, len(u.IDs))
	var shares []string
	for _, name := range slices.Sorted(maps.Keys(r.Count.Shares)) {
		shares = append(shares, fmt.Sprintf("%s %d", name, r.Count.Shares[name]))
	}
	p("  by %s; done twice %d", strings.Join(shares, ", "), r.Count.Twice)
	p("  all of it in %.1f s", r.AllTook.Seconds())
	p("")
	p("REPLAY")
	p("  a new size, %q, of pictures whose jobs were all acked: %s in %.1f s, read from %s by a Kafka group", square.Name, demo.Grouped(r.Squares), r.SqTook.Seconds(), originalsQueue)
	verdict := "the same to the byte"
	if !r.Late.Same {
		verdict = "WRONG: " + r.Late.Why
	}
	p("  a second web server, started now with nothing, shows %s pictures after %s: %s", demo.Grouped(r.Late.Pictures), demo.Short(r.Late.Took), verdict)
	p("")
	faults := r.Faults()
	for _, f := range faults {
		p("  WRONG: %s", f)
	}
	if len(faults) == 0 {
		p("Every picture that was answered with 202 is there in every size.")
	}
}

func middle(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func last(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)-1]
}
