package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// writeTable prints summaries, a line each.
func writeTable(w io.Writer, rows []summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "row\truns\tmode\tmsg/s\tspread\tMB/s\tbroker µs/msg\tbroker s/GB\tclient µs/msg\tp50 ms\tp99 ms\tp99.9 ms\tmax ms\tpeak RSS MB\tanon MB\tdisk B/msg\tsyncs\tother CPUs\t")
	for _, r := range rows {
		mark := ""
		if len(r.Disturbed) > 0 {
			mark = "*"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", label(r.Result)+mark, r.Run, dash(r.Mode),
			count(r.Rate), r.spread(), figure(r.MBs), figure(r.BrokerMicros), figure(r.BrokerPerGB), figure(r.ClientMicros), figure(r.P50), figure(r.P99), figure(r.P999), figure(r.Max),
			figure(r.PeakRSSMB), figure(r.PeakAnonMB), figure(r.DiskPerMsg), r.syncs(), figure(r.OtherCPUs))
	}
	return t.Flush()
}

// spread is how far apart the fastest and the slowest run are, of the median.
func (s summary) spread() string {
	if s.Run < 2 || s.Rate == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*(s.High.Rate-s.Low.Rate)/s.Rate)
}

// syncs are the disk's; none is a figure of its own where the disk is known.
func (r Result) syncs() string {
	if r.Device == "" {
		return "-"
	}
	return strconv.FormatInt(r.DiskSyncs, 10)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// plain is a number without an exponent or needless zeros.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

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

// writeNotes explains the table's columns, the machine and the brokers, and what disturbed
// the runs.
func writeNotes(w io.Writer, rows []summary) {
	if len(rows) == 0 {
		return
	}
	r := rows[len(rows)-1] // the first may be about starting, which watches no disk
	m := r.Machine
	fmt.Fprintf(w, "\n%d CPUs (%s), %d MB, %s, %s, load %s; broker and load share them. Disk %s (%s).\n",
		m.CPUs, dash(m.CPU), m.MemoryMB, dash(m.Kernel), m.Go, dash(m.Load), dash(r.Device), dash(r.FileSystem))
	for _, b := range brokers(rows) {
		fmt.Fprintln(w, b)
	}
	fmt.Fprintln(w, `µs/msg: processor time, user and system; the same number is CPU seconds a million messages. anon: resident memory without mapped files.
syncs: flushes of the disk while the load ran. Latency at full speed is queueing; the e2e rows are paced, and count from when a message was due.
Figures are medians of the runs that nothing disturbed; spread: highest less lowest rate, of the median.`)
	for _, line := range disturbanceNotes(rows) {
		fmt.Fprintln(w, line)
	}
}

// disturbanceNotes says how many runs were left out, and of what kind and how grave the
// disturbances of the runs were that had to be counted.
func disturbanceNotes(rows []summary) (out []string) {
	left, starred := 0, 0
	var all []disturbance
	for _, s := range rows {
		left += s.LeftOut
		all = append(all, s.Disturbed...)
		if len(s.Disturbed) > 0 {
			starred++
		}
	}
	if left > 0 {
		out = append(out, fmt.Sprintf("%s left out for being disturbed; the rows had better ones.", plural(left, "run was", "runs were")))
	}
	if starred > 0 {
		out = append(out, fmt.Sprintf("* %s no undisturbed run (at worst %s): measure again on a quiet machine.", plural(starred, "row has", "rows have"), disturbancesText(all)))
	}
	return out
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// brokers is a line for each broker with its version and settings.
func brokers(rows []summary) (out []string) {
	for _, r := range rows {
		line := r.Tag
		if r.Broker != "" {
			line += " is " + r.Broker
		}
		if s := settings(r.Settings); s != "" {
			line += ": " + s
		}
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// settings are in order of their names.
func settings(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, strings.TrimSuffix(k+"="+m[k], "="))
	}
	return strings.Join(parts, ", ")
}
