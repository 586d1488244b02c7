package bench

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What the tools print, as they printed it.
const (
	producerOutput = `Reading payloads from: /tmp/payload
Number of records read: 1024
1109461 records sent, 221892.2 records/sec (216.69 MB/sec), 412.4 ms avg latency, 655.0 ms max latency.
500000 records sent, 267809.319764 records/sec (261.53 MB/sec), 290.16 ms avg latency, 476.00 ms max latency, 308 ms 50th, 425 ms 95th, 469 ms 99th, 475 ms 99.9th.
`
	consumerOutput = `start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
2026-11-26 06:08:37:036, 2026-11-26 06:08:38:804, 488.2813, 276.1772, 500000, 282805.4299, 345, 1423, 343.1351, 351370.3443
`
	consumerNothing = `start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
WARNING: Exiting before consuming the expected number of records: timeout (60000 ms) exceeded. You can use the --timeout option to increase the timeout.
2026-11-26 06:00:19:996, 2026-11-26 06:01:20:105, 0.0000, 0.0000, 0, 0.0000, 433, 59676, 0.0000, 0.0000
`
	perfTestOutput = `id: test-060840-139, starting consumer #0
id: test-060840-139, starting consumer #0, channel #0
id: test-060840-139, starting producer #0
id: test-060840-139, starting producer #0, channel #0
id: test-060840-139, time 1.003 s, sent: 21850 msg/s, confirmed: 21797 msg/s, nacked: 0 msg/s, received: 21715 msg/s, min/median/75th/95th/99th consumer latency: 27/1484/3338/12260/24634 µs, confirm latency: 11/530/1626/4686/9208 µs
id: test-060840-139, time 2.000 s, sent: 23330 msg/s, confirmed: 23112 msg/s, nacked: 0 msg/s, received: 23193 msg/s, min/median/75th/95th/99th consumer latency: 21/3449/12306/68452/74066 µs, confirm latency: 12/1525/4279/12849/20378 µs
test stopped (Producer reached message limit, Consumer reached message limit)
id: test-060840-139, sending rate avg: 22539 msg/s
id: test-060840-139, receiving rate avg: 22539 msg/s
id: test-060840-139, consumer latency min/median/75th/95th/99th 26/2055/5382/34271/72053 µs
id: test-060840-139, confirm latency min/median/75th/95th/99th 12/520/2637/8364/21474 µs
`
	perfTestInTime = `id: test-060843-265, time 2.000 s, sent: 5007 msg/s, received: 5007 msg/s, min/median/75th/95th/99th consumer latency: 1/1/1/2/3 ms
test stopped (Reached time limit)
id: test-060843-265, sending rate avg: 5644 msg/s
id: test-060843-265, receiving rate avg: 5644 msg/s
id: test-060843-265, consumer latency min/median/75th/95th/99th 1/1/3/9/14 ms
`
)

func TestToolsOutputIsRead(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func(string) (toolFigures, error)
		out   string
		want  toolFigures
		err   string
	}{
		{"producer", parseProducerPerformance, producerOutput, toolFigures{500000, 267809.319764, []Percentile{{50, 308}, {95, 425}, {99, 469}, {99.9, 475}, {100, 476}}}, ""},
		{"producer without an end", parseProducerPerformance, producerOutput[:strings.Index(producerOutput, "500000")], toolFigures{}, "no result"},
		{"consumer", parseConsumerPerformance, consumerOutput, toolFigures{500000, 351370.3443, nil}, ""},
		{"consumer that got nothing", parseConsumerPerformance, consumerNothing, toolFigures{}, "consumed nothing"},
		{"consumer without an end", parseConsumerPerformance, consumerOutput[:strings.Index(consumerOutput, "\n")], toolFigures{}, "no result"},
		{"PerfTest", parsePerfTest, perfTestOutput, toolFigures{0, 22539, []Percentile{{0, .026}, {50, 2.055}, {75, 5.382}, {95, 34.271}, {99, 72.053}}}, ""},
		{"PerfTest in milliseconds", parsePerfTest, strings.Replace(perfTestInTime, "Reached time limit", "Consumer reached message limit", 1),
			toolFigures{0, 5644, []Percentile{{0, 1}, {50, 1}, {75, 3}, {95, 9}, {99, 14}}}, ""},
		{"PerfTest cut short", parsePerfTest, perfTestInTime, toolFigures{}, "Reached time limit"},
		{"PerfTest without an end", parsePerfTest, perfTestOutput[:500], toolFigures{}, "no result"},
	} {
		got, err := c.parse(c.out)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error is %v, it should say %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
}

