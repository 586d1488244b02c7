package bench

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

func result(row string, run int, rate, micros float64) Result {
	return Result{Row: row, Run: run, Tag: "t", Mode: "os", OK: true, Rate: rate, BrokerMicros: micros, Messages: int64(rate)}
}

func TestResultsSurviveTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.jsonl")
	want := []Result{result("a", 1, 10.5, 2), result("b", 1, 3, 0.25)}
	want[0].Time = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	want[1].Error, want[1].OK = "lost", false
	want[1].Machine = measure.Machine{CPUs: 2, CPU: "x"}
	for _, r := range want {
		if err := appendResult(file, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readResultFile(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestBrokenResultFileNamesTheLine(t *testing.T) {
	_, err := readResults(strings.NewReader("{\"row\":\"a\"}\n\n{oops\n"))
	if err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Fatalf("got %v", err)
	}
}

// Each figure of a field list must be one that the JSON has, or a median would go nowhere.
func TestMediansAreOfEveryFigure(t *testing.T) {
	var r Result
	for i, f := range figures {
		f.set(&r, float64(i+1))
		if f.get(&r) != float64(i+1) {
			t.Errorf("figure %d is not read where it is written", i)
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	seen := map[float64]bool{}
	for _, v := range m {
		if x, ok := v.(float64); ok && x > 0 {
			seen[x] = true
		}
	}
	for i := range figures {
		if !seen[float64(i+1)] {
			t.Errorf("figure %d does not reach the JSON", i)
		}
	}
}

func TestMedians(t *testing.T) {
	failed := result("a", 4, 9999, 9999)
	failed.OK = false
	got := summarize([]Result{result("b", 1, 1, 1), result("a", 1, 30, 3), result("a", 2, 10, 1), failed, result("a", 3, 20, 9), result("c", 1, 1, 1), result("c", 2, 3, 2)})
	if len(got) != 3 || got[0].Row != "b" || got[1].Row != "a" || got[2].Row != "c" {
		t.Fatalf("rows are %+v", got)
	}
	if a := got[1]; a.Run != 3 || a.Rate != 20 || a.BrokerMicros != 3 || a.Messages != 20 {
		t.Fatalf("medians of three: %+v", a)
	}
	if c := got[2]; c.Run != 2 || c.Rate != 2 || c.BrokerMicros != 1.5 || c.Low.Rate != 1 || c.High.Rate != 3 || c.spread() != "100%" {
		t.Fatalf("medians of two: %+v", c)
	}
}

func TestRunsInOtherModesOrAtOtherBrokersHaveMediansOfTheirOwn(t *testing.T) {
	runs := []Result{result("a", 1, 1, 1), result("a", 2, 2, 1), result("a", 3, 3, 1), result("a", 4, 4, 1), result("a", 5, 5, 1)}
	runs[1].Mode, runs[2].Tag, runs[3].Tool, runs[4].X = "group", "rabbitmq", "perftest", 10
	got := summarize(runs)
	if len(got) != 5 {
		t.Fatalf("%d summaries of 5 different kinds: %+v", len(got), got)
	}
	for i, s := range got {
		if s.Rate != float64(i+1) || s.Run != 1 {
			t.Errorf("summary %d: %+v", i, s)
		}
	}
}

func TestLatencyCurvesHaveAMedianAtEachPoint(t *testing.T) {
	runs := []Result{result("a", 1, 1, 1), result("a", 2, 1, 1), result("a", 3, 1, 1)}
	for i := range runs {
		runs[i].Percentiles = []Percentile{{50, float64(i)}, {100, float64(10 * i)}}
	}
	runs[2].Percentiles = append(runs[2].Percentiles, Percentile{101, 1}) // not in all runs
	if got := summarize(runs)[0].Percentiles; len(got) != 2 || got[0] != (Percentile{50, 1}) || got[1] != (Percentile{100, 10}) {
		t.Fatalf("got %v", got)
	}
}

func TestDisturbancesAreNamed(t *testing.T) {
	for _, c := range []struct {
		change func(*Result)
		want   string
	}{
		{func(r *Result) { r.OtherCPUs = 0.6 }, "something else"},
		{func(r *Result) { r.StealCPUs = 0.2 }, "hypervisor"},
		{func(r *Result) { r.SwappedMB = 5 }, "swapped"},
		{func(r *Result) { r.ThrottledMS = 50 }, "quota"},
	} {
		r := result("a", 1, 1, 1)
		c.change(&r)
		if got := r.disturbances(); len(got) != 1 || !strings.Contains(got[0].String(), c.want) {
			t.Errorf("got %v, it should say %q", got, c.want)
		}
		var out bytes.Buffer
		writeNotes(&out, summarize([]Result{r}))
		if !strings.Contains(out.String(), "* 1 row has no undisturbed run") || !strings.Contains(out.String(), c.want) {
			t.Errorf("the notes do not say %q:\n%s", c.want, out.String())
		}
	}
	if got := result("a", 1, 1, 1).disturbances(); got != nil {
		t.Errorf("a quiet run: %v", got)
	}
}

func TestNotesNameEveryBrokerWithItsSettings(t *testing.T) {
	a, b := result("a", 1, 1, 1), result("a", 1, 1, 1)
	a.Broker, a.Settings = "RabbitMQ 4.0.5", map[string]string{"platform": "Erlang/OTP 27", "queue": "classic"}
	b.Tag, b.Broker = "u", "Leveret 1"
	var out bytes.Buffer
	writeNotes(&out, summarize([]Result{a, b, b}))
	for _, want := range []string{"t is RabbitMQ 4.0.5: platform=Erlang/OTP 27, queue=classic\n", "u is Leveret 1\n"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, out.String())
		}
	}
}

func TestMediansLeaveOutDisturbedRuns(t *testing.T) {
	spoilt := result("a", 1, 1, 1)
	spoilt.OtherCPUs = 1.2
	if got := summarize([]Result{spoilt, result("a", 2, 10, 2), result("a", 3, 30, 2)}); got[0].Run != 2 || got[0].Rate != 20 || got[0].LeftOut != 1 || got[0].Disturbed != nil {
		t.Fatalf("got %+v", got)
	}
	if got := summarize([]Result{spoilt}); len(got) != 1 || got[0].Rate != 1 || len(got[0].Disturbed) != 1 {
		t.Fatalf("a row with no other run: %+v", got)
	}
}

func TestCompareDividesTheFirstByTheSecond(t *testing.T) {
	var out bytes.Buffer
	ours := summarize([]Result{result("a", 1, 200e3, 2), result("only ours", 1, 1, 1)})
	theirs := summarize([]Result{result("a", 1, 10e3, 40), result("a", 2, 10e3, 40), result("a", 3, 10e3, 40)})
	if err := compare(&out, false, ours, theirs); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"20.0x", "0.050x", "200.0 k", "10.0 k", "t (3, os)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "only ours") {
		t.Errorf("a row without a counterpart was compared:\n%s", out.String())
	}
	if strings.Contains(out.String(), "UNEQUAL") {
		t.Errorf("equal modes are said to be unequal:\n%s", out.String())
	}
	if err := compare(&out, true, ours[1:], theirs); err == nil {
		t.Error("files without a common row were compared")
	}
}

func TestCompareNamesBrokersAndDisturbances(t *testing.T) {
	a, b := result("a", 1, 1, 1), result("a", 1, 2, 2)
	a.Broker, a.Settings = "Leveret 1", map[string]string{"flags": "--sync os"}
	b.Tag, b.Broker, b.StealCPUs = "kafka", "Apache Kafka 4", 0.5
	var out bytes.Buffer
	if err := compare(&out, false, summarize([]Result{a}), summarize([]Result{b})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"t is Leveret 1: flags=--sync os\n", "kafka is Apache Kafka 4\n", "  a*  ", "* 1 row has no undisturbed run (at worst 0.5 CPUs held back"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestCompareRefusesUnequalDurability(t *testing.T) {
	for _, c := range []struct {
		name, a, b, want string
	}{
		{"one flushes and the other does not", "group", "os", "a: mode group of t, mode os of t"},
		{"one unknown", "os", "", "a: mode os of t, unknown mode of t"},
		{"both unknown", "", "", "a: unknown mode of t, unknown mode of t"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := result("a", 1, 1, 1), result("a", 1, 2, 2)
			a.Mode, b.Mode = c.a, c.b
			var out bytes.Buffer
			err := compare(&out, false, summarize([]Result{a}), summarize([]Result{b}))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--unequal-modes") {
				t.Fatalf("got %v", err)
			}
			if out.Len() > 0 {
				t.Errorf("it compared all the same:\n%s", out.String())
			}
			if err := compare(&out, true, summarize([]Result{a}), summarize([]Result{b})); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), "UNEQUAL DURABILITY") || !strings.Contains(out.String(), c.want) || !strings.Contains(out.String(), "0.500x") {
				t.Errorf("allowed, it does not say so:\n%s", out.String())
			}
		})
	}
}

