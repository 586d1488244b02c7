package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// settings are the command line.
type settings struct {
	demo.Flags
	count, senders int
	rate           float64
	seed           uint64
	schedule       Schedule
}

func main() {
	var s settings
	s.Register(flag.CommandLine, "queues campaign-start, -mail, -dead and -sent")
	flag.StringVar(&s.HTTP, "http", "", "host:port of that broker's HTTP API (default: port 15672 of the host of -amqp)")
	flag.IntVar(&s.count, "count", 10_000, "recipients, who are made up")
	flag.Float64Var(&s.rate, "rate", 600, "mails a second that senders may try, together")
	flag.IntVar(&s.senders, "senders", 16, "senders, each with connections of its own")
	flag.Uint64Var(&s.seed, "seed", 1, "seed of the recipients")
	flag.DurationVar(&s.schedule.Flash, "flash", 8*time.Second, "when the offer of a fifth of the mails begins")
	flag.DurationVar(&s.schedule.FlashLife, "flash-life", 3*time.Second, "how long the offer holds: what is not sent by then is not sent")
	flag.DurationVar(&s.schedule.Later, "later", 12*time.Second, "when the mails of the third segment are due")
	demo.Main("campaign", s.check, func(ctx context.Context) (bool, error) { return run(ctx, &s) })
}

func (s *settings) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	case s.count < 100 || s.count > 1_000_000:
		return errors.New("-count must be 100 to 1000000")
	case !(s.rate >= 1 && s.rate <= 100_000):
		return errors.New("-rate must be 1 to 100000 mails a second")
	case s.senders < 1 || s.senders > 200:
		return errors.New("-senders must be 1 to 200")
	case s.schedule.Flash < 0 || s.schedule.FlashLife < time.Millisecond || s.schedule.Later < 0:
		return errors.New("-flash and -later must not be negative, and -flash-life must be 1ms or more")
	}
	if s.HTTP == "" && s.AMQP != "" {
		host, _, err := net.SplitHostPort(s.AMQP)
		if err != nil {
			return fmt.Errorf("-amqp: %w", err)
		}
		s.HTTP = net.JoinHostPort(host, "15672")
	}
	return s.Check()
}

// run does the whole job; ok is false when the report found something wrong.
func run(ctx context.Context, s *settings) (ok bool, err error) {
	fmt.Printf("A campaign to %s GENERATED recipients, seed %d\n", demo.Grouped(s.count), s.seed)
	b, err := s.Open(ctx)
	if err != nil {
		return false, err
	}
	defer b.Stop()
	r, err := campaign(ctx, b, s)
	if err != nil {
		return false, err
	}
	r.write(os.Stdout)
	return len(r.Faults()) == 0, nil
}

// campaign does everything but tell of it.
func campaign(ctx context.Context, b *demo.Broker, s *settings) (r *Run, err error) {
	if err := declare(b); err != nil {
		return nil, err
	}
	if err := b.DeleteGroups(ctx, reportGroup); err != nil {
		return nil, err
	}
	// Of nothing yet: that the HTTP API can't be reached is better known now.
	if _, err := redrive(ctx, b, reasonTooOften, true); err != nil {
		return nil, err
	}
	r = &Run{To: recipients(s.seed, s.count), Rate: s.rate, Senders: s.senders}
	if r.Sink, err = startSink(); err != nil {
		return nil, err
	}
	defer r.Sink.close()
	progress := demo.NewProgress(os.Stderr)
	defer progress.End()
	planned, sent, expired, dead := progress.Bar("mails planned", uint64(s.count)), progress.Bar("sent", uint64(s.count)), progress.Bar("expired", uint64(s.count)), progress.Bar("dead", uint64(s.count))
	watch, err := startWatch(ctx, b, func(o Outcome) {
		sent.Set(uint64(o.Sent))
		expired.Set(uint64(o.Expired))
		dead.Set(uint64(o.Dead))
	})
	if err != nil {
		return nil, err
	}
	defer watch.close()
	senders, err := startSenders(ctx, b, s.senders, s.rate, r.Sink.Addr)
	if err != nil {
		return nil, err
	}
	defer senders.Close()
	ctx = senders.Context

	r.Start = &Start{Campaign: fmt.Sprintf("autumn-%d", time.Now().UnixNano()), Template: campaignTemplate, At: time.Now(), Schedule: s.schedule}
	if err := start(ctx, b, r.Start); err != nil {
		return nil, err
	}
	if r.First, err = plan(ctx, b, r.To, s.count*2/5, planned); !errors.Is(err, errPlannerDied) {
		return nil, fmt.Errorf("the first planner did not die: %w", err)
	}
	if r.Planned, err = plan(ctx, b, r.To, 0, planned); err != nil {
		return nil, err
	}
	planned.Finish(uint64(r.Planned.Published))

	all := func(l *Ledger) bool { return l.outcome().All() >= s.count }
	if err := watch.until(ctx, "every mail is sent or dead", all); err != nil {
		return nil, err
	}
	r.Sink.repair()
	if r.DryRun, err = redrive(ctx, b, reasonTooOften, true); err != nil {
		return nil, err
	}
	done, err := redrive(ctx, b, reasonTooOften, false)
	if err != nil {
		return nil, err
	}
	r.Redriven = done.Copied
	if err := watch.until(ctx, "what was redriven is sent", func(l *Ledger) bool { return l.outcome().Revived >= r.Redriven }); err != nil {
		return nil, err
	}
	r.Took = time.Since(r.Start.At)
	r.Ledger, err = readLedger(ctx, b)
	return r, err
}
