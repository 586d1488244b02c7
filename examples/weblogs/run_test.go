package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
	"github.com/leveret-mq/leveret/examples/internal/demotest"
)

// whole runs the job and returns the report.
func whole(t *testing.T, binary string, src Source, s *settings) *Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b, err := demo.Start(ctx, binary, "os")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	if err := declare(b); err != nil {
		t.Fatal(err)
	}
	r := &Result{Source: src.Describe(), Broker: b, WorkerNum: s.workers}
	if r.Watch, err = startWatch(ctx, b.Metrics); err != nil {
		t.Fatal(err)
	}
	if err := r.work(ctx, src, s); err != nil {
		t.Fatal(err)
	}
	if err := r.replay(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Watch.end(ctx); err != nil {
		t.Fatal(err)
	}
	if faults := r.Faults(); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
	return r
}

func TestTheWholeJobOnTheRealBroker(t *testing.T) {
	binary := demotest.Build(t)
	t.Run("generated lines", func(t *testing.T) {
		r := whole(t, binary, newGenerator(3, 20_000, time.Now()), &settings{workers: 2, live: 0.25})
		if r.Shipped.Kafka != 15_000 || r.Shipped.AMQP != 5_000 || r.Shipped.Errors.Lines == 0 || len(r.Replays) != 3 {
			t.Errorf("%d by Kafka, %d by AMQP, %d errors, %d replays", r.Shipped.Kafka, r.Shipped.AMQP, r.Shipped.Errors.Lines, len(r.Replays))
		}
		if in := r.Watch.grew("leveret_messages_published_total"); in != 20_000 {
			t.Errorf("the broker counts %v messages", in)
		}
		var out strings.Builder
		r.write(&out)
		for _, want := range []string{"GENERATED", "slowest paths", "durability mode os", "exactly what went in", "Nothing was lost"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the report does not say %q:\n%s", want, &out)
			}
		}
	})
	t.Run("files of years ago, out of order", func(t *testing.T) {
		dir := t.TempDir()
		for n, name := range []string{"access.log", "access.log.1.gz", "other-access.log"} {
			var lines []string
			for i := range 300 {
				status := 200
				if i%20 == 0 {
					status = 500
				}
				// Each line's second wavers, as those of real servers do.
				lines = append(lines, logLine((i/5+(i*7+n)%3)%60, status))
			}
			write(t, filepath.Join(dir, name), lines...)
		}
		src, _, err := openFiles(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		r := whole(t, binary, src, &settings{workers: 1, live: 0.1})
		if r.Shipped.All.Lines != 900 || r.Shipped.Errors.Lines != 45 || r.Shipped.MaxLateness == 0 {
			t.Errorf("%d lines, %d errors, lateness %v", r.Shipped.All.Lines, r.Shipped.Errors.Lines, r.Shipped.MaxLateness)
		}
		if len(r.Replays) == 0 || r.Replays[0].Got.Lines == 0 {
			t.Error("nothing was replayed")
		}
	})
}

func TestBadSettingsAreRefused(t *testing.T) {
	for name, s := range map[string]settings{
		"one address":     {Flags: demo.Flags{AMQP: "x:1"}, workers: 1},
		"negative lines":  {lines: -1, workers: 1},
		"no workers":      {},
		"too much live":   {workers: 1, live: 1.5},
		"too many of men": {workers: 101},
	} {
		if err := s.check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := (&settings{workers: 1, live: 0.5}).check(); err != nil {
		t.Error(err)
	}
}
