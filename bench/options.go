package bench

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/spf13/pflag"
)

// defaultTime is how long a row publishes unless told otherwise.
const defaultTime = 1500 * time.Millisecond

// options are the flags.
type options struct {
	amqp, kafka, nats     string
	stomp, xmpp           string
	amqps, kafkaTLS       string
	metrics               string
	user, password, vhost string
	pid                   int
	dataDir, mode, tag    string
	broker                string
	setting               []string

	start     bool
	secure    bool // what is started speaks TLS, too
	binary    string
	startArgs string
	sync      string
	modes     []string // of sync
	tempDir   string

	only     string
	all      bool
	tools    string
	found    tools // in the directory that tools names
	list     bool
	runs     int
	time     time.Duration
	warmUp   time.Duration
	quietIn  time.Duration
	rowLimit time.Duration
	limit    time.Duration
	maxBytes bytesFlag

	ackName                string
	batchBytes, fetchBytes bytesFlag
	inFlight               int

	out     string
	compare bool
	unequal bool
	format  string
	report  string
	quiet   bool

	curves   bool
	curveMax int64

	against string
	allow   float64
}

func (o *options) flags(f *pflag.FlagSet) {
	f.StringVar(&o.amqp, "amqp", "", "host:port of a broker that speaks AMQP 0-9-1")
	f.StringVar(&o.kafka, "kafka", "", "host:port of a broker that speaks the Kafka protocol")
	f.StringVar(&o.amqps, "amqps", "", "host:port of a broker that speaks AMQP 0-9-1 with TLS, for the rows of that name")
	f.StringVar(&o.kafkaTLS, "kafka-tls", "", "host:port of a broker that speaks the Kafka protocol with TLS, for the rows of that name")
	f.StringVar(&o.nats, "nats", "", "host:port of a NATS server with JetStream")
	f.StringVar(&o.stomp, "stomp", "", "host:port of a broker that speaks STOMP, the same as --amqp if both are given")
	f.StringVar(&o.xmpp, "xmpp", "", "host:port of a broker that speaks XMPP for the domain localhost, the same as --amqp if both are given")
	f.StringVar(&o.metrics, "metrics", "", "host:port of a Leveret's metrics, to ask for its durability mode")
	f.StringVar(&o.user, "user", "guest", "AMQP user")
	f.StringVar(&o.password, "password", "guest", "AMQP password")
	f.StringVar(&o.vhost, "vhost", "/", "AMQP virtual host")
	f.IntVar(&o.pid, "pid", 0, "the broker's process; found by its listening port when not given")
	f.StringVar(&o.dataDir, "data-dir", "", "the broker's data directory, to tell bytes on disk")
	f.StringVar(&o.mode, "mode", "", "what a confirm of the broker means, for the results: os, group, always or words of your own")
	f.StringArrayVar(&o.setting, "setting", nil, "a setting of the broker, NAME=VALUE, that the results shall name; may be repeated")
	f.StringVar(&o.tag, "tag", "", "name of the broker in the results; its process's when not given")
	f.StringVar(&o.broker, "broker", "", "the broker's name and version for the results; what it calls itself when not given")

	f.BoolVar(&o.start, "start", false, "start a Leveret with an empty data directory for each run, and stop it after (the default when no address is given)")
	f.StringVar(&o.binary, "binary", "", "the broker's program, which --start starts; the leveret beside this one, or on the PATH, when not given")
	f.StringVar(&o.startArgs, "start-args", "", "further arguments for --start, separated by blanks")
	f.StringVar(&o.sync, "sync", "os", "durability modes for --start, separated by commas: os, group, always; every row runs in each")
	f.StringVar(&o.tempDir, "temp-dir", "", "where --start makes its data directory; the system's place for such when not given")

	f.StringVar(&o.only, "only", "", "regular expression: the rows to run, of all there are")
	f.BoolVar(&o.all, "all", false, "run all rows: every workload with every message size, about ten minutes")
	f.StringVar(&o.tools, "tools", "", "directory with programs of others' to make load with, too: Kafka's performance tools, RabbitMQ's PerfTest (see bench/peers)")
	f.BoolVar(&o.list, "list", false, "print the rows, those that run by default with a star, and do nothing")
	f.IntVar(&o.runs, "runs", 1, "how often to run all rows; the table shows medians")
	f.DurationVar(&o.time, "time", defaultTime, "how long a row publishes")
	f.DurationVar(&o.warmUp, "warm-up", time.Second, "load before the first row, for brokers that compile as they go; 0 is none")
	f.DurationVar(&o.quietIn, "wait-quiet", 0, "before each row, wait up to this long for a quiet machine")
	f.DurationVar(&o.rowLimit, "row-limit", time.Minute, "a row that takes longer, checks included, has failed")
	f.DurationVar(&o.limit, "limit", 30*time.Minute, "end the program after this long")
	o.maxBytes = 4 << 30
	f.Var(&o.maxBytes, "max-bytes", "at most about so many bytes published by a row")

	f.StringVar(&o.ackName, "acks", "", "acks of Kafka producers: 1 or all; 1 in mode os, all in others, when not given")
	o.batchBytes, o.fetchBytes = 512<<10, 8<<20
	f.Var(&o.batchBytes, "batch", "bytes of a Kafka batch")
	f.Var(&o.fetchBytes, "fetch", "bytes of a Kafka fetch")
	f.IntVar(&o.inFlight, "in-flight", 5, "Kafka produce requests sent and not answered, a connection")

	f.StringVar(&o.out, "out", "", "file to which each run's result is added as a line of JSON")
	f.BoolVar(&o.compare, "compare", false, "print the ratios of the first result file to the others, given as arguments, and do nothing else")
	f.BoolVar(&o.unequal, "unequal-modes", false, "with --compare: compare rows whose durability modes differ or are unknown, too")
	f.StringVar(&o.format, "format", "", "print result files, given as arguments, in another format and do nothing else: table, or benchstat (the format of Go benchmarks)")
	f.BoolVar(&o.curves, "curves", false, "instead of the rows, measure how the costs grow with backlog, queues, bindings, connections, message size and consumers")
	f.Int64Var(&o.curveMax, "curve-max", 0, "leave out the points of --curves that are above this; 0 leaves out none")
	f.StringVar(&o.report, "report", "", "write an HTML page with charts to this file: of the result files given as arguments, or of this run")
	f.StringVar(&o.against, "against", "", "another build of the broker: run the rows on it and on --binary by turns, and fail if one costs more processor time a message here")
	f.Float64Var(&o.allow, "allow", 1.25, "with --against: how many times the processor time of the other build is no failure yet")
	f.BoolVar(&o.quiet, "quiet", false, "print the table only")
}

