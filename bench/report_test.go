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
		*f(&r) = float64(i + 1)
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
	got := medians([]Result{result("b", 1, 1, 1), result("a", 1, 30, 3), result("a", 2, 10, 1), failed, result("a", 3, 20, 9), result("c", 1, 1, 1), result("c", 2, 3, 2)})
	if len(got) != 3 || got[0].Row != "b" || got[1].Row != "a" || got[2].Row != "c" {
		t.Fatalf("rows are %+v", got)
	}
	if a := got[1]; a.Run != 3 || a.Rate != 20 || a.BrokerMicros != 3 || a.Messages != 20 {
		t.Fatalf("medians of three: %+v", a)
	}
	if c := got[2]; c.Run != 2 || c.Rate != 2 || c.BrokerMicros != 1.5 {
		t.Fatalf("medians of two: %+v", c)
	}
}

func TestMediansLeaveOutSpoiltRuns(t *testing.T) {
	spoilt := result("a", 1, 1, 1)
	spoilt.OtherCPUs = 1.2
	if got := medians([]Result{spoilt, result("a", 2, 10, 2), result("a", 3, 10, 2)}); got[0].Run != 2 || got[0].Rate != 10 {
		t.Fatalf("got %+v", got)
	}
	if got := medians([]Result{spoilt}); len(got) != 1 || got[0].Rate != 1 || !got[0].spoilt() {
		t.Fatalf("a row with no other run: %+v", got)
	}
}

func TestCompareDividesTheFirstByTheSecond(t *testing.T) {
	var out bytes.Buffer
	ours, theirs := []Result{result("a", 3, 200e3, 2), result("only ours", 1, 1, 1)}, []Result{result("a", 3, 10e3, 40)}
	if err := compare(&out, ours, theirs); err != nil {
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
	if err := compare(&out, ours[1:], theirs); err == nil {
		t.Error("files without a common row were compared")
	}
}

func TestTableShowsUnmeasuredFiguresAsDashes(t *testing.T) {
	var out bytes.Buffer
	if err := writeTable(&out, []Result{result("a", 1, 1_234_567, 0.1234)}); err != nil {
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
	if r.Rate != 500_000 || r.MBs != 50 || r.BrokerMicros != 1.5 || r.ClientMicros != .25 || r.BrokerCPUs != .5 || r.PeakRSSMB != 64 || r.DiskPerMsg != 110 {
		t.Fatalf("got %+v", r)
	}
	if r.P50 < 499 || r.P50 > 501 || r.P999 < 998 || r.Max < 999 || r.Latency != "x" {
		t.Fatalf("got %+v", r)
	}
}
