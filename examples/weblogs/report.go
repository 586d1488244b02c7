package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Result is everything a run found out.
type Result struct {
	Source    string
	Broker    *demo.Broker
	Shipped   *Shipped
	Workers   *Workers
	Figures   *Figures
	ShipTook  time.Duration // until the last line was confirmed
	AllTook   time.Duration // until it was worked on and counted too
	Replays   []*Replay
	Watch     *Watch // nil without a metrics address
	WorkerNum int
}

// Faults lists what is not as it must be; nothing may be lost or come twice.
func (r *Result) Faults() []string {
	var out []string
	check := func(what string, got, want Tally) {
		switch {
		case got.Lines != want.Lines:
			out = append(out, fmt.Sprintf("%s: %s lines, want %s", what, demo.Grouped(got.Lines), demo.Grouped(want.Lines)))
		case got.Sum != want.Sum:
			out = append(out, fmt.Sprintf("%s: %s lines as it must be, but not the same ones", what, demo.Grouped(got.Lines)))
		}
	}
	check("read by the Kafka group", r.Figures.Tally, r.Shipped.All)
	check("acked by the workers", r.Workers.Tally, r.Shipped.Errors)
	for _, p := range r.Replays {
		check(p.What, p.Got, p.Want)
	}
	return out
}

// write prints the report.
func (r *Result) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("")
	p("THE LOG  %s", r.Source)
	r.writeLog(p)
	p("")
	p("THE WORK")
	s := r.Shipped
	p("  in through Kafka   %12s lines in %5.1f s, %9s a second (topic %s into exchange %s, key = routing key)",
		demo.Grouped(s.Kafka), s.KafkaTook.Seconds(), rate(s.Kafka, s.KafkaTook), feedTopic, exchangeName)
	p("  in through AMQP    %12s lines in %5.1f s, %9s a second (published one by one, each confirmed)",
		demo.Grouped(s.AMQP), s.AMQPTook.Seconds(), rate(s.AMQP, s.AMQPTook))
	p("  error lines acked  %12s one by one, by %d AMQP workers (%s), redelivered %s",
		demo.Grouped(r.Workers.Done.Load()), r.WorkerNum, shares(r.Workers.Share), demo.Grouped(r.Workers.Redelivered.Load()))
	p("  read by the group  %12s lines of queue %s, as a Kafka topic", demo.Grouped(r.Figures.Tally.Lines), allQueue)
	p("  all of it in %.1f s; %.1f s until the last line was confirmed", r.AllTook.Seconds(), r.ShipTook.Seconds())
	p("")
	r.writeReplays(p)
	if r.Watch != nil {
		p("")
		r.writeBroker(p)
	}
	p("")
	faults := r.Faults()
	for _, f := range faults {
		p("  WRONG: %s", f)
	}
	if len(faults) == 0 {
		p("Nothing was lost and nothing came twice: counts and hashes of what went in and of what came out agree.")
	}
}

func (r *Result) writeLog(p func(string, ...any)) {
	f := r.Figures
	if f.First.IsZero() {
		p("  no line could be read")
		return
	}
	span := f.Last.Sub(f.First) + time.Second
	at, peak := f.peak()
	p("  from %s to %s UTC", stamp(f.First), stamp(f.Last))
	p("  requests a second  %.1f on average, %s at %s", float64(f.Tally.Lines-f.Unreadable)/span.Seconds(), demo.Grouped(int64(peak)), at.Format("15:04:05"))
	p("  bodies             %s", demo.Size(float64(f.Body)))
	if f.Unreadable > 0 {
		p("  not readable       %s lines (kept, key *.other)", demo.Grouped(f.Unreadable))
	}
	for i, class := range statuses(f) {
		p("  %-18s %s", []string{"status codes", ""}[min(i, 1)], class)
	}
	p("")
	p("  %-42s %10s %7s %7s", "most frequent paths", "requests", "share", "errors")
	for _, x := range f.top(8, func(x *PathFigures) float64 { return float64(x.Count) }) {
		p("  %-42s %10s %6.1f%% %7s", demo.Cut(x.Name, 42), demo.Grouped(x.Count), 100*float64(x.Count)/float64(f.Tally.Lines), demo.Grouped(x.Errors))
	}
	p("")
	if f.Timed == 0 {
		p("  %-42s %10s %12s", "largest paths (no line tells its time)", "requests", "mean body")
		for _, x := range f.top(8, func(x *PathFigures) float64 { return float64(x.Bytes) / float64(x.Count) }) {
			p("  %-42s %10s %12s", demo.Cut(x.Name, 42), demo.Grouped(x.Count), demo.Size(float64(x.Bytes)/float64(x.Count)))
		}
		return
	}
	p("  %-42s %10s %8s %8s %8s", "slowest paths", "requests", "median", "95 %", "longest")
	least := max(20, f.Tally.Lines/5000) // a path that was asked for a few times says little
	slow := f.top(8, func(x *PathFigures) float64 {
		if x.timed < least {
			return 0
		}
		return float64(x.quantile(0.95))
	})
	for _, x := range slow {
		p("  %-42s %10s %8s %8s %8s", demo.Cut(x.Name, 42), demo.Grouped(x.Count), demo.Short(x.quantile(0.5)), demo.Short(x.quantile(0.95)), demo.Short(x.Longest))
	}
}

