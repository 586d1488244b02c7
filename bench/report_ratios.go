package bench

import (
	"fmt"
	"slices"
)

// glance is the subject beside one other broker, over all rows of equal durability: a cell
// for each of measuresOf.
type glance struct {
	Tag   string
	Cells []cell
}

// pairLine is one row at two brokers, with each of measuresOf.
type pairLine struct {
	Row, Peer, Mode string
	Unequal         bool
	Versus          []versus
}

// versus is a figure at the subject and at the peer, and how many times better the
// subject's is: above 1 it is better, whichever way the figure counts.
type versus struct {
	Ours, Theirs, Times string
	Class               string  // better, worse or neither
	better              float64 // 0: not to be had
}

// measureOf is a figure that is compared.
type measureOf struct {
	Name, Unit string
	About      string // what is better
	of         func(pair) versus
}

var measuresOf = []measureOf{
	{"throughput", "msg/s", "more", throughputOf},
	{"broker CPU a message", "µs", "less", func(p pair) versus { return lessIsBetter(p.a.BrokerMicros, p.b.BrokerMicros) }},
	{"p99 latency", "ms", "shorter; paced and synchronous rows", latencyOf},
	{"peak memory", "MB", "less; mapped files included", func(p pair) versus { return lessIsBetter(p.a.PeakRSSMB, p.b.PeakRSSMB) }},
	{"peak memory without mapped files", "MB", "less", func(p pair) versus { return lessIsBetter(p.a.PeakAnonMB, p.b.PeakAnonMB) }},
}

// throughputOf leaves out rows whose rate is given.
func throughputOf(p pair) versus {
	if p.a.Workload == "paced" || p.a.Rate == 0 || p.b.Rate == 0 {
		return versus{}
	}
	return newVersus(count(p.a.Rate), count(p.b.Rate), p.a.Rate/p.b.Rate)
}

// latencyOf takes rows in which latency is not queueing: at full speed it says more about
// the depth of buffers than about the broker.
func latencyOf(p pair) versus {
	if !p.a.timed() {
		return versus{}
	}
	return lessIsBetter(p.a.P99, p.b.P99)
}

func lessIsBetter(ours, theirs float64) versus {
	if ours == 0 || theirs == 0 {
		return versus{}
	}
	return newVersus(figure(ours), figure(theirs), theirs/ours)
}

func newVersus(ours, theirs string, better float64) versus {
	return versus{Ours: ours, Theirs: theirs, Times: times(better), Class: betterOrWorse(better), better: better}
}

// betterOrWorse is neither where the ratio is written as one.
func betterOrWorse(ratio float64) string {
	switch {
	case times(ratio) == times(1):
		return ""
	case ratio < 1:
		return "worse"
	default:
		return "better"
	}
}

// times is a ratio as people say it.
func times(v float64) string {
	switch {
	case v >= 9.95:
		return fmt.Sprintf("%.0f×", v)
	case v >= 0.995:
		return fmt.Sprintf("%.1f×", v)
	default:
		return fmt.Sprintf("%.2f×", v)
	}
}

func newPairLine(p pair) pairLine {
	l := pairLine{Row: bothLabels(p.a.Result, p.b.Result), Peer: p.b.Tag, Mode: dash(p.a.Mode), Unequal: !p.equalModes()}
	if l.Unequal {
		l.Mode = dash(p.a.Mode) + " / " + dash(p.b.Mode)
	}
	for _, m := range measuresOf {
		l.Versus = append(l.Versus, m.of(p))
	}
	return l
}

// loss is where the subject does worse than one other broker, in one measure.
type loss struct {
	Title string
	Rows  []string
}

// glances has a line for each other broker, and says where the subject does worse.
func glances(ps []pair) (out []glance, losses []loss) {
	var tags []string
	for _, p := range ps {
		if !slices.Contains(tags, p.b.Tag) {
			tags = append(tags, p.b.Tag)
		}
	}
	for _, tag := range tags {
		g := glance{Tag: tag}
		of := slices.DeleteFunc(slices.Clone(ps), func(p pair) bool { return p.b.Tag != tag || !p.equalModes() })
		for _, m := range measuresOf {
			c, l := m.over(of)
			g.Cells = append(g.Cells, c)
			if len(l.Rows) > 0 {
				l.Title += " than " + tag
				losses = append(losses, l)
			}
		}
		out = append(out, g)
	}
	return out, losses
}

// over is the median of the ratios with the least and greatest, and where they are below 1.
func (m measureOf) over(ps []pair) (cell, loss) {
	var v []float64
	var l loss
	for _, p := range ps {
		x := m.of(p)
		if x.better == 0 {
			continue
		}
		v = append(v, x.better)
		if x.Class == "worse" {
			l.Rows = append(l.Rows, fmt.Sprintf("%s (%s against %s, %s)", label(p.a.Result), x.Ours, x.Theirs, x.Times))
		}
	}
	if len(v) == 0 {
		return cell{Text: "-"}, l
	}
	l.Title = fmt.Sprintf("Worse %s (%s), in %d of %d rows,", m.Name, m.Unit, len(l.Rows), len(v))
	middle := median(v) // sorts
	c := cell{Text: times(middle), Small: "one row", Class: betterOrWorse(middle)}
	if len(v) > 1 {
		c.Small = fmt.Sprintf("%s to %s, %d rows", times(v[0]), times(v[len(v)-1]), len(v))
	}
	return c, l
}
