package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// tables hold every figure, a table for each protocol.
func tables(rows []summary, names reportSeries) (out []table) {
	for _, p := range protocolsOf(rows) {
		t := table{Title: protocolTitle(p), Head: []string{"row", "broker", "mode", "runs", "msg/s", "MB/s", "CPU µs/msg", "CPU s/GB", "load µs/msg",
			"p50 ms", "p99 ms", "p99.9 ms", "max ms", "latency is", "confirm p99 ms", "peak RSS MB", "anon MB", "disk B/msg", "written B/msg", "disk syncs", "own syncs", "switches/1k msg"}}
		for _, r := range sideBySide(rows) {
			if r.Protocol == p && r.Curve == "" {
				t.Lines = append(t.Lines, figuresLine(r, names))
			}
		}
		if len(t.Lines) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// sideBySide has what several brokers made of one row together.
func sideBySide(rows []summary) []summary {
	rank := map[string]int{}
	for _, r := range rows {
		if _, seen := rank[r.Row]; !seen {
			rank[r.Row] = len(rank)
		}
	}
	out := slices.Clone(rows)
	slices.SortStableFunc(out, func(a, b summary) int { return cmp.Compare(rank[a.Row], rank[b.Row]) })
	return out
}

func figuresLine(s summary, names reportSeries) []cell {
	row := cell{Text: label(s.Result), Small: s.About}
	if len(s.Disturbed) > 0 {
		row.Text, row.Class = row.Text+" *", "disturbed"
		row.Small += "; disturbed: " + disturbancesText(s.Disturbed)
	}
	runs := cell{Text: fmt.Sprint(s.Run)}
	if s.LeftOut > 0 {
		runs.Small = fmt.Sprintf("+%d left out", s.LeftOut)
	}
	text := func(v float64) cell { return cell{Text: figure(v)} }
	perMessage := func(v int64) cell {
		if s.Messages == 0 {
			return cell{Text: "-"}
		}
		return text(float64(v) / float64(s.Messages))
	}
	own := cell{Text: "-"}
	if s.BrokerSyncs > 0 {
		own.Text = fmt.Sprint(s.BrokerSyncs)
	}
	return []cell{row, {Text: names.name(s.Result)}, {Text: dash(s.Mode)}, runs,
		withRange(s, count, func(r Result) float64 { return r.Rate }), text(s.MBs),
		withRange(s, figure, func(r Result) float64 { return r.BrokerMicros }), text(s.BrokerPerGB), text(s.ClientMicros),
		text(s.P50), withRange(s, figure, func(r Result) float64 { return r.P99 }), text(s.P999), text(s.Max), {Text: dash(s.Latency)}, text(s.ConfirmP99),
		text(s.PeakRSSMB), text(s.PeakAnonMB), text(s.DiskPerMsg), perMessage(s.WrittenBytes), {Text: s.syncs()}, own,
		perMessage(1000 * (s.VoluntarySwitches + s.InvoluntarySwitches))}
}

// withRange is the median, and below it the lowest and highest of several runs.
func withRange(s summary, print func(float64) string, of func(Result) float64) cell {
	c := cell{Text: print(of(s.Result))}
	if low, high := of(s.Low), of(s.High); low != high {
		c.Small = print(low) + " to " + print(high)
	}
	return c
}

// disturbancesText is the worst of each kind.
func disturbancesText(all []disturbance) string {
	var kinds []string
	worst := map[string]disturbance{}
	for _, d := range all {
		if _, seen := worst[d.what]; !seen {
			kinds = append(kinds, d.what)
		}
		if d.value > worst[d.what].value {
			worst[d.what] = d
		}
	}
	for i, k := range kinds {
		kinds[i] = worst[k].String()
	}
	return strings.Join(kinds, ", ")
}

// curveTables hold the points of the cost curves.
func curveTables(rows []summary) (out []table) {
	points := slices.DeleteFunc(slices.Clone(rows), func(r summary) bool { return r.Curve == "" })
	for _, series := range seriesOf(points) {
		first := series[0].Result
		cost, name := costOf(first)
		low, high := cost(first), cost(first)
		t := table{Head: []string{first.XUnit, "runs", "msg/s", "MB/s", name, "of first", "p50 ms", "p99 ms", "peak RSS MB", "anon MB", "anon B for each more"}}
		for _, p := range series {
			low, high = min(low, cost(p.Result)), max(high, cost(p.Result))
			x := cell{Text: plain(p.X)}
			if len(p.Disturbed) > 0 {
				x.Class, x.Small = "disturbed", "disturbed: "+disturbancesText(p.Disturbed)
			}
			t.Lines = append(t.Lines, []cell{x, {Text: fmt.Sprint(p.Run)}, {Text: count(p.Rate)}, {Text: figure(p.MBs)},
				withRange(p, figure, cost), {Text: ratio(cost(p.Result), cost(first))}, {Text: figure(p.P50)}, {Text: figure(p.P99)},
				{Text: figure(p.PeakRSSMB)}, {Text: figure(p.PeakAnonMB)}, {Text: eachMore(first, p.Result)}})
		}
		t.Title = fmt.Sprintf("%s, %s, %s: %s", first.Curve, first.Tag, modeName(first.Mode), flatness(low, high))
		out = append(out, t)
	}
	return out
}