// Formats in which result files are printed.
const (
	formatTable     = "table"
	formatBenchstat = "benchstat"
)

// checkFiles checks what stands behind the flags: result files, for those that read them.
func (o *options) checkFiles(args []string) error {
	switch {
	case o.format != "" && o.format != formatTable && o.format != formatBenchstat:
		return fmt.Errorf("--format is %q, it must be %s or %s", o.format, formatTable, formatBenchstat)
	case o.compare && len(args) < 2:
		return errors.New("--compare needs two result files or more")
	case o.format != "" && len(args) == 0:
		return errors.New("--format needs a result file or more")
	case !o.compare && o.format == "" && o.report == "" && len(args) != 0:
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// check completes the options and returns the pattern of rows.
func (o *options) check() (*regexp.Regexp, error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	given := o.amqp != "" || o.kafka != "" || o.nats != "" || o.stomp != "" || o.xmpp != "" || o.amqps != "" || o.kafkaTLS != ""
	if !given {
		o.start = true
	}
	for _, s := range o.setting {
		if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
			return nil, fmt.Errorf("--setting is %q, it must be NAME=VALUE", s)
		}
	}
	o.modes = strings.Split(o.sync, ",")
	for _, m := range o.modes {
		if m != "os" && m != "group" && m != "always" {
			return nil, fmt.Errorf("--sync is %q, it must be os, group, always or several of these", o.sync)
		}
	}
	switch {
	case o.start && given:
		return nil, errors.New("--start starts a broker of its own: give no --amqp, --kafka, --stomp, --xmpp or --nats with it")
	case o.runs < 1 || o.runs > 1000:
		return nil, fmt.Errorf("--runs is %d, it must be 1 to 1000", o.runs)
	case o.time <= 0 || o.time > 10*time.Minute:
		return nil, fmt.Errorf("--time is %s, it must be above 0 and at most 10m", o.time)
	case o.ackName != "" && o.ackName != "1" && o.ackName != "all":
		return nil, fmt.Errorf("--acks is %q, it must be 1 or all", o.ackName)
	case o.inFlight < 1 || o.inFlight > 1000:
		return nil, fmt.Errorf("--in-flight is %d, it must be 1 to 1000", o.inFlight)
	case o.batchBytes < 2048 || o.batchBytes > 64<<20:
		return nil, fmt.Errorf("--batch is %s, it must be 2KiB to 64MiB", o.batchBytes.String())
	case o.fetchBytes < 2*o.batchBytes || o.fetchBytes > 256<<20:
		return nil, fmt.Errorf("--fetch is %s, it must be at least two batches and at most 256MiB", o.fetchBytes.String())
	case o.curveMax < 0:
		return nil, fmt.Errorf("--curve-max is %d, it must not be negative", o.curveMax)
	case o.allow <= 1:
		return nil, fmt.Errorf("--allow is %v, it must be above 1", o.allow)
	case o.against != "" && !o.start:
		return nil, errors.New("--against starts both brokers: give no --amqp or --kafka with it")
	case o.maxBytes < 1<<20:
		return nil, fmt.Errorf("--max-bytes is %s, it must be at least 1MiB", o.maxBytes.String())
	}
	if o.tools != "" {
		if o.found, err = findTools(o.tools); err != nil {
			return nil, err
		}
	}
	return only, nil
}

// brokers are the modes of those that are measured one after the other: of each that is
// to be started, or no mode for the one that was named.
func (o *options) brokers() []string {
	if o.start {
		return o.modes
	}
	return []string{""}
}

// settings are those given by hand.
func (o *options) settings() map[string]string {
	m := map[string]string{}
	for _, s := range o.setting {
		name, value, _ := strings.Cut(s, "=")
		m[name] = value
	}
	return m
}

// acks are those of Kafka producers at a broker in the given mode. With acks=1 a Leveret
// answers before it flushes, whatever its mode, so that only all asks for what the mode promises.
func (o *options) acks(mode string) int16 {
	if o.ackName == "all" || o.ackName == "" && (mode == "group" || mode == "always") {
		return -1
	}
	return 1
}

func (o *options) login(hostPort string) amqpload.Address {
	return amqpload.Address{HostPort: hostPort, User: o.user, Password: o.password, VHost: o.vhost}
}

// bytesFlag is a size such as 512KiB, 8MiB, 4GiB or a plain number of bytes.
type bytesFlag int64

var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (b *bytesFlag) String() string {
	for _, u := range units {
		if v := int64(*b); v >= u.bytes && v%u.bytes == 0 {
			return strconv.FormatInt(v/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Set parses a size.
func (b *bytesFlag) Set(s string) error {
	unit := int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return fmt.Errorf("%q is no size; write 65536, 512KiB, 8MiB or 4GiB", s)
	}
	*b = bytesFlag(n * unit)
	return nil
}

// Type names the kind of value in --help.
func (b *bytesFlag) Type() string { return "size" }
