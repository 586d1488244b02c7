package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/leveret-mq/leveret/bench/kafkaload"
	"github.com/leveret-mq/leveret/bench/measure"
)

// target is the broker that is measured.
type target struct {
	amqp     amqpload.Address // HostPort empty: no AMQP rows
	kafka    string           // empty: no Kafka rows
	pidAMQP  int              // 0: unknown, no CPU and memory
	pidKafka int
	dataDir  string // empty: no disk figures
	mode     string
	tag      string
	broker   string
}

// identify fills in what was not given and can be found.
func (t *target) identify(ctx context.Context, o *options, warn func(string, ...any)) error {
	for _, p := range []struct {
		address string
		pid     *int
	}{{t.amqp.HostPort, &t.pidAMQP}, {t.kafka, &t.pidKafka}} {
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
		t.broker = c.Product + " " + c.Version
		c.Shut()
	}
	if t.kafka != "" {
		a, err := kafkaload.NewAdmin(ctx, t.kafka)
		if err != nil {
			return err
		}
		a.Close()
	}
	if t.tag == "" {
		t.tag = tagOf(t)
	}
	if t.mode == "" {
		t.mode = askMode(ctx, o.metrics)
	}
	return nil
}

// tagOf is a short name from the process: what a JVM or an Erlang machine runs is known
// here only for the two usual brokers.
func tagOf(t *target) string {
	pid := t.pidAMQP
	if pid == 0 {
		pid = t.pidKafka
	}
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

// watching follows one run of one row: process, disk.
type watching struct {
	watch  *measure.Watch
	dir    string
	before measure.Disk
}

func (t *target) begin(pid int) (*watching, error) {
	w := &watching{dir: t.dataDir}
	if w.dir != "" {
		n, err := measure.DiskOf(w.dir)
		if err != nil {
			return nil, err
		}
		w.before = n
	}
	var err error
	if w.watch, err = measure.Begin(pid); err != nil {
		return nil, fmt.Errorf("watch the broker: %w", err)
	}
	return w, nil
}