func TestToolsLatenciesReachTheResult(t *testing.T) {
	var r Result
	f, err := parseProducerPerformance(producerOutput)
	if err != nil {
		t.Fatal(err)
	}
	r.setTool(f, "x")
	if r.P50 != 308 || r.P99 != 469 || r.P999 != 475 || r.Max != 476 || r.Latency != "x" || len(r.Percentiles) != 5 {
		t.Fatalf("got %+v", r)
	}
	if got := f.elapsed(f.messages); got < 1866*time.Millisecond || got > 1868*time.Millisecond {
		t.Errorf("500,000 records at 267,809 a second took %v", got)
	}
}

func TestPayloadIsALineARecord(t *testing.T) {
	name, err := writePayload(t.TempDir(), 100)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != payloadLines || lines[0] == lines[1] {
		t.Fatalf("%d lines, the first %q", len(lines), lines[0])
	}
	for i, l := range lines {
		if len(l) != 100 {
			t.Fatalf("line %d has %d bytes", i, len(l))
		}
	}
}

// fakeTools is a directory of tools and a java that prints and does what it is told.
func fakeTools(t *testing.T, java string) string {
	t.Helper()
	dir := t.TempDir()
	for _, jar := range []string{"kafka/kafka-tools-4.3.1.jar", "kafka/kafka-tools-api-4.3.1.jar", "perftest/perf-test-2.22.1.jar"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(jar)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, jar), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if java != "" {
		if err := os.WriteFile(filepath.Join(dir, "java"), []byte("#!/bin/sh\n"+java), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return dir
}

func TestToolsAreFoundWithTheirVersions(t *testing.T) {
	found, err := findTools(fakeTools(t, "exit 0"))
	if err != nil || found.versions[kafkaTools] != "kafka-tools 4.3.1" || found.versions[perfTest] != "perf-test 2.22.1" {
		t.Fatalf("got %+v, %v", found, err)
	}
	if !found.has("") || !found.has(perfTest) || found.has("else") || (tools{}).has(kafkaTools) || !(tools{}).has("") {
		t.Error("has what it has not, or the other way round")
	}
}

func TestDirectoryWithoutToolsSaysHowToGetThem(t *testing.T) {
	_, err := bench("--tools", t.TempDir(), "--amqp", "127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "bench/peers/run install tools") {
		t.Fatalf("got %v", err)
	}
}

func TestToolsWithoutJavaSayHowToInstallIt(t *testing.T) {
	dir := fakeTools(t, "")
	t.Setenv("PATH", dir)
	if _, err := findTools(dir); err == nil || !strings.Contains(err.Error(), "java is missing. Install it: ") {
		t.Fatalf("got %v", err)
	}
}

func TestToolThatFailsIsNamedWithWhatItPrinted(t *testing.T) {
	found, err := findTools(fakeTools(t, "echo started; echo no such luck >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = found.run(context.Background(), kafkaTools, "Class")
	if err == nil || !strings.Contains(err.Error(), "kafka-tools 4.3.1: exit status 3") || !strings.Contains(err.Error(), "no such luck") {
		t.Fatalf("got %v", err)
	}
}

func TestToolEndsWithItsRow(t *testing.T) {
	found, err := findTools(fakeTools(t, "exec sleep 600"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := found.run(ctx, perfTest, "Class"); err == nil {
		t.Fatal("no error")
	}
	if d := time.Since(began); d > 5*time.Minute {
		t.Fatalf("it went on for %v", d)
	}
}

func TestRowsOfToolsNeedThem(t *testing.T) {
	out, err := bench("--list", "--only", "^perftest-1k$")
	if err != nil || !strings.Contains(out, "PerfTest") {
		t.Fatalf("not listed: %q, %v", out, err)
	}
	if _, err := bench("--only", "^perftest-1k$", "--amqp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no row matches") {
		t.Fatalf("got %v", err)
	}
}
