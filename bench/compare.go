package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// compareFiles prints, for each row that the first file shares with the others, the medians
// of both and what the first is of the other. Ratios above 1 are better for rates, below 1
// for the rest. Rows whose confirms do not mean the same are refused, unless unequal allows them.
func compareFiles(w io.Writer, unequal bool, first string, others ...string) error {
	a, err := readResultFile(first)
	if err != nil {
		return err
	}
	b, err := readResultFiles(others)
	if err != nil {
		return err
	}
	return compare(w, unequal, summarize(a), summarize(b))
}

// pair is a row at two brokers.
type pair struct{ a, b summary }

// equalModes tells whether a confirm meant the same in both. What is not known is not equal.
func (p pair) equalModes() bool { return p.a.Mode == p.b.Mode && p.a.Mode != "" }

// same tells whether two summaries are of the same row, or of siblings, whatever broker and mode.
func same(a, b summary) bool {
	return a.X == b.X && a.Tool == b.Tool && (a.Row == b.Row || siblings(a.Result, b.Result) || siblings(b.Result, a.Result))
}

// siblings tells whether an AMQP row and a JetStream row do the same. JetStream's protocol is
// spoken by one server only, so there is no other way to compare that one.
func siblings(a, b Result) bool {
	return a.Protocol == amqp.String() && b.Protocol == jetStream.String() && a.Workload != "" && a.Workload == b.Workload && a.BodyBytes == b.BodyBytes
}

// pairs matches rows. Where a row was measured in several modes, those pair that are
// equal; only where none is, the unequal ones do.
func pairs(a, b []summary) (out []pair) {
	for _, x := range a {
		for _, y := range b {
			if same(x, y) && (pair{x, y}.equalModes() || !haveEqual(a, b, x, y)) {
				out = append(out, pair{x, y})
			}
		}
	}
	return out
}

// haveEqual tells whether the brokers of x and y have a pair of equal modes for x's row.
func haveEqual(a, b []summary, x, y summary) bool {
	for _, s := range a {
		for _, t := range b {
			if same(s, x) && same(t, x) && s.Tag == x.Tag && t.Tag == y.Tag && (pair{s, t}).equalModes() {
				return true
			}
		}
	}
	return false
}

func compare(w io.Writer, unequal bool, a, b []summary) error {
	ps := pairs(a, b)
	if len(ps) == 0 {
		return errors.New("the files have no row in common")
	}
	var bad []string
	for _, p := range ps {
		if !p.equalModes() {
			bad = append(bad, fmt.Sprintf("  %s: %s of %s, %s of %s", label(p.a.Result), modeName(p.a.Mode), p.a.Tag, modeName(p.b.Mode), p.b.Tag))
		}
	}
	if len(bad) > 0 && !unequal {
		return fmt.Errorf("confirms do not mean the same (an unknown mode, see --mode, is equal to none):\n%s\n--unequal-modes compares all the same", strings.Join(bad, "\n"))
	}
	if err := writePairs(w, ps); err != nil {
		return err
	}
	writePairNotes(w, ps)
	if len(bad) > 0 {
		fmt.Fprintf(w, "\nUNEQUAL DURABILITY: the ratios of these rows compare different promises.\n%s\n", strings.Join(bad, "\n"))
	}
	return nil
}

// writePairNotes says what the two sides are, and which rows had only disturbed runs.
func writePairNotes(w io.Writer, ps []pair) {
	var sides []summary
	for _, p := range ps {
		sides = append(sides, p.a)
	}
	for _, p := range ps {
		sides = append(sides, p.b)
	}
	fmt.Fprintln(w)
	for _, line := range slices.Concat(brokers(sides), disturbanceNotes(sides)) {
		fmt.Fprintln(w, line)
	}
}

func writePairs(w io.Writer, ps []pair) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "row\ta (runs, mode)\tb (runs, mode)\tmsg/s a\tb\ta/b\tbroker µs a\tb\ta/b\tp50 ms a\tb\ta/b\tp99 ms a\tb\ta/b\tRSS MB a\tb\ta/b\tanon MB a\tb\ta/b\t")
	for _, p := range ps {
		x, y := p.a.Result, p.b.Result
		mark := ""
		if len(p.a.Disturbed)+len(p.b.Disturbed) > 0 {
			mark = "*"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t", bothLabels(x, y)+mark, title(x), title(y), count(x.Rate), count(y.Rate), ratio(x.Rate, y.Rate))
		for _, f := range [][2]float64{{x.BrokerMicros, y.BrokerMicros}, {x.P50, y.P50}, {x.P99, y.P99}, {x.PeakRSSMB, y.PeakRSSMB}, {x.PeakAnonMB, y.PeakAnonMB}} {
			fmt.Fprintf(t, "%s\t%s\t%s\t", figure(f[0]), figure(f[1]), ratio(f[0], f[1]))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// bothLabels names a pair's row, or two where they are siblings.
func bothLabels(x, y Result) string {
	if x.Row == y.Row {
		return label(x)
	}
	return label(x) + " ~ " + label(y)
}

// label is a row's name, with its place on a curve and the load's program, if it has those.
func label(r Result) string {
	s := r.Row
	if r.Curve != "" {
		s += " @ " + plain(r.X) + " " + r.XUnit
	}
	if r.Tool != "" {
		s += " (" + r.Tool + ")"
	}
	return s
}

func modeName(mode string) string {
	if mode == "" {
		return "unknown mode"
	}
	return "mode " + mode
}

func title(r Result) string { return fmt.Sprintf("%s (%d, %s)", r.Tag, r.Run, dash(r.Mode)) }

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return figure(a/b) + "x"
}
