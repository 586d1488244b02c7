package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// curve is a climb: one dimension grows, everything else stays, and at each point some
// series of figures are taken. Each curve has a broker of its own, whose state grows from
// point to point.
type curve struct {
	name   string
	about  string // one line for --list
	unit   string // of the points
	points []int64
	series []string // what is measured at a point
	climb  func(context.Context, *climb) error
}

// climb is one run of one curve.
type climb struct {
	*target
	options *options
	curve   *curve
	points  []int64
	own     *started // nil unless bench started the broker
	session *session
	run     int
}

// curves are all of them, in the order in which they run.
func curves() []curve {
	return []curve{
		{"backlog", "publish, consume and both at once with so many messages of 12 B waiting; confirms, acks of 100",
			"messages waiting", []int64{0, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000},
			[]string{"backlog-publish", "backlog-consume", "backlog-both"}, climbBacklog},
		{"queues", "declare durable queues one by one; publish to one beside them, and to all in turn; restart",
			"queues", powersOfTen(100_000),
			[]string{"queues-declare", "queues-beside", "queues-first", "queues-all", "queues-restart"}, climbQueues},
		{"bindings", "bind patterns of four kinds to a topic exchange one by one; route with 64 keys and with 100,000",
			"bindings", powersOfTen(100_000)[1:],
			[]string{"bindings-bind", "bindings-64-keys", "bindings-100k-keys"}, climbBindings},
		{"connections", "open connections one by one; one busy pair beside them idle; 5,000 messages a second over all of them in turn",
			"connections", powersOfTen(10_000),
			[]string{"connections-open", "connections-pair", "connections-all"}, climbConnections},
		{"size", "publish and consume messages of this size, confirms; messages and bytes on their way bounded",
			"bytes", []int64{12, 128, 1 << 10, 16 << 10, 128 << 10, 1 << 20, 16 << 20, 128 << 20},
			[]string{"size"}, climbSize},
		{"consumers", "consumers of one queue, prefetch 200 each, an ack a message: on one connection, and with one each",
			"consumers", powersOfTen(1_000),
			[]string{"consumers-one-conn", "consumers-own-conn"}, climbConsumers},
	}
}

// powersOfTen is 1, 10 … up to most.
func powersOfTen(most int64) (points []int64) {
	for x := int64(1); x <= most; x *= 10 {
		points = append(points, x)
	}
	return points
}

func chooseCurves(only *regexp.Regexp) (out []curve) {
	for _, c := range curves() {
		if only.MatchString(c.name) {
			out = append(out, c)
		}
	}
	return out
}

func listCurves(w io.Writer, cs []curve) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range cs {
		fmt.Fprintf(t, "%s\t%d to %d %s: %s\n", c.name, c.points[0], c.points[len(c.points)-1], c.unit, c.about)
	}
	return t.Flush()
}

// runCurves climbs the chosen curves, each as often as asked, and prints them.
func runCurves(ctx context.Context, o *options, only *regexp.Regexp, out, log io.Writer) error {
	chosen := chooseCurves(only)
	if o.list {
		return listCurves(out, chosen)
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no curve matches %q; --list prints them", o.only)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("the time limit of %s", o.limit))
	defer cancel()
	s := &session{options: o, log: log}
	total := 0
	for i := range chosen {
		total += o.runs * len(o.brokers()) * len(chosen[i].series) * len(chosen[i].upTo(o.curveMax))
	}
	s.show = newProgress(log, o.quiet, total)
	err := s.climbAll(ctx, chosen)
	s.show.end()
	if len(s.results) == 0 {
		return err
	}
	failed := errors.Join(s.failures(), s.report())
	points := summarize(s.results)
	if tableErr := writeCurves(out, points); tableErr != nil {
		return errors.Join(err, failed, tableErr)
	}
	writeNotes(out, points)
	return errors.Join(err, failed, s.report())
}

// upTo are the points that are not above a bound; 0 is none.
func (c *curve) upTo(bound int64) (points []int64) {
	for _, x := range c.points {
		if bound == 0 || x <= bound {
			points = append(points, x)
		}
	}
	return points
}

func (s *session) climbAll(ctx context.Context, chosen []curve) error {
	for i := range s.options.runs {
		for j := range chosen {
			for _, mode := range s.options.brokers() {
				if err := s.climbOne(ctx, &chosen[j], i+1, mode); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// climbOne goes up one curve; a point that fails ends the climb and is in the results.
func (s *session) climbOne(ctx context.Context, c *curve, run int, mode string) (err error) {
	t, own, err := s.open(ctx, mode)
	if err != nil {
		return err
	}
	x := &climb{target: t, options: s.options, curve: c, points: c.upTo(s.options.curveMax), own: own, session: s, run: run}
	defer func() {
		if x.own != nil {
			err = errors.Join(err, x.own.stop())
		}
	}()
	if t.amqp.HostPort == "" {
		return errors.New("the curves are AMQP's: give --amqp")
	}
	// Walking through the directory would take longer than the points, and answering a scrape
	// costs the broker more with each queue.
	t.dataDir, t.metrics = "", ""
	s.rows = []row{{protocol: amqp}}
	if err := s.warmUp(ctx, t); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	if err := c.climb(ctx, x); err != nil && !errors.Is(err, errPoint) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		res := x.point(c.name, 0)
		res.Error = err.Error()
		return s.add(res)
	}
	return ctx.Err()
}

// errPoint is a point that failed, and whose result says why.
var errPoint = errors.New("a point failed")

// point is the empty result of one.
func (c *climb) point(series string, x int64) Result {
	return Result{Row: series, Run: c.run, Time: time.Now().UTC(), Protocol: amqp.String(), About: c.curve.about,
		Tag: c.tag, Broker: c.broker, Settings: c.settings, Mode: c.mode, Address: c.amqp.HostPort,
		Curve: series, X: float64(x), XUnit: c.curve.unit, Machine: measure.ThisMachine()}
}

// measure takes one point of a series.
func (c *climb) measure(ctx context.Context, series string, x int64, load func(context.Context) (work, error)) error {
	c.session.show.stage(fmt.Sprintf("%s at %d", series, x))
	measure.WaitQuiet(ctx, c.options.quietIn)
	r := row{name: series, about: c.curve.about, protocol: amqp, run: func(ctx context.Context, at *running) error {
		return at.measured(ctx, func() (work, error) { return load(ctx) })
	}}
	res := r.one(ctx, c.target, c.options, c.own, c.run)
	if ctx.Err() != nil {
		return context.Cause(ctx) // the point was cut short: its failure says nothing
	}
	res.Curve, res.X, res.XUnit = series, float64(x), c.curve.unit
	if err := c.session.add(res); err != nil {
		return err
	}
	if !res.OK {
		return errPoint
	}
	return nil
}

// stage names what goes on without being measured.
func (c *climb) stage(format string, args ...any) {
	c.session.show.stage(fmt.Sprintf(format, args...))
}

// skip says why a point is left out.
func (c *climb) skip(x int64, why string) {
	c.session.show.note("%s at %d %s is left out: %s", c.curve.name, x, c.curve.unit, why)
	for range c.curve.series {
		c.session.show.skip()
	}
}