// Where one side has several modes, those that are equal make the pair.
func TestCompareFindsTheEqualModes(t *testing.T) {
	os, group, peer := result("a", 1, 1, 1), result("a", 1, 2, 1), result("a", 1, 4, 1)
	group.Mode, peer.Mode, peer.Tag = "group", "group", "peer"
	for _, c := range [][2][]Result{{{os, group}, {peer}}, {{peer}, {os, group}}} {
		ps := pairs(summarize(c[0]), summarize(c[1]))
		if len(ps) != 1 || ps[0].a.Mode != "group" || ps[0].b.Mode != "group" {
			t.Errorf("pairs are %+v", ps)
		}
	}
}

func TestBenchstatFormat(t *testing.T) {
	spoilt, failed, curve, tool := result("amqp-12b", 2, 9, 9), result("amqp-12b", 3, 9, 9), result("queues", 1, 5, 5), result("amqp-1k", 1, 7, 0)
	spoilt.StealCPUs, failed.OK = 1, false
	curve.Curve, curve.X = "queues", 100000
	tool.Tool, tool.Mode = "PerfTest 2", "page cache"
	first := result("amqp-12b", 1, 5e6, 0.165)
	first.Machine = measure.Machine{CPU: "x y", System: "linux/amd64"}
	first.P99 = 1.5
	var out bytes.Buffer
	if err := writeBenchstat(&out, []Result{first, spoilt, failed, curve, tool}); err != nil {
		t.Fatal(err)
	}
	const want = `goos: linux
goarch: amd64
cpu: x y
BenchmarkBroker/row=amqp-12b/mode=os 5000000 165 broker-CPU-ns/msg 5000000 msg/s 1500000 p99-ns
BenchmarkBroker/row=queues/x=100000/mode=os 5 5000 broker-CPU-ns/msg 5 msg/s
BenchmarkBroker/row=amqp-1k/tool=PerfTest_2/mode=page_cache 7 7 msg/s
`
	if out.String() != want {
		t.Fatalf("got\n%s", out.String())
	}
}

