package bench

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/bench/chart"
)

// sections are the report's drawings: bars for each protocol and size of messages, latency
// curves, cost curves.
func sections(rows []summary, names reportSeries) (out []section) {
	for _, p := range protocolsOf(rows) {
		if s := barSection(rows, names, p); len(s.Figures) > 0 {
			out = append(out, s)
		}
	}
	if s := latencySection(rows, names); len(s.Figures) > 0 {
		out = append(out, s)
	}
	if s := curveSection(rows, names); len(s.Figures) > 0 {
		out = append(out, s)
	}
	return out
}

func protocolsOf(rows []summary) (out []string) {
	for _, r := range rows {
		if r.Protocol != "" && !slices.Contains(out, r.Protocol) {
			out = append(out, r.Protocol)
		}
	}
	return out
}

func protocolTitle(p string) string {
	switch p {
	case "amqp":
		return "AMQP 0-9-1"
	case "kafka":
		return "Kafka protocol"
	case "amqp+kafka":
		return "In with one protocol, out with the other"
	case "jetstream":
		return "NATS JetStream"
	default:
		return p
	}
}

// timed rows are those whose point is latency: how many messages went through was given, or
// follows from it.
func (r Result) timed() bool { return r.Workload == "paced" || r.Workload == "sync" }

// barSection has two drawings for each size of messages: how many went through, and what
// one cost.
func barSection(rows []summary, names reportSeries, protocol string) section {
	s := section{ID: "p-" + strings.ReplaceAll(protocol, "+", "-"), Title: protocolTitle(protocol), Paired: true}
	byBytes := map[int][]summary{}
	for _, r := range rows {
		if row, home := place(r.Result, rows); home == protocol && r.Curve == "" && !r.timed() && r.Rate > 0 {
			r.Row = row
			byBytes[r.BodyBytes] = append(byBytes[r.BodyBytes], r)
		}
	}
	several := false
	for _, of := range byBytes {
		several = several || len(distinctSeries(of, names)) > 1
	}
	s.Note = "One scale, from zero."
	if several {
		s.Note = "Each row has a scale of its own, from zero: compare bars within a row."
	}
	for _, n := range slices.Sorted(maps.Keys(byBytes)) {
		of := byBytes[n]
		title := fmt.Sprintf("%s, %s", protocolTitle(protocol), sizeName(n))
		id := fmt.Sprintf("%s-%d", s.ID, n)
		rate := bars("Throughput: "+title, of, names, !several, func(r Result) float64 { return r.Rate }, func(r Result) string { return count(r.Rate) + "/s" })
		cost := bars("Broker CPU a message: "+title, of, names, !several, func(r Result) float64 { return r.BrokerMicros }, func(r Result) string { return figure(r.BrokerMicros) + " µs" })
		s.Figures = append(s.Figures,
			drawing(sizeName(n)+": messages a second", "more is better", rate.SVG(id+"-rate")),
			drawing(sizeName(n)+": broker CPU a message", "less is better", cost.SVG(id+"-cpu")))
	}
	return s
}

// place is the row and protocol under which a result is drawn: its own, or those of the
// AMQP row that does the same.
func place(r Result, rows []summary) (row, protocol string) {
	for _, s := range rows {
		if siblings(s.Result, r) {
			return s.Row, s.Protocol
		}
	}
	return r.Row, r.Protocol
}

func drawing(title, note, svg string) figureView {
	return figureView{title, note, template.HTML(svg)} //nolint:gosec // the chart package escapes every text in it
}

func distinctSeries(rows []summary, names reportSeries) map[int]bool {
	out := map[int]bool{}
	for _, r := range rows {
		out[names.number(r.Result)] = true
	}
	return out
}

// bars has a group for each row, in the order in which rows appear, and in it a bar for
// each broker that ran it.
func bars(title string, rows []summary, names reportSeries, oneScale bool, value func(Result) float64, text func(Result) string) chart.Bars {
	b := chart.Bars{Title: title, OneScale: oneScale}
	at := map[string]int{}
	for _, r := range rows {
		if value(r.Result) == 0 {
			continue
		}
		name := label(r.Result)
		i, known := at[name]
		if !known {
			i = len(b.Groups)
			at[name] = i
			b.Groups = append(b.Groups, chart.Group{Name: name})
		}
		b.Groups[i].Bars = append(b.Groups[i].Bars, chart.Bar{Series: names.number(r.Result), Name: names.name(r.Result),
			Value: value(r.Result), Low: value(r.Low), High: value(r.High), Text: text(r.Result)})
	}
	return b
}

