package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// flatWithin is how far apart the cheapest and the dearest point of a flat series may be.
const flatWithin = 1.10

// writeCurves prints each series of points, and how flat it is in what it costs the broker:
// a message, or a byte where the size of messages is what grows.
func writeCurves(w io.Writer, points []summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, series := range seriesOf(points) {
		first := series[0].Result
		cost, name := costOf(first)
		fmt.Fprintf(t, "%s\truns\tmsg/s\tMB/s\t%s\tof first\tp50 ms\tp99 ms\tpeak RSS MB\tanon MB\tanon B for each more\tother CPUs\t\n", first.Curve, name)
		low, high := cost(first), cost(first)
		for _, at := range series {
			p := at.Result
			c := cost(p)
			low, high = min(low, c), max(high, c)
			fmt.Fprintf(t, "%.0f\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", p.X, p.Run, count(p.Rate), figure(p.MBs), figure(c), ratio(c, cost(first)),
				figure(p.P50), figure(p.P99), figure(p.PeakRSSMB), figure(p.PeakAnonMB), eachMore(first, p), figure(p.OtherCPUs))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s over %s, %s, %s: %s\n\n", first.Curve, first.XUnit, first.Tag, modeName(first.Mode), flatness(low, high))
	}
	return nil
}

// seriesOf groups points by series and broker, in the order in which they come.
func seriesOf(points []summary) (out [][]summary) {
	at := map[identity]int{}
	for _, p := range points {
		id := p.identity()
		id.x = 0
		i, known := at[id]
		if !known {
			i = len(out)
			at[id] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], p)
	}
	return out
}

// costOf is what a series should be flat in.
func costOf(p Result) (cost func(Result) float64, name string) {
	if p.XUnit == "bytes" {
		return func(p Result) float64 { return p.BrokerPerGB }, "broker CPU-s/GB"
	}
	return func(p Result) float64 { return p.BrokerMicros }, "broker µs/msg"
}

// eachMore is the memory for each step from the first point of a series to this one, once
// they are enough for the broker's own ups and downs not to show.
func eachMore(first, p Result) string {
	if p.X-first.X < 900 {
		return "-"
	}
	return figure((p.PeakAnonMB - first.PeakAnonMB) * (1 << 20) / (p.X - first.X))
}

func flatness(low, high float64) string {
	switch {
	case low <= 0:
		return "not measured"
	case high <= low*flatWithin:
		return fmt.Sprintf("flat (the dearest point is %s the cheapest)", ratio(high, low))
	}
	return fmt.Sprintf("not flat: the dearest point is %s the cheapest", ratio(high, low))
}
