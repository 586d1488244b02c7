package bench

import "slices"

// summary is what the runs of one row at one broker come to. The Result holds the median
// of each figure by itself; its Run is the number of runs that went into it.
type summary struct {
	Result
	// Low and High hold each figure's smallest and largest value.
	Low, High Result
	// LeftOut is how many runs were not counted because something disturbed them.
	LeftOut int
	// Disturbed says what disturbed the runs that were counted, for want of better ones.
	Disturbed []disturbance
}

// identity is what makes runs comparable enough for a common median.
type identity struct {
	row, tag, tool, mode string
	x                    float64
}

func (r Result) identity() identity { return identity{r.Row, r.Tag, r.Tool, r.Mode, r.X} }

// summarize takes the successful runs together: those that nothing disturbed, or all if
// there is no such run. Rows keep the order in which they first appear; a row without a
// successful run is left out.
func summarize(all []Result) []summary {
	runs := map[identity][]Result{}
	var order []identity
	for _, r := range all {
		if !r.OK {
			continue
		}
		id := r.identity()
		if len(runs[id]) == 0 {
			order = append(order, id)
		}
		runs[id] = append(runs[id], r)
	}
	out := make([]summary, 0, len(order))
	for _, id := range order {
		clean := slices.DeleteFunc(slices.Clone(runs[id]), Result.disturbed)
		if len(clean) > 0 {
			s := summaryOf(clean)
			s.LeftOut = len(runs[id]) - len(clean)
			out = append(out, s)
			continue
		}
		s := summaryOf(runs[id])
		for _, r := range runs[id] {
			s.Disturbed = append(s.Disturbed, r.disturbances()...)
		}
		out = append(out, s)
	}
	return out
}

// summaryOf keeps the words of the first run.
func summaryOf(runs []Result) summary {
	s := summary{Result: runs[0], Low: runs[0], High: runs[0]}
	s.Run = len(runs)
	for _, f := range figures {
		v := make([]float64, 0, len(runs))
		for i := range runs {
			v = append(v, f.get(&runs[i]))
		}
		f.set(&s.Result, median(v))
		f.set(&s.Low, v[0]) // median has sorted them
		f.set(&s.High, v[len(v)-1])
	}
	s.Percentiles = medianCurve(runs)
	return s
}

// medianCurve is the median at each percentage that all runs have.
func medianCurve(runs []Result) []Percentile {
	var out []Percentile
	for i, p := range runs[0].Percentiles {
		var v []float64
		for _, r := range runs {
			if i < len(r.Percentiles) && r.Percentiles[i].Percent == p.Percent {
				v = append(v, r.Percentiles[i].Millis)
			}
		}
		if len(v) == len(runs) {
			out = append(out, Percentile{p.Percent, median(v)})
		}
	}
	return out
}

// figureOf is a field of which a median makes sense.
type figureOf struct {
	get func(*Result) float64
	set func(*Result, float64)
}

func number(at func(*Result) *float64) figureOf {
	return figureOf{func(r *Result) float64 { return *at(r) }, func(r *Result, v float64) { *at(r) = v }}
}

func whole(at func(*Result) *int64) figureOf {
	return figureOf{func(r *Result) float64 { return float64(*at(r)) }, func(r *Result, v float64) { *at(r) = int64(v) }}
}

var figures = []figureOf{
	whole(func(r *Result) *int64 { return &r.Messages }),
	number(func(r *Result) *float64 { return &r.Seconds }),
	number(func(r *Result) *float64 { return &r.Rate }),
	number(func(r *Result) *float64 { return &r.MBs }),
	number(func(r *Result) *float64 { return &r.BrokerMicros }),
	number(func(r *Result) *float64 { return &r.BrokerPerGB }),
	number(func(r *Result) *float64 { return &r.BrokerUser }),
	number(func(r *Result) *float64 { return &r.BrokerSystem }),
	number(func(r *Result) *float64 { return &r.BrokerCPUs }),
	number(func(r *Result) *float64 { return &r.ClientMicros }),
	whole(func(r *Result) *int64 { return &r.VoluntarySwitches }),
	whole(func(r *Result) *int64 { return &r.InvoluntarySwitches }),
	number(func(r *Result) *float64 { return &r.OtherCPUs }),
	number(func(r *Result) *float64 { return &r.StealCPUs }),
	number(func(r *Result) *float64 { return &r.SwappedMB }),
	number(func(r *Result) *float64 { return &r.ThrottledMS }),
	number(func(r *Result) *float64 { return &r.P50 }),
	number(func(r *Result) *float64 { return &r.P99 }),
	number(func(r *Result) *float64 { return &r.P999 }),
	number(func(r *Result) *float64 { return &r.Max }),
	number(func(r *Result) *float64 { return &r.LateMax }),
	number(func(r *Result) *float64 { return &r.ConfirmP50 }),
	number(func(r *Result) *float64 { return &r.ConfirmP99 }),
	number(func(r *Result) *float64 { return &r.ConfirmP999 }),
	number(func(r *Result) *float64 { return &r.PeakRSSMB }),
	number(func(r *Result) *float64 { return &r.PeakAnonMB }),
	number(func(r *Result) *float64 { return &r.RSSBeforeMB }),
	whole(func(r *Result) *int64 { return &r.DiskBytes }),
	number(func(r *Result) *float64 { return &r.DiskPerMsg }),
	whole(func(r *Result) *int64 { return &r.WrittenBytes }),
	whole(func(r *Result) *int64 { return &r.DeviceBytes }),
	whole(func(r *Result) *int64 { return &r.DiskSyncs }),
	whole(func(r *Result) *int64 { return &r.BrokerSyncs }),
}

// median sorts v, which must not be empty; of an even number of values it is the mean of
// the middle two.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