// sizeName is a number of bytes in the unit that makes it whole.
func sizeName(n int) string {
	for _, u := range units {
		if v := int64(n); v >= u.bytes && v%u.bytes == 0 {
			return fmt.Sprintf("%d %s", v/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// latencyKey is what one drawing of latencies is about.
type latencyKey struct {
	workload string
	bytes    int
	protocol string // empty: all that there are
}

// mostCurves is how many lines a drawing of latencies may have before each protocol gets
// one of its own.
const mostCurves = 4

// latencyWorkloads are those drawn, in that order, and what they are called.
var latencyWorkloads = []struct{ name, title string }{
	{"paced", "5,000 messages a second"},
	{"sync", "Each publish waits for its confirm"},
	{"tail", "A reader at the tail, at full speed"},
}

// latencySection has a drawing for each workload and size in which latency is the point,
// with a curve for each broker and protocol, and those of readers at the tail.
func latencySection(rows []summary, names reportSeries) section {
	s := section{ID: "latency", Title: "Latency",
		Note: "The share of messages that took no longer. Paced rows count from when a message was due, so a stall shows in every message that it delayed; the others from the write."}
	for _, w := range latencyWorkloads {
		byKey := map[latencyKey][]summary{}
		for _, r := range rows {
			if r.Workload == w.name && len(r.Percentiles) > 0 && r.Curve == "" {
				k := latencyKey{workload: w.name, bytes: r.BodyBytes}
				byKey[k] = append(byKey[k], r)
			}
		}
		for k, of := range maps.Clone(byKey) {
			if len(of) > mostCurves {
				delete(byKey, k)
				for _, r := range of {
					k.protocol = r.Protocol
					byKey[k] = append(byKey[k], r)
				}
			}
		}
		keys := slices.SortedFunc(maps.Keys(byKey), func(a, b latencyKey) int {
			return cmp.Or(cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.protocol, b.protocol))
		})
		for _, k := range keys {
			title := w.title + ", " + sizeName(k.bytes)
			id := fmt.Sprintf("latency-%s-%d", k.workload, k.bytes)
			if k.protocol != "" {
				title += ", " + protocolTitle(k.protocol)
				id += "-" + k.protocol
			}
			s.Figures = append(s.Figures, drawing(title, "less is better", latencyLines("Latency: "+title, byKey[k], names).SVG(id)))
		}
	}
	return s
}

func latencyLines(title string, rows []summary, names reportSeries) chart.Lines {
	l := chart.Lines{Title: title, X: chart.Axis{Name: "share of messages", Scale: chart.Nines, Format: percent}, Y: chart.Axis{Name: "ms", Scale: chart.Log, Format: plain}}
	for _, r := range rows {
		line := chart.Line{Series: names.number(r.Result), Name: names.name(r.Result) + ", " + label(r.Result)}
		for _, p := range r.Percentiles {
			line.Points = append(line.Points, chart.Point{X: p.Percent, Y: max(p.Millis, 0.001)})
		}
		l.Lines = append(l.Lines, line)
	}
	return l
}

// curveSection has a drawing for each cost curve: what a message (or a byte, or a start)
// costs, and the broker's memory.
func curveSection(rows []summary, names reportSeries) section {
	s := section{ID: "curves", Title: "Cost curves", Note: "What grows is on the horizontal axis; the cost should stay flat. Solid: cost, left. Dashed: memory without mapped files, right."}
	byCurve := map[string][][]summary{}
	var order []string
	for _, series := range seriesOf(slices.DeleteFunc(slices.Clone(rows), func(r summary) bool { return r.Curve == "" })) {
		name := series[0].Curve
		if byCurve[name] == nil {
			order = append(order, name)
		}
		byCurve[name] = append(byCurve[name], series)
	}
	for _, name := range order {
		s.Figures = append(s.Figures, curveFigure(name, byCurve[name], names))
	}
	return s
}

func curveFigure(name string, of [][]summary, names reportSeries) figureView {
	first := of[0][0].Result
	cost, costName := costOf(first)
	if cost(first) == 0 {
		cost, costName = func(r Result) float64 { return r.P50 }, first.Latency+", ms"
	}
	l := chart.Lines{Title: "Cost curve " + name, X: chart.Axis{Name: first.XUnit, Scale: chart.Log, Format: short},
		Y: chart.Axis{Name: costName}, Right: chart.Axis{Name: "MB"}}
	for _, series := range of {
		r := series[0].Result
		slices.SortFunc(series, func(a, b summary) int { return cmp.Compare(a.X, b.X) })
		costs := chart.Line{Series: names.number(r), Name: names.name(r) + ": " + costName}
		memory := chart.Line{Series: names.number(r), Name: names.name(r) + ": memory", Right: true}
		for _, p := range series {
			if v := cost(p.Result); v > 0 {
				costs.Points = append(costs.Points, chart.Point{X: p.X, Y: v})
			}
			if p.PeakAnonMB > 0 {
				memory.Points = append(memory.Points, chart.Point{X: p.X, Y: p.PeakAnonMB})
			}
		}
		for _, line := range []chart.Line{costs, memory} {
			if len(line.Points) > 0 {
				l.Lines = append(l.Lines, line)
			}
		}
	}
	return drawing(name, first.About, l.SVG("curve-"+name))
}

func percent(v float64) string { return plain(v) + "%" }

// short is a number with thousands as k and so on.
func short(v float64) string {
	switch {
	case v >= 1e9:
		return plain(v/1e9) + "G"
	case v >= 1e6:
		return plain(v/1e6) + "M"
	case v >= 1e3:
		return plain(v/1e3) + "k"
	default:
		return plain(v)
	}
}
