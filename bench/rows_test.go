package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/devcert"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// secure has a broker speak TLS, too.
func secure(t *testing.T) testkit.Option {
	t.Helper()
	a, _, err := devcert.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Server("server", []string{"127.0.0.1"}, devcert.DefaultTime, false)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		c.TLSCert, c.TLSKey = pair.Cert, pair.Key
		c.AMQPSAddr, c.KafkaTLSAddr, c.STOMPTLSAddr, c.STOMPWSSAddr, c.HTTPTLSAddr, c.MetricsTLSAddr = "127.0.0.1:0", "127.0.0.1:0", config.Off, config.Off, config.Off, config.Off
	}
}

// Every row that a Leveret can run passes its checks and is measured.
func TestRowsPassTheirChecks(t *testing.T) {
	s := testkit.Start(t, secure(t))
	got, only := map[string]Result{}, ""
	for _, long := range []string{"20ms", "500ms", "20s"} { // the longer ones where a busy machine did nothing meanwhile
		file := filepath.Join(t.TempDir(), "out.jsonl")
		_, err := bench("--all", "--only", only, "--amqp", s.Addr("amqp"), "--kafka", s.Addr("kafka"), "--stomp", s.Addr("stomp"), "--xmpp", s.Addr("xmpp"), "--amqps", s.Addr("amqps"), "--kafka-tls", s.Addr("kafka-tls"), "--pid", fmt.Sprint(os.Getpid()), "--mode", "group",
			"--data-dir", t.TempDir(), "--time", long, "--warm-up", "0", "--max-bytes", "1MiB", "--quiet", "--out", file)
		results, readErr := readResultFile(file)
		if readErr != nil {
			t.Fatal(err, readErr)
		}
		for _, r := range results {
			got[r.Row] = r
		}
		if err == nil {
			break
		}
		var idle []string
		for line := range strings.Lines(err.Error()) {
			row, found := strings.CutSuffix(strings.TrimSpace(line), ", run 1: not one message went through")
			if !found || long == "20s" {
				t.Fatal(err)
			}
			idle = append(idle, strings.TrimPrefix(row, "row "))
		}
		only = "^(" + strings.Join(idle, "|") + ")$"
	}
	for _, row := range rows() {
		if row.protocol == ownBroker || row.protocol == jetStream || row.tool != "" {
			continue
		}
		r, there := got[row.name]
		if !there || !r.OK || r.Messages == 0 || r.Rate <= 0 || r.BrokerMicros <= 0 || r.BodyBytes == 0 || r.Workload == "" || r.Protocol == "" {
			t.Errorf("%s: %+v", row.name, r)
		}
		reads := r.Workload == "drain" || strings.HasPrefix(r.Workload, "catch-up") || r.Workload == "client-consume" || r.Workload == "share"
		if hasLatency := len(r.Percentiles) == len(percents) && r.Latency != ""; hasLatency == reads {
			t.Errorf("%s: latency is %q, at %d points", row.name, r.Latency, len(r.Percentiles))
		}
	}
}