func TestTableShowsUnmeasuredFiguresAsDashes(t *testing.T) {
	var out bytes.Buffer
	if err := writeTable(&out, summarize([]Result{result("a", 1, 1_234_567, 0.1234)})); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "1.23 M") || !strings.Contains(s, "0.123") || !strings.Contains(s, " - ") {
		t.Fatalf("got\n%s", s)
	}
}

func TestResultFiguresFromARun(t *testing.T) {
	var r Result
	l := measure.NewLatencies()
	for i := range 1000 {
		l.AddDuration(time.Duration(i+1) * time.Millisecond)
	}
	r.setWork(work{messages: 1_000_000, bodyBytes: 100, elapsed: 2 * time.Second, latency: l, latencyName: "x"})
	r.setUsage(measure.Usage{CPU: measure.CPU{User: time.Second, System: 500 * time.Millisecond}, Wall: 3 * time.Second, PeakBytes: 64 << 20}, measure.CPU{User: 250 * time.Millisecond})
	r.setDisk(110_000_000)
	if r.BrokerPerGB != 15 || len(r.Percentiles) != len(percents) || r.Percentiles[len(percents)-1].Millis != r.Max {
		t.Fatalf("got %+v", r)
	}
	if r.syncs() != "-" {
		t.Fatalf("syncs of an unknown disk: %s", r.syncs())
	}
	r.setDevice(measure.Device{Name: "vda", FileSystem: "ext4"}, measure.DeviceCounters{WrittenBytes: 7})
	if r.syncs() != "0" || r.DeviceBytes != 7 || r.FileSystem != "ext4" {
		t.Fatalf("a disk that did not flush: %s, %+v", r.syncs(), r)
	}
	if r.Rate != 500_000 || r.MBs != 50 || r.BrokerMicros != 1.5 || r.ClientMicros != .25 || r.BrokerCPUs != .5 || r.PeakRSSMB != 64 || r.DiskPerMsg != 110 {
		t.Fatalf("got %+v", r)
	}
	if r.P50 < 499 || r.P50 > 501 || r.P999 < 998 || r.Max < 999 || r.Latency != "x" {
		t.Fatalf("got %+v", r)
	}
}

// A JetStream row has no namesake at another broker: the AMQP row that does the same stands in.
func TestCompareSetsJetStreamBesideTheAMQPRowThatDoesTheSame(t *testing.T) {
	row := func(name, protocol, workload string, body int) summary {
		r := result(name, 1, 1, 1)
		r.Protocol, r.Workload, r.BodyBytes = protocol, workload, body
		return summarize([]Result{r})[0]
	}
	ours := []summary{row("amqp-1k", "amqp", "confirm", 1024), row("amqp-12b", "amqp", "confirm", 12),
		row("kafka-1k", "kafka", "confirm", 1024), row("amqp-drain", "amqp", "drain", 1024), row("amqp-none", "amqp", "", 1024)}
	theirs := []summary{row("nats-1k", "jetstream", "confirm", 1024), row("nats-none", "jetstream", "", 1024)}
	for _, ps := range [][]pair{pairs(ours, theirs), pairs(theirs, ours)} {
		if len(ps) != 1 || ps[0].a.Row == ps[0].b.Row || ps[0].a.Row[len(ps[0].a.Row)-2:] != "1k" {
			t.Fatalf("pairs are %+v", ps)
		}
	}
	var out bytes.Buffer
	if err := compare(&out, false, ours, theirs); err != nil || !strings.Contains(out.String(), "amqp-1k ~ nats-1k") {
		t.Fatalf("%v:\n%s", err, out.String())
	}
}
