package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/leveret-mq/leveret/bench/measure"
)

// session runs the chosen rows, each as often as asked: all rows once, then all again, so
// that a slow spell of the machine does not fall on one row alone.
type session struct {
	options *options
	rows    []row
	log     io.Writer
	show    *progress
	results []Result
}

func (s *session) run(ctx context.Context) error {
	s.show = newProgress(s.log, s.options.quiet, len(s.rows)*s.options.runs*len(s.options.brokers()))
	defer s.show.end()
	for i := range s.options.runs {
		for _, mode := range s.options.brokers() {
			if err := s.pass(ctx, i+1, mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass runs every row once, against a broker of its own if there is to be one.
func (s *session) pass(ctx context.Context, run int, mode string) (err error) {
	t, own, err := s.open(ctx, mode)
	if err != nil {
		return err
	}
	if own != nil {
		defer func() { err = errors.Join(err, own.stop()) }()
	}
	if err := s.warmUp(ctx, t); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	return s.each(ctx, t, own, run)
}

// open finds the broker that was named, or starts one in that mode, which the caller stops.
func (s *session) open(ctx context.Context, mode string) (*target, *started, error) {
	o := s.options
	if !o.start {
		t := &target{amqp: o.login(o.amqp), kafka: o.kafka, nats: o.nats, stomp: o.stomp, xmpp: o.xmpp, amqps: o.secureLogin(o.amqps), kafkaTLS: secureKafka(o.kafkaTLS), pidAMQP: o.pid, pidKafka: o.pid, pidNATS: o.pid,
			dataDir: o.dataDir, mode: o.mode, tag: o.tag, broker: o.broker, settings: o.settings(), metrics: o.metrics}
		return t, nil, t.identify(ctx, s.show.note)
	}
	s.show.stage("starting")
	own, err := startBroker(ctx, o, mode)
	if err != nil {
		return nil, nil, err
	}
	t := own.target
	maps.Copy(t.settings, o.settings())
	t.tag, t.broker, t.mode = o.tag, o.broker, cmp.Or(o.mode, askMode(ctx, t.metrics), mode)
	if err := t.identify(ctx, s.show.note); err != nil {
		return nil, nil, errors.Join(err, own.stop())
	}
	return &t, own, nil
}

func (s *session) each(ctx context.Context, t *target, own *started, run int) error {
	for _, r := range s.rows {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !r.available(t, own != nil) {
			s.show.skip()
			continue
		}
		s.show.stage(r.name)
		measure.WaitQuiet(ctx, s.options.quietIn)
		res := r.one(ctx, t, s.options, own, run)
		if ctx.Err() != nil {
			return context.Cause(ctx) // the row was cut short: its failure says nothing
		}
		if err := s.add(res); err != nil {
			return err
		}
	}
	return nil
}

// add keeps, shows and writes down a result.
func (s *session) add(res Result) error {
	s.results = append(s.results, res)
	s.show.row(res)
	if s.options.out == "" {
		return nil
	}
	return appendResult(s.options.out, res)
}

// warmUp is once a broker and protocol, and counts for nothing.
func (s *session) warmUp(ctx context.Context, t *target) error {
	if s.options.warmUp <= 0 {
		return nil
	}
	o := *s.options
	o.time = o.warmUp
	s.show.stage("warming up")
	for _, w := range []struct {
		protocol protocol
		run      func(context.Context, *running) error
	}{{kafka, warmUpKafka}, {amqp, warmUpAMQP}, {jetStream, warmUpNATS}, {stomp, warmUpSTOMP}} {
		if !(row{protocol: w.protocol}).available(t, false) || !s.uses(w.protocol) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, o.rowLimit)
		x := &running{target: t, options: &o, protocol: w.protocol, name: runName(w.protocol, "warm-up")}
		err := w.run(limited, x)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) uses(p protocol) bool {
	for _, r := range s.rows {
		if r.protocol == p || r.protocol == both {
			return true
		}
	}
	return false
}

// report writes the page, if one was asked for.
func (s *session) report() error {
	if s.options.report == "" {
		return nil
	}
	return writeReportFile(s.options.report, s.results)
}

// failures is an error that names every row that failed.
func (s *session) failures() error {
	var errs []error
	for _, r := range s.results {
		if !r.OK {
			errs = append(errs, fmt.Errorf("row %s, run %d: %s", r.Row, r.Run, r.Error))
		}
	}
	return errors.Join(errs...)
}
