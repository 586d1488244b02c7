package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/testkit"
)

// Every series of every curve has a good result at every point, against a running broker.
func TestCurvesAreMeasuredAndChecked(t *testing.T) {
	s := testkit.Start(t)
	file := filepath.Join(t.TempDir(), "out.jsonl")
	const most = 100
	out, err := bench("--curves", "--amqp", s.Addr("amqp"), "--pid", fmt.Sprint(os.Getpid()), "--mode", "group", "--curve-max", fmt.Sprint(most),
		"--time", "50ms", "--warm-up", "0", "--max-bytes", "1MiB", "--quiet", "--out", file)
	if err != nil {
		t.Fatal(err)
	}
	results, err := readResultFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Result{}
	for _, r := range results {
		got[label(r)] = r
	}
	// What a small point can't show, or needs a broker of our own.
	rare := map[string]bool{"queues-declare": true, "queues-first": true, "queues-restart": true, "bindings-bind": true, "connections-open": true}
	for _, c := range curves() {
		for _, series := range c.series {
			if rare[series] {
				continue
			}
			for _, x := range c.upTo(most) {
				r, there := got[fmt.Sprintf("%s @ %d %s", series, x, c.unit)]
				if !there || !r.OK || r.Messages == 0 || r.BrokerMicros <= 0 || r.Curve != series || r.X != float64(x) || r.XUnit != c.unit {
					t.Errorf("%s at %d: %+v", series, x, r)
				}
			}
			if !strings.Contains(out, series+" over "+c.unit) {
				t.Errorf("the output says nothing about %s", series)
			}
		}
	}
}

func TestCurvesAreListed(t *testing.T) {
	out, err := bench("--curves", "--list", "--only", "^queues$")
	if err != nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, "1 to 100000 queues") {
		t.Fatalf("got %q, %v", out, err)
	}
	if _, err := bench("--curves", "--only", "nothing-is-called-so"); err == nil || !strings.Contains(err.Error(), "no curve matches") {
		t.Fatalf("got %v", err)
	}
	if _, err := bench("--curves", "--curve-max", "-1"); err == nil || !strings.Contains(err.Error(), "--curve-max") {
		t.Fatalf("got %v", err)
	}
}

func TestCurveTableTellsFlatFromSteep(t *testing.T) {
	point := func(series, unit string, x, micros, anon float64) summary {
		r := result(series, 1, 1000, micros)
		r.Curve, r.X, r.XUnit, r.PeakAnonMB, r.BrokerPerGB = series, x, unit, anon, micros/x*1e3
		return summary{Result: r}
	}
	var out bytes.Buffer
	err := writeCurves(&out, []summary{
		point("even", "queues", 1, 2, 10), point("steep", "queues", 1, 2, 0), point("even", "queues", 100_001, 2.1, 110), point("steep", "queues", 10, 3, 0),
		point("size", "bytes", 100, 1, 0), point("size", "bytes", 1000, 10, 0), point("size", "bytes", 10_000, 101, 0),
		point("restart", "queues", 1, 0, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"even over queues, t, mode os: flat (the dearest point is 1.05x", "steep over queues, t, mode os: not flat: the dearest point is 1.50x",
		"size over bytes, t, mode os: flat", "restart over queues, t, mode os: not measured", "1049"} { // 100 MiB over 100,000 queues
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}
