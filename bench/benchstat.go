package bench

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// writeBenchstat prints each successful run as a line of a Go benchmark, which benchstat
// (golang.org/x/perf) reads to compare two commits with confidence intervals. Disturbed
// runs of a row are left out where there are others. The figure to decide by is the
// broker's processor time a message: it holds still while the rest of the machine does not.
func writeBenchstat(w io.Writer, results []Result) error {
	clean := map[identity]bool{}
	for _, r := range results {
		if r.OK && !r.disturbed() {
			clean[r.identity()] = true
		}
	}
	b := bufio.NewWriter(w)
	for i, r := range results {
		if i == 0 {
			os, arch, _ := strings.Cut(r.Machine.System, "/")
			fmt.Fprintf(b, "goos: %s\ngoarch: %s\ncpu: %s\n", os, arch, r.Machine.CPU)
		}
		if r.OK && (!r.disturbed() || !clean[r.identity()]) {
			fmt.Fprintln(b, benchstatLine(r))
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write benchmark format: %w", err)
	}
	return nil
}

// benchstatLine names row and mode as benchstat's keys, so that it can group by either.
// What was not measured has no figure; a row that is about starting has its time instead.
func benchstatLine(r Result) string {
	name := "BenchmarkBroker/row=" + r.Row
	if r.Curve != "" {
		name += "/x=" + plain(r.X)
	}
	if r.Tool != "" {
		name += "/tool=" + strings.Join(strings.Fields(r.Tool), "_")
	}
	if r.Mode != "" {
		name += "/mode=" + strings.Join(strings.Fields(r.Mode), "_")
	}
	line := fmt.Sprintf("%s %d", name, max(1, r.Messages))
	for _, f := range []struct {
		value float64
		unit  string
	}{
		{r.BrokerMicros * 1e3, "broker-CPU-ns/msg"},
		{r.Rate, "msg/s"},
		{r.P50 * 1e6, "p50-ns"},
		{r.P99 * 1e6, "p99-ns"},
		{r.PeakRSSMB * (1 << 20), "peak-RSS-B"},
	} {
		if f.value > 0 {
			line += fmt.Sprintf(" %s %s", plain(round(f.value, 3)), f.unit)
		}
	}
	return line
}
