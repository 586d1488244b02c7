package bench

import (
	"bytes"
	"flag"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

var update = flag.Bool("update", false, "write the golden files anew")

// reported is a run with all that a report shows.
func reported(row, workload, tag, mode string, run int, rate, micros float64) Result {
	r := result(row, run, rate, micros)
	r.Time = time.Date(2026, 11, 26, 5, 0, run, 0, time.UTC)
	r.Workload, r.Protocol, r.About, r.Tag, r.Mode, r.BodyBytes = workload, "amqp", "about "+row, tag, mode, 1024
	r.Broker, r.Settings = strings.ToUpper(tag)+" 1.0", map[string]string{"flags": "--fast <&>"}
	r.MBs, r.BrokerPerGB, r.P50, r.P99, r.P999, r.Max, r.Latency = rate/1000, micros, 1, 2, 3, 4, "publish to delivery"
	r.Percentiles = []Percentile{{50, 1}, {99, 2}, {100, 4}}
	r.PeakRSSMB, r.PeakAnonMB, r.Device, r.FileSystem, r.DiskSyncs = 100, 10, "vda", "ext4", 7
	r.Machine = measure.Machine{CPU: "Some Processor", CPUs: 2, MemoryMB: 2048, Kernel: "6.1", System: "linux/amd64", Go: "go1.26"}
	return r
}

func reportedResults() []Result {
	start := reported("start", "start", "leveret", "os", 1, 0, 0)
	start.Protocol, start.P50, start.Percentiles = "", 20, nil
	out := []Result{start}
	for run := 1; run <= 3; run++ {
		k := float64(run)
		out = append(out, reported("amqp-1k", "auto-ack", "leveret", "os", run, 1e6+k, 1+k/10), reported("amqp-e2e-5k", "paced", "leveret", "os", run, 5000, 50))
		out = append(out, reported("amqp-1k", "auto-ack", "rabbitmq", "os", run, 2e4, 40), reported("amqp-e2e-5k", "paced", "rabbitmq", "os", run, 5000, 200))
	}
	quorum := reported("amqp-sync-1k", "sync", "rabbitmq", "group", 1, 1000, 70)
	sync := reported("amqp-sync-1k", "sync", "leveret", "os", 1, 500, 90)
	failed := reported("amqp-12b", "auto-ack", "leveret", "os", 1, 1, 1)
	failed.OK, failed.Error = false, "2 missing <script>alert(1)</script>"
	noisy := reported("amqp-tail-1k", "tail", "leveret", "os", 1, 7e5, 1.5)
	noisy.StealCPUs = 0.4
	nats := reported("nats-e2e-5k", "paced", "nats", "os", 1, 5000, 80)
	nats.Protocol = "jetstream"
	full := reported("nats-1k", "auto-ack", "nats", "os", 1, 1e5, 9)
	full.Protocol = "jetstream"
	out = append(out, quorum, sync, failed, noisy, nats, full)
	for _, x := range []float64{0, 1000, 1e6} {
		r := reported("backlog-both", "", "leveret", "os", 1, 3e6, 0.2+x/1e7)
		r.Curve, r.X, r.XUnit = "backlog-both", x, "messages waiting"
		out = append(out, r)
	}
	return out
}

func page(t *testing.T, results []Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeReport(&b, results); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	unseen = regexp.MustCompile(`(?s)<style>.*?</style>`)
	tags   = regexp.MustCompile(`<[^>]*>`)
	blanks = regexp.MustCompile(`[ \t]*\n\s*`)
)

// The golden file is the page's text, a line for each element, so that a change shows what
// a reader will see of it.
func TestReportSays(t *testing.T) {
	got := html.UnescapeString(strings.TrimSpace(blanks.ReplaceAllString(tags.ReplaceAllString(unseen.ReplaceAllString(page(t, reportedResults()), ""), "\n"), "\n"))) + "\n"
	golden := filepath.Join("testdata", "report.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report's text has changed; go test -update writes it anew. It is now\n%s", got)
	}
}

func TestReportNeedsNothingButItself(t *testing.T) {
	p := page(t, reportedResults())
	rest := strings.ReplaceAll(p, `xmlns="http://www.w3.org/2000/svg"`, "")
	for _, banned := range []string{"http:", "https:", "<script", "<link", "@import", "url(", "src=", "<img"} {
		if strings.Contains(rest, banned) {
			t.Errorf("the page has %q", banned)
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(p, -1) {
		if ids[m[1]] {
			t.Errorf("id %q is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(p, -1) {
		if !ids[m[1]] {
			t.Errorf("a link leads to %q, which is not there", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`aria-labelledby="([^"]*)"`).FindAllStringSubmatch(p, -1) {
		for _, id := range strings.Fields(m[1]) {
			if !ids[id] {
				t.Errorf("a label is to be in %q, which is not there", id)
			}
		}
	}
	if n := strings.Count(p, "<svg"); n < 5 {
		t.Errorf("%d drawings", n)
	}
}

func TestReportOfOneBrokerComparesNothing(t *testing.T) {
	p := page(t, []Result{reported("amqp-1k", "auto-ack", "leveret", "os", 1, 1e6, 1)})
	for _, absent := range []string{"At a glance", "Row by row", "does worse", "failed their checks"} {
		if strings.Contains(p, absent) {
			t.Errorf("the page has %q", absent)
		}
	}
	if err := writeReport(&bytes.Buffer{}, nil); err == nil {
		t.Error("a report of nothing was written")
	}
}

func TestReportIsWrittenFromFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.jsonl")
	for _, r := range reportedResults() {
		if err := appendResult(file, r); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "report.html")
	if _, err := bench("--report", out, file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil || string(b) != page(t, reportedResults()) {
		t.Fatalf("the file has %d bytes, %v", len(b), err)
	}
	if _, err := bench("--report", out, filepath.Join(dir, "none")); err == nil {
		t.Fatal("results that are not there were reported")
	}
}

func TestTimes(t *testing.T) {
	for v, want := range map[float64]string{33.4: "33×", 9.97: "10×", 2.44: "2.4×", 1: "1.0×", 0.804: "0.80×", 0.012: "0.01×"} {
		if got := times(v); got != want {
			t.Errorf("%v is %s, it should be %s", v, got, want)
		}
	}
}
