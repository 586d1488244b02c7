package bench

import "slices"

// medians makes one Result of the successful runs of each row: every figure is the median
// of its own, over the runs that nothing else on the machine spoilt, or over all if there
// is no such run. Rows keep the order in which they first appear; a row without a
// successful run is left out.
func medians(all []Result) []Result {
	byRow := map[string][]Result{}
	var order []string
	for _, r := range all {
		if !r.OK {
			continue
		}
		if len(byRow[r.Row]) == 0 {
			order = append(order, r.Row)
		}
		byRow[r.Row] = append(byRow[r.Row], r)
	}
	out := make([]Result, 0, len(order))
	for _, row := range order {
		runs := byRow[row]
		clean := slices.DeleteFunc(slices.Clone(runs), Result.spoilt)
		if len(clean) == 0 {
			clean = runs
		}
		out = append(out, medianOf(clean))
	}
	return out
}

// spoiltAbove is how many CPUs may be busy with neither broker nor load.
const spoiltAbove = 0.5

func (r Result) spoilt() bool { return r.OtherCPUs > spoiltAbove }

// medianOf keeps the words of the first run; Run becomes the number of runs.
func medianOf(runs []Result) Result {
	m := runs[0]
	m.Run = len(runs)
	for _, field := range figures {
		v := make([]float64, 0, len(runs))
		for i := range runs {
			v = append(v, *field(&runs[i]))
		}
		*field(&m) = median(v)
	}
	n := make([]float64, 0, len(runs))
	for _, r := range runs {
		n = append(n, float64(r.Messages))
	}
	m.Messages = int64(median(n))
	return m
}

// figures are the fields of which a median makes sense.
var figures = []func(*Result) *float64{
	func(r *Result) *float64 { return &r.Seconds },
	func(r *Result) *float64 { return &r.Rate },
	func(r *Result) *float64 { return &r.MBs },
	func(r *Result) *float64 { return &r.BrokerMicros },
	func(r *Result) *float64 { return &r.BrokerUser },
	func(r *Result) *float64 { return &r.BrokerSystem },
	func(r *Result) *float64 { return &r.BrokerCPUs },
	func(r *Result) *float64 { return &r.ClientMicros },
	func(r *Result) *float64 { return &r.OtherCPUs },
	func(r *Result) *float64 { return &r.P50 },
	func(r *Result) *float64 { return &r.P99 },
	func(r *Result) *float64 { return &r.P999 },
	func(r *Result) *float64 { return &r.Max },
	func(r *Result) *float64 { return &r.LateMax },
	func(r *Result) *float64 { return &r.ConfirmP50 },
	func(r *Result) *float64 { return &r.ConfirmP99 },
	func(r *Result) *float64 { return &r.ConfirmP999 },
	func(r *Result) *float64 { return &r.PeakRSSMB },
	func(r *Result) *float64 { return &r.PeakAnonMB },
	func(r *Result) *float64 { return &r.RSSBeforeMB },
	func(r *Result) *float64 { return &r.DiskPerMsg },
}

// median of an even number of values is the mean of the middle two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
