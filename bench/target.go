package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/leveret-mq/leveret/bench/kafkaload"
	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/leveret-mq/leveret/bench/natsload"
)

// target is the broker that is measured.
type target struct {
	amqp     amqpload.Address // HostPort empty: no AMQP rows
	kafka    string           // empty: no Kafka rows
	amqps    amqpload.Address // the same with TLS
	kafkaTLS string
	nats     string // empty: no JetStream rows
	stomp    string // empty: no STOMP rows
	xmpp     string // empty: no XMPP rows
	pidAMQP  int    // 0: unknown, no CPU and memory
	pidKafka int
	pidNATS  int
	dataDir  string // empty: no disk figures
	mode     string
	tag      string
	broker   string
	settings map[string]string
	metrics  string         // a Leveret's metrics address; empty: no counters of its own
	device   measure.Device // of dataDir; no name: unknown
}

// place is where the broker speaks a protocol, and which process does.
func (t *target) place(p protocol) (address string, pid int) {
	switch p {
	case kafka:
		return t.kafka, t.pidKafka
	case kafkaTLS:
		return t.kafkaTLS, t.pidKafka
	case amqpTLS:
		return t.amqps.HostPort, t.pidAMQP
	case jetStream:
		return t.nats, t.pidNATS
	case stomp:
		return t.stomp, t.pidAMQP
	case xmpp:
		return t.xmpp, t.pidAMQP
	default:
		return t.amqp.HostPort, t.pidAMQP
	}
}

// over is the target as rows of a protocol see it: those with TLS are the same loads at another address.
func (t *target) over(p protocol) *target {
	secure := *t
	switch p {
	case amqpTLS:
		secure.amqp = t.amqps
	case kafkaTLS:
		secure.kafka = t.kafkaTLS
	}
	return &secure
}

// identify fills in what was not given and can be found.
func (t *target) identify(ctx context.Context, warn func(string, ...any)) error {
	settings := map[string]string{}
	for _, p := range []struct {
		address string
		pid     *int
	}{{t.amqp.HostPort, &t.pidAMQP}, {t.amqps.HostPort, &t.pidAMQP}, {t.stomp, &t.pidAMQP}, {t.xmpp, &t.pidAMQP}, {t.kafka, &t.pidKafka},
		{strings.TrimPrefix(t.kafkaTLS, kafkaload.TLSPrefix), &t.pidKafka}, {t.nats, &t.pidNATS}} {
		if p.address == "" || *p.pid != 0 {
			continue
		}
		pid, err := measure.FindListener(p.address)
		if err != nil {
			warn("no CPU and memory figures: %v", err)
		}
		*p.pid = pid
	}
	if t.amqp.HostPort != "" {
		c, err := amqpload.Dial(ctx, t.amqp)
		if err != nil {
			return err
		}
		t.broker = cmp.Or(t.broker, c.Product+" "+c.Version)
		settings["platform"] = c.Platform
		c.Shut()
	}
	if t.kafka != "" {
		a, err := kafkaload.NewAdmin(ctx, t.kafka)
		if err != nil {
			return err
		}
		if t.broker == "" {
			t.broker = strings.TrimSpace("Kafka protocol " + a.Version(ctx))
		}
		maps.Copy(settings, a.Settings(ctx))
		a.Close()
	}
	if t.nats != "" {
		c, err := natsload.Dial(t.nats)
		if err != nil {
			return err
		}
		t.broker = cmp.Or(t.broker, "NATS Server "+c.ConnectedServerVersion())
		c.Close()
	}
	maps.Copy(settings, t.settings) // what the user says holds
	t.settings = settings
	if t.dataDir != "" {
		var err error
		if t.device, err = measure.DeviceOf(t.dataDir); err != nil {
			warn("no figures of the disk: %v", err)
		}
	}
	if t.tag == "" {
		t.tag = tagOf(t)
	}
	if t.mode == "" {
		t.mode = askMode(ctx, t.metrics)
	}
	return nil
}

// tagOf is a short name from the process: what a JVM or an Erlang machine runs is known
// here only for the two usual brokers.
func tagOf(t *target) string {
	pid := cmp.Or(t.pidAMQP, t.pidKafka, t.pidNATS)
	switch name := measure.ProcessName(pid); {
	case name == "beam.smp":
		return "rabbitmq"
	case name == "java" && t.amqp.HostPort == "":
		return "kafka"
	case name != "":
		return name
	default:
		return "broker"
	}
}

var modeLabel = regexp.MustCompile(`(?:durability|sync|sync_mode|mode)="(os|group|always)"`)

// askMode asks a Leveret which durability mode it is in; any other broker has nothing
// there, and the mode stays unknown.
func askMode(ctx context.Context, hostPort string) string {
	if hostPort == "" {
		return ""
	}
	if m := modeLabel.FindSubmatch(get(ctx, "http://"+hostPort+"/metrics")); m != nil {
		return string(m[1])
	}
	var health struct{ Durability string }
	if json.Unmarshal(get(ctx, "http://"+hostPort+"/health"), &health) == nil {
		return health.Durability
	}
	return ""
}

var syncCount = regexp.MustCompile(`(?m)^leveret_store_sync_seconds_count ([0-9]+)$`)

// askSyncs asks a Leveret how often it has flushed; 0 of anything else.
func askSyncs(ctx context.Context, hostPort string) int64 {
	if hostPort == "" {
		return 0
	}
	m := syncCount.FindSubmatch(get(ctx, "http://"+hostPort+"/metrics"))
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return n
}

// get is the first MiB of an answer, or nothing.
func get(ctx context.Context, url string) []byte {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil
	}
	return b
}

// watching follows one run of one row: process, directory, disk, and a Leveret's counters.
type watching struct {
	target *target
	watch  *measure.Watch
	files  measure.Disk
	disk   measure.DeviceCounters
	syncs  int64
}

// begin starts with what costs the broker something, so that the watch does not see it.
func (t *target) begin(ctx context.Context, pid int) (_ *watching, err error) {
	w := &watching{target: t, syncs: askSyncs(ctx, t.metrics)}
	if t.dataDir != "" {
		if w.files, err = measure.DiskOf(t.dataDir); err != nil {
			return nil, err
		}
	}
	if t.device.Name != "" {
		if w.disk, err = t.device.Counters(); err != nil {
			return nil, err
		}
	}
	if w.watch, err = measure.Begin(pid); err != nil {
		return nil, fmt.Errorf("watch the broker: %w", err)
	}
	return w, nil
}

// end puts what was seen into a result whose work is set already.
func (w *watching) end(ctx context.Context, r *Result, usage measure.Usage, self measure.CPU) error {
	t := w.target
	r.setUsage(usage, self)
	if t.device.Name != "" {
		now, err := t.device.Counters()
		if err != nil {
			return err
		}
		r.setDevice(t.device, now.Sub(w.disk))
	}
	if t.dataDir != "" {
		now, err := measure.DiskOf(t.dataDir)
		if err != nil {
			return err
		}
		r.setDisk(now.GrownSince(w.files))
	}
	r.BrokerSyncs = max(0, askSyncs(ctx, t.metrics)-w.syncs)
	return nil
}
