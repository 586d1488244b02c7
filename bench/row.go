package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// row is one load.
type row struct {
	name     string
	about    string // one line for --list
	protocol protocol
	run      func(context.Context, *running) error
	// workload is what the row does, the same word for all protocols.
	workload string
	// tool is the program of others' that makes the load; empty: ours.
	tool string
	// short rows are those that run when nothing else is asked for.
	short bool
}

type protocol uint8

const (
	amqp protocol = iota + 1
	kafka
	both // the broker must speak both, through the same queues
	amqpTLS
	kafkaTLS
	jetStream
	stomp
	xmpp
	ownBroker // needs a broker that bench started itself
)

// String is the protocol's name in results.
func (p protocol) String() string {
	switch p {
	case amqp:
		return "amqp"
	case kafka:
		return "kafka"
	case both:
		return "amqp+kafka"
	case amqpTLS:
		return "amqps"
	case kafkaTLS:
		return "kafka-tls"
	case jetStream:
		return "jetstream"
	case stomp:
		return "stomp"
	case xmpp:
		return "xmpp"
	default:
		return ""
	}
}

// running is one run of one row: what the row is given, and what it leaves.
type running struct {
	*target
	options  *options
	started  *started // nil unless bench started the broker
	protocol protocol
	name     string // of queues, exchanges and topics that belong to this run alone
	result   *Result
}

// rows are all of them, in the order in which they run.
func rows() []row {
	all := []row{{name: "start", about: "process start to first confirmed message; idle memory", protocol: ownBroker, run: runStart, workload: "start", short: true}}
	return slices.Concat(all, kafkaRows(), amqpRows(), stompRows(), xmppRows(), natsRows(), crossRows(), tlsRows(), toolRows())
}

// available says that the row can run against the target.
func (r row) available(t *target, own bool) bool {
	switch r.protocol {
	case amqp:
		return t.amqp.HostPort != ""
	case kafka:
		return t.kafka != ""
	case both:
		return t.amqp.HostPort != "" && t.kafka != "" && t.pidAMQP == t.pidKafka
	case amqpTLS:
		return t.amqps.HostPort != ""
	case kafkaTLS:
		return t.kafkaTLS != ""
	case jetStream:
		return t.nats != ""
	case stomp:
		return t.stomp != ""
	case xmpp:
		return t.xmpp != ""
	default:
		return own
	}
}

// measured runs the part of a row that counts, with the broker watched.
func (x *running) measured(ctx context.Context, load func() (work, error)) error {
	_, pid := x.place(x.protocol)
	measure.FlushDisks()
	w, err := x.begin(ctx, pid)
	if err != nil {
		return err
	}
	done, err := load()
	usage, self, watchErr := w.watch.End()
	if err = errors.Join(err, watchErr); err != nil {
		return err
	}
	x.result.setWork(done)
	if err := w.end(ctx, x.result, usage, self); err != nil {
		return err
	}
	if done.messages == 0 {
		return errors.New("not one message went through")
	}
	return nil
}

// messages bounds a row's count by what it may put on disk.
func (x *running) messages(bodyBytes int) int64 {
	return int64(x.options.maxBytes) / int64(bodyBytes+recordOverhead)
}

// extent is how much a load of a rate, 0 for none, publishes at most, for how long, and how
// many latencies it leaves out. A paced row has few messages, and its tails need some: it
// takes twice as long.
func (x *running) extent(rate float64, most int64) (messages int64, length time.Duration, skip int64) {
	if rate == 0 {
		return most, x.options.time, 0
	}
	length = 2 * x.options.time
	messages = min(most, int64(rate*length.Seconds()))
	return messages, length, messages / 10
}

// recordOverhead is about what a broker stores with each body.
const recordOverhead = 40

// one makes a run of a row and returns its result; an error is in the result.
func (r row) one(ctx context.Context, t *target, o *options, s *started, run int) Result {
	res := Result{Row: r.name, Run: run, Time: time.Now().UTC(), Workload: r.workload, Protocol: r.protocol.String(), About: r.about,
		Tag: t.tag, Broker: t.broker, Settings: t.settings, Mode: t.mode, Machine: measure.ThisMachine()}
	res.Address, _ = t.place(r.protocol)
	res.Tool = o.found.versions[r.tool]
	ctx, cancel := context.WithTimeoutCause(ctx, o.rowLimit, fmt.Errorf("the row took longer than %s", o.rowLimit))
	defer cancel()
	x := &running{target: t.over(r.protocol), options: o, started: s, protocol: r.protocol, result: &res,
		name: runName(r.protocol, r.name)}
	if err := r.run(ctx, x); err != nil {
		res.Error = err.Error()
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			res.Error += " (" + cause.Error() + ")"
		}
	}
	res.OK = res.Error == ""
	return res
}

// runName is a name that no earlier run used. For AMQP it is short, because every message
// carries it as its routing key.
func runName(p protocol, row string) string {
	n := uint64(time.Now().UnixMicro())
	if p == amqp || p == amqpTLS || p == both {
		return "lb." + strconv.FormatUint(n%(1<<36), 36)
	}
	return "leveret-bench-" + row + "-" + strconv.FormatUint(n, 36)
}

// runStart tells what starting the broker took, and what it weighed with nothing to do,
// before anything else was asked of it.
func runStart(_ context.Context, x *running) error {
	const mb = 1 << 20
	x.result.Messages, x.result.Seconds = 1, round(x.started.ready.Seconds(), 4)
	x.result.P50, x.result.Latency = millis(x.started.ready), "start to first confirm"
	x.result.PeakRSSMB = round(float64(x.started.idle.RSSBytes)/mb, 1)
	x.result.PeakAnonMB = round(float64(x.started.idle.AnonBytes)/mb, 1)
	return nil
}
