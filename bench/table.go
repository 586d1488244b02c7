package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// writeTable prints results, a line each; Run is printed as the number of runs.
func writeTable(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "row\truns\tmode\tmsg/s\tMB/s\tbroker µs/msg\tclient µs/msg\tp50 ms\tp99 ms\tp99.9 ms\tmax ms\tpeak RSS MB\tanon MB\tdisk B/msg\tother CPUs\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Row, r.Run, dash(r.Mode),
			count(r.Rate), figure(r.MBs), figure(r.BrokerMicros), figure(r.ClientMicros), figure(r.P50), figure(r.P99), figure(r.P999), figure(r.Max),
			figure(r.PeakRSSMB), figure(r.PeakAnonMB), figure(r.DiskPerMsg), figure(r.OtherCPUs))
	}
	return t.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// figure prints three significant digits or so; nothing for what was not measured.
func figure(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v <= -1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// count prints a rate with its thousands or millions.
func count(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v == 0:
		return "-"
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// writeNotes explains the table's columns and the machine.
func writeNotes(w io.Writer, results []Result) {
	if len(results) == 0 {
		return
	}
	m := results[0].Machine
	fmt.Fprintf(w, "\n%d CPUs (%s), %d MB, %s, %s, load %s; broker and load share them.\n", m.CPUs, dash(m.CPU), m.MemoryMB, dash(m.Kernel), m.Go, dash(m.Load))
	fmt.Fprintln(w, "µs/msg: processor time, user and system. anon: resident memory without mapped files. Latency at full speed is queueing; the e2e rows are paced.\nFigures are medians of the runs in which at most 0.5 CPUs were busy with something else.")
	var spoilt []string
	for _, r := range results {
		if r.spoilt() {
			spoilt = append(spoilt, r.Row)
		}
	}
	if len(spoilt) > 0 {
		fmt.Fprintln(w, "Only runs in which more was busy, so measure again on a quiet machine: "+strings.Join(spoilt, ", "))
	}
}
