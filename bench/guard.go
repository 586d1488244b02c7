package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// guard compares two builds of the broker by the processor time that a message costs them,
// and says no when one row got dearer. Wall clock does not come into it: this is for
// machines that others use.
//
// Runs alternate between the builds, and so does who goes first. A row whose median is
// above what is allowed is run again, more often than before, and only if it still is, and
// the difference can't be chance, has it regressed. A false alarm would be worse than a
// small regression that gets by: the limit is to be well above what the same build
// measures against itself.
type guard struct {
	options *options
	log     io.Writer
	micros  map[string]*[2][]float64 // of each row: what the base's and the head's runs cost
	order   []string
}

// Sides of a guard.
const (
	base = 0
	head = 1
)

// certain is the probability below which a difference counts as no chance.
const certain = 0.01

// retryFactor is how many times more pairs a suspicious row gets than every row got.
const retryFactor = 2

// runGuard measures the rows and prints the verdicts; it fails if a row regressed.
func runGuard(ctx context.Context, o *options, rows []row, out, log io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("the time limit of %s", o.limit))
	defer cancel()
	g := &guard{options: o, log: log, micros: map[string]*[2][]float64{}}
	if err := g.pairs(ctx, rows, o.runs); err != nil {
		return err
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !g.verdict(r.name).above(o.allow) })
	if len(rows) > 0 {
		for _, r := range rows {
			g.note("%s seems %s dearer: it is run again", r.name, dearer(g.verdict(r.name).ratio))
		}
		if err := g.pairs(ctx, rows, retryFactor*o.runs); err != nil {
			return err
		}
	}
	return g.report(out)
}

func (g *guard) note(format string, args ...any) {
	if !g.options.quiet {
		fmt.Fprintf(g.log, format+"\n", args...)
	}
}

// pairs runs the rows so many times on each build.
func (g *guard) pairs(ctx context.Context, rows []row, n int) error {
	for i := range n {
		g.note("pair %d of %d, %d rows", i+1, n, len(rows))
		order := []int{base, head}
		if i%2 == 1 {
			order = []int{head, base}
		}
		for _, side := range order {
			if err := g.pass(ctx, rows, side); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass runs the rows once on one build. A row that fails its checks fails the guard.
func (g *guard) pass(ctx context.Context, rows []row, side int) error {
	o := *g.options
	o.runs, o.quiet = 1, true
	if side == base {
		o.binary = o.against
	}
	o.tag = [...]string{"base", "head"}[side]
	s := &session{options: &o, rows: rows, log: g.log}
	if err := errors.Join(s.run(ctx), s.failures()); err != nil {
		return fmt.Errorf("%s: %w", o.tag, err)
	}
	for _, r := range s.results {
		m := g.micros[r.Row]
		if m == nil {
			m = new([2][]float64)
			g.micros[r.Row] = m
			g.order = append(g.order, r.Row)
		}
		m[side] = append(m[side], r.BrokerMicros)
	}
	return nil
}

// verdict is what the runs of a row say.
type verdict struct {
	base, head float64 // medians
	ratio      float64 // head to base
	chance     float64 // probability of such a difference, or a larger one, between equals
	runs       int     // of the head
}

func (g *guard) verdict(row string) verdict {
	m := g.micros[row]
	if m == nil || len(m[base]) == 0 || len(m[head]) == 0 {
		return verdict{chance: 1}
	}
	v := verdict{base: median(slices.Clone(m[base])), head: median(slices.Clone(m[head])), chance: chance(m[base], m[head]), runs: len(m[head])}
	if v.base > 0 {
		v.ratio = v.head / v.base
	}
	return v
}

func (v verdict) above(allow float64) bool { return v.ratio > allow }

func (v verdict) regressed(allow float64) bool { return v.above(allow) && v.chance < certain }

func (g *guard) report(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "row\truns\tbase µs/msg\thead µs/msg\thead\tchance\t\t")
	var bad []error
	for _, row := range g.order {
		v := g.verdict(row)
		word := ""
		switch {
		case v.regressed(g.options.allow):
			word = "REGRESSED"
			bad = append(bad, fmt.Errorf("%s costs the broker %s more processor time a message", row, dearer(v.ratio)))
		case v.above(g.options.allow):
			word = "may be chance"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%+.1f %%\t%.3f\t%s\t\n", row, v.runs, figure(v.base), figure(v.head), (v.ratio-1)*100, v.chance, word)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "Medians of the broker's processor time. Above %s a row is run again, and has regressed if such a difference between equals is less likely than %v.\n",
		dearer(g.options.allow), certain)
	return errors.Join(bad...)
}

func dearer(ratio float64) string { return fmt.Sprintf("%.0f %%", (ratio-1)*100) }

// chance is the probability that two sets of runs of the same thing come out as these or
// further apart, b above a: the exact Mann-Whitney test, one-sided. It asks nothing of the
// distribution. Equal values count half, and what is left of a half is dropped, so that
// ties only make it more likely.
func chance(a, b []float64) float64 {
	halves := 0
	for _, x := range a {
		for _, y := range b {
			switch {
			case y > x:
				halves += 2
			case y == x:
				halves++
			}
		}
	}
	// ways[i][u]: of the orders of i runs of b among the runs of a seen so far, those in
	// which u pairs have b above a.
	m, n := len(a), len(b)
	ways := make([][]float64, n+1)
	for i := range ways {
		ways[i] = make([]float64, m*n+1)
	}
	ways[0][0] = 1
	for i := 1; i <= n; i++ {
		ways[i][0] = 1 // without any a there is one order
	}
	for j := 1; j <= m; j++ {
		for i := 1; i <= n; i++ { // the highest is of a: as with one a less; of b: it is above j of them
			for u := m * n; u >= 0; u-- {
				w := ways[i][u]
				if u >= j {
					w += ways[i-1][u-j]
				}
				ways[i][u] = w
			}
		}
	}
	var above, all float64
	for u, w := range ways[n] {
		all += w
		if u >= halves/2 {
			above += w
		}
	}
	return above / all
}
