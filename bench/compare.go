package bench

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// compareFiles prints, for each row that the first file shares with the others, the medians
// of both and what the first is of the other. Ratios above 1 are better for rates, below 1
// for the rest.
func compareFiles(w io.Writer, first string, others ...string) error {
	a, err := readResultFile(first)
	if err != nil {
		return err
	}
	var b []Result
	for _, name := range others {
		r, err := readResultFile(name)
		if err != nil {
			return err
		}
		b = append(b, r...)
	}
	return compare(w, medians(a), medians(b))
}

func compare(w io.Writer, a, b []Result) error {
	other := map[string]Result{}
	for _, r := range b {
		other[r.Row] = r
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "row\ta (runs, mode)\tb (runs, mode)\tmsg/s a\tb\ta/b\tbroker µs a\tb\ta/b\tp50 ms a\tb\ta/b\tp99 ms a\tb\ta/b\tRSS MB a\tb\ta/b\tanon MB a\tb\ta/b\t")
	common := 0
	for _, x := range a {
		y, ok := other[x.Row]
		if !ok {
			continue
		}
		common++
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t", x.Row, title(x), title(y), count(x.Rate), count(y.Rate), ratio(x.Rate, y.Rate))
		for _, f := range []func(*Result) *float64{
			func(r *Result) *float64 { return &r.BrokerMicros },
			func(r *Result) *float64 { return &r.P50 },
			func(r *Result) *float64 { return &r.P99 },
			func(r *Result) *float64 { return &r.PeakRSSMB },
			func(r *Result) *float64 { return &r.PeakAnonMB },
		} {
			v, u := *f(&x), *f(&y)
			fmt.Fprintf(t, "%s\t%s\t%s\t", figure(v), figure(u), ratio(v, u))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if common == 0 {
		return errors.New("the files have no row in common")
	}
	return nil
}

func title(r Result) string { return fmt.Sprintf("%s (%d, %s)", r.Tag, r.Run, dash(r.Mode)) }

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return figure(a/b) + "x"
}
