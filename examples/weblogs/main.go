package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// settings are the command line.
type settings struct {
	demo.Flags
	logs           string
	lines, workers int
	seed           uint64
	live           float64
}

func main() {
	var s settings
	s.Register(flag.CommandLine, "queues weblogs-all and weblogs-errors")
	flag.StringVar(&s.Metrics, "metrics", "", "host:port of its metrics; without it the report lacks the broker's figures")
	flag.StringVar(&s.logs, "logs", "", "a web-server log, or a directory of them (.gz too); without it lines are generated")
	flag.IntVar(&s.lines, "lines", 0, "how many lines at most (default: a million generated ones, or the first five million of -logs)")
	flag.Uint64Var(&s.seed, "seed", 1, "seed of the generated lines")
	flag.IntVar(&s.workers, "workers", 4, "AMQP workers on the error lines")
	flag.Float64Var(&s.live, "live", 0.2, "part of the lines, the newest, that goes in through AMQP")
	demo.Main("weblogs", s.check, func(ctx context.Context) (bool, error) { return run(ctx, &s) })
}

func (s *settings) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unknown argument %q; a log is named by -logs", flag.Arg(0))
	case s.lines < 0:
		return errors.New("-lines must not be negative")
	case s.workers < 1 || s.workers > 100:
		return errors.New("-workers must be 1 to 100")
	case !(s.live >= 0 && s.live <= 1):
		return errors.New("-live must be between 0 and 1")
	}
	return s.Check()
}

const (
	generatedLines = 1_000_000
	mostLines      = 5_000_000
)

// run does the whole job; ok is false when the report found something lost or doubled.
func run(ctx context.Context, s *settings) (ok bool, err error) {
	src, err := s.source()
	if err != nil {
		return false, err
	}
	fmt.Println(src.Describe())
	b, err := s.Open(ctx)
	if err != nil {
		return false, err
	}
	defer b.Stop()
	if err := declare(b); err != nil {
		return false, err
	}
	r := &Result{Source: src.Describe(), Broker: b, WorkerNum: s.workers}
	if b.Metrics != "" {
		if r.Watch, err = startWatch(ctx, b.Metrics); err != nil {
			return false, err
		}
	}
	if err := r.work(ctx, src, s); err != nil {
		return false, err
	}
	if err := r.replay(ctx); err != nil {
		return false, err
	}
	if r.Watch != nil {
		if err := r.Watch.end(ctx); err != nil {
			return false, err
		}
	}
	r.write(os.Stdout)
	return len(r.Faults()) == 0, nil
}

func (s *settings) source() (Source, error) {
	if s.logs == "" {
		lines := s.lines
		if lines == 0 {
			lines = generatedLines
		}
		return newGenerator(s.seed, lines, time.Now()), nil
	}
	limit := s.lines
	if limit == 0 {
		limit = mostLines
	}
	f, notes, err := openFiles(s.logs, limit)
	for _, n := range notes {
		fmt.Println(n)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// work ships the lines while workers and the group's reader take them, and waits
// until these have got everything.
func (r *Result) work(ctx context.Context, src Source, s *settings) (err error) {
	progress := demo.NewProgress(os.Stderr)
	defer progress.End()
	began := time.Now()
	analyst, err := startAnalyst(ctx, r.Broker, progress.Bar("lines counted by the Kafka group", uint64(src.Lines())))
	if err != nil {
		return err
	}
	if r.Workers, err = startWorkers(r.Broker, s.workers, progress.Bar("error lines acked by workers", 0)); err != nil {
		return err
	}
	if r.Shipped, err = ship(ctx, r.Broker, src, s.live, progress); err != nil {
		return err
	}
	r.ShipTook = time.Since(began)
	if err := r.Workers.finish(ctx, r.Shipped.Errors.Lines); err != nil {
		return err
	}
	if err := analyst.finish(ctx, r.Shipped.All.Lines); err != nil {
		return err
	}
	r.AllTook, r.Figures = time.Since(began), analyst.Figures
	return nil
}

// replay reads the worst ten minutes again, from the work queue's history and
// from the topic, and what came in live, by its time of arrival.
func (r *Result) replay(ctx context.Context) error {
	from, want := worstTenMinutes(r.Shipped.Minutes)
	to := from.Add(replayWindow)
	for _, x := range []struct {
		what, queue string
		from, to    time.Time
		want        Tally
	}{
		{"the ten minutes with the most errors, from the work queue's history (all of it acked)", errorQueue, from, to, want.Errors},
		{"the same ten minutes, every line, from the topic", allQueue, from, to, want.All},
		{"what came in live through AMQP, by its arrival", allQueue, r.Shipped.LiveFrom, time.Time{}, r.Shipped.LiveLines},
	} {
		if x.want.Lines == 0 {
			continue
		}
		done, err := replayByTime(ctx, r.Broker, x.queue, x.from, x.to, r.Shipped.MaxLateness)
		if err != nil {
			return err
		}
		done.What, done.Want = x.what, x.want
		r.Replays = append(r.Replays, done)
	}
	return nil
}