func (r *Result) writeReplays(p func(string, ...any)) {
	p("REPLAY BY TIME  (offsets asked for by time, then read; record time = the line's own for the")
	p("                part that came through Kafka, its arrival for the part through AMQP)")
	for _, x := range r.Replays {
		to := "the end"
		if !x.To.IsZero() {
			to = x.To.Format("15:04:05")
		}
		verdict := "exactly what went in"
		if !x.Whole() {
			verdict = fmt.Sprintf("WRONG, %s went in", demo.Grouped(x.Want.Lines))
		}
		p("  %s", x.What)
		p("    %s to %s: offsets %s to %s, %s lines in %s: %s", stamp(x.From), to, demo.Grouped(x.Start), demo.Grouped(x.End),
			demo.Grouped(x.Got.Lines), demo.Short(x.Took), verdict)
	}
}

func (r *Result) writeBroker(p func(string, ...any)) {
	w := r.Watch
	in, stored := w.grew("leveret_messages_published_total"), w.grew("leveret_messages_stored_total")
	inBytes := w.grew("leveret_messages_published_bytes_total")
	cpu := w.grew("process_cpu_seconds_total")
	seconds := r.ShipTook.Seconds()
	mode := w.After.label("leveret_build_info", "durability")
	p("THE BROKER  (its own figures, from /metrics)")
	p("  version            %s, durability mode %s: %s", w.After.label("leveret_build_info", "version"), mode, meaning(mode))
	p("  messages           %s in, %s stored in queues, %s delivered, %s acked, %s fetched by offset", number64(in), number64(stored),
		number64(w.grew("leveret_messages_delivered_total")), number64(w.grew("leveret_messages_acked_total")), number64(w.grew("leveret_records_fetched_total")))
	p("  rate while shipping %s messages/s, %.1f MB/s in, %.1f MB/s appended to logs", number64(in/seconds), inBytes/seconds/1e6,
		w.grew("leveret_store_appended_bytes_total")/seconds/1e6)
	p("  CPU                %.2f s for the whole run, %.2f µs for each message in", cpu, 1e6*cpu/max(in, 1))
	p("  memory             %s resident at most (mapped segments included)", demo.Size(w.PeakMemory))
	p("  disk               %s in %s segments; work queue at most %s deep", demo.Size(w.After.sum("leveret_queue_bytes")),
		number64(w.After.sum("leveret_queue_segments")), number64(w.PeakReady))
	if n := w.grew("leveret_store_sync_seconds_count"); n > 0 {
		p("  flushes            %s, %s each on average", number64(n), demo.Short(time.Duration(w.grew("leveret_store_sync_seconds_sum")/n*1e9)))
	}
}

// meaning says in words what a confirm means in a durability mode.
func meaning(mode string) string {
	switch mode {
	case "group":
		return "a confirm means on disk, one flush for all who wait"
	case "os":
		return "a confirm means in the page cache, flushed every second"
	case "always":
		return "a confirm means on disk, each append on its own"
	}
	return "unknown"
}

// statuses has a line for each hundred of status codes that occurred.
func statuses(f *Figures) []string {
	var out []string
	for hundred := 0; hundred < len(f.Status); hundred += 100 {
		var parts []string
		for code := hundred; code < hundred+100; code++ {
			if n := f.Status[code]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d: %s", code, demo.Grouped(n)))
			}
		}
		if parts != nil {
			out = append(out, strings.Join(parts, "  "))
		}
	}
	return out
}

func shares(counts []uint64) string {
	var parts []string
	for _, n := range counts {
		parts = append(parts, demo.Grouped(n))
	}
	return strings.Join(parts, " + ")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func rate(n uint64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return number64(float64(n) / d.Seconds())
}

func number64(v float64) string { return demo.Grouped(int64(v + 0.5)) }
