package bench

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

//go:embed report.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Parse(reportPage))

// report is what the page shows: everything is text or a finished drawing.
type report struct {
	Subject  string // the broker that the others are compared with: the first in the files
	From, To string
	Rows     int
	Facts    []fact
	Brokers  []brokerFacts
	Glances  []glance
	Losses   []loss
	Measures []measureOf
	Pairs    []pairLine
	Sections []section
	Tables   []table
	Curves   []table
	Failures []string
	Notes    []string
	Selves   []fact // rows that are about starting
}

// fact is a name and its value.
type fact struct{ Name, Value string }

// brokerFacts is one broker as it was measured.
type brokerFacts struct {
	Series, Tag, Broker, Mode string
	Settings                  []string
}

// section is a heading with drawings.
type section struct {
	ID, Title, Note string
	Paired          bool // two drawings belong together
	Figures         []figureView
}

// figureView is a drawing and what stands above it.
type figureView struct {
	Title, Note string
	SVG         template.HTML
}

// table is a table of text; the first cell of each line heads it.
type table struct {
	Title string
	Head  []string
	Lines [][]cell
}

// cell is a text, with a smaller one below and a class of its own.
type cell struct{ Text, Small, Class string }

// reportFiles makes a page of what earlier runs left.
func reportFiles(file string, names []string) error {
	results, err := readResultFiles(names)
	if err != nil {
		return err
	}
	return writeReportFile(file, results)
}

// writeReportFile makes an HTML page of result files. The page needs nothing but itself.
func writeReportFile(file string, results []Result) error {
	var b bytes.Buffer
	if err := writeReport(&b, results); err != nil {
		return err
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func writeReport(w io.Writer, results []Result) error {
	if len(results) == 0 {
		return fmt.Errorf("there are no results to report")
	}
	if err := reportTemplate.Execute(w, newReport(results)); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func newReport(results []Result) report {
	rows := summarize(results)
	names := seriesOfReport(rows)
	r := report{Subject: results[0].Tag, Measures: measuresOf, Rows: len(rows), Facts: machineFacts(results), Notes: disturbanceNotes(rows)}
	first, last := results[0].Time, results[0].Time
	for _, x := range results {
		if x.Time.Before(first) {
			first = x.Time
		}
		if x.Time.After(last) {
			last = x.Time
		}
		if !x.OK {
			r.Failures = append(r.Failures, fmt.Sprintf("%s, %s, run %d: %s", label(x), x.Tag, x.Run, x.Error))
		}
	}
	r.From, r.To = first.UTC().Format(time.DateTime), last.UTC().Format("15:04:05")
	r.Brokers = names.facts(rows)
	ours := slices.DeleteFunc(slices.Clone(rows), func(s summary) bool { return s.Tag != r.Subject })
	others := slices.DeleteFunc(slices.Clone(rows), func(s summary) bool { return s.Tag == r.Subject })
	ps := slices.DeleteFunc(pairs(ours, others), func(p pair) bool { return p.a.Curve != "" })
	r.Glances, r.Losses = glances(ps)
	for _, p := range ps {
		r.Pairs = append(r.Pairs, newPairLine(p))
	}
	r.Sections = sections(rows, names)
	r.Tables, r.Curves = tables(rows, names), curveTables(rows)
	for _, s := range rows {
		if s.Workload == "start" {
			r.Selves = append(r.Selves, fact{names.name(s.Result), fmt.Sprintf("%s ms from start to the first confirm, %s MB resident when idle (%s MB without mapped files)",
				figure(s.P50), figure(s.PeakRSSMB), figure(s.PeakAnonMB))})
		}
	}
	return r
}

// machineFacts are the machine's of all results; two machines in one report are both named.
func machineFacts(results []Result) (out []fact) {
	add := func(name string, of func(Result) string) {
		var values []string
		for _, r := range results {
			if v := of(r); v != "" && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			out = append(out, fact{name, strings.Join(values, "; ")})
		}
	}
	add("Processor", func(r Result) string { return fmt.Sprintf("%d × %s", r.Machine.CPUs, dash(r.Machine.CPU)) })
	add("Memory", func(r Result) string { return fmt.Sprintf("%.1f GiB", float64(r.Machine.MemoryMB)/1024) })
	add("Kernel", func(r Result) string { return r.Machine.Kernel })
	add("System", func(r Result) string { return r.Machine.System })
	add("Data on", func(r Result) string {
		if r.Device == "" {
			return ""
		}
		return r.FileSystem + " on " + r.Device
	})
	add("Load generator", func(r Result) string {
		if r.Tool != "" {
			return r.Tool
		}
		return "leveret bench, " + r.Machine.Go
	})
	return out
}

// reportSeries gives each broker and mode of a report a number and a name.
type reportSeries struct {
	ids   []identity
	modes bool // more than one: names have the mode
}

func seriesOfReport(rows []summary) reportSeries {
	var s reportSeries
	modes := map[string]bool{}
	for _, r := range rows {
		modes[r.Mode] = true
		if id := s.id(r.Result); !slices.Contains(s.ids, id) {
			s.ids = append(s.ids, id)
		}
	}
	s.modes = len(modes) > 1
	return s
}

func (s reportSeries) id(r Result) identity {
	return identity{tag: r.Tag, mode: r.Mode}
}

func (s reportSeries) number(r Result) int { return slices.Index(s.ids, s.id(r)) }

func (s reportSeries) name(r Result) string {
	n := r.Tag
	if s.modes {
		n += " " + dash(r.Mode)
	}
	return n
}

// facts are each series' broker, with the settings of all its results.
func (s reportSeries) facts(rows []summary) []brokerFacts {
	out := make([]brokerFacts, len(s.ids))
	all := make([]map[string]string, len(s.ids))
	for _, r := range rows {
		i := s.number(r.Result)
		if out[i].Tag == "" {
			all[i] = map[string]string{}
			out[i] = brokerFacts{Series: fmt.Sprintf("s%d", i%6), Tag: s.name(r.Result), Mode: dash(r.Mode)}
		}
		if r.Broker != "" {
			out[i].Broker = r.Broker
		}
		maps.Copy(all[i], r.Settings)
	}
	for i, m := range all {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			out[i].Settings = append(out[i].Settings, strings.TrimSuffix(k+"="+m[k], "="))
		}
	}
	return out
}
