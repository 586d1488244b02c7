package chart

import (
	"math"
	"strconv"
)

// Scale is how an axis maps values.
type Scale int

const (
	// Linear begins at zero.
	Linear Scale = iota
	// Log has equal steps for equal ratios. Zero, which has no place on it, stands before
	// the smallest other value.
	Log
	// Nines is for percentiles: equal steps for 0, 90, 99, 99.9 and so on.
	Nines
)

// Axis is one side of a chart of lines.
type Axis struct {
	Name   string
	Scale  Scale
	Format func(float64) string // of ticks; nil: plain numbers

	low, high float64 // of what is drawn, as mapped
	step      float64 // between the ticks of a Linear axis
	zero      float64 // where zero is on a Log axis, as mapped
	hasZero   bool
}

// most nines: 100 % is drawn there.
const mostNines = 5

// fit makes the axis hold the values.
func (a Axis) fit(values []float64) Axis {
	a.low, a.high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if a.Scale == Log && v <= 0 {
			a.hasZero = true
			continue
		}
		m := a.mapped(v)
		a.low, a.high = min(a.low, m), max(a.high, m)
	}
	if math.IsInf(a.low, 1) {
		a.low, a.high = 0, 1
	}
	switch a.Scale {
	case Linear:
		a.step = niceAbove(a.high / 5)
		a.low, a.high = 0, math.Ceil(a.high/a.step-1e-9)*a.step
	case Log:
		// Whole decades where that wastes little, else what the values take.
		a.low, a.high = floorTo(a.low), ceilTo(a.high)
		if a.high == a.low {
			a.high++
		}
		if a.hasZero {
			a.zero = a.low - (a.high-a.low)/8
			a.low = a.zero
		}
	case Nines:
		a.low = 0
	}
	return a
}

// floorTo and ceilTo round to a half decade.
func floorTo(v float64) float64 { return math.Floor(v*2+1e-9) / 2 }
func ceilTo(v float64) float64  { return math.Ceil(v*2-1e-9) / 2 }

// mapped is the value in units of the axis.
func (a Axis) mapped(v float64) float64 {
	switch a.Scale {
	case Log:
		if v <= 0 {
			return a.zero
		}
		return math.Log10(v)
	case Nines:
		if v >= 100 {
			return mostNines
		}
		return min(-math.Log10(1-v/100), mostNines)
	default:
		return v
	}
}

// at is where a value lies between 0 and 1.
func (a Axis) at(v float64) float64 {
	if a.high == a.low {
		return 0
	}
	return (a.mapped(v) - a.low) / (a.high - a.low)
}

// ticks are values worth a label.
func (a Axis) ticks() (out []float64) {
	switch a.Scale {
	case Log:
		if a.hasZero {
			out = append(out, 0)
		}
		first, last := int(math.Ceil(a.low-1e-9)), int(math.Floor(a.high+1e-9))
		if a.hasZero {
			first = int(math.Ceil(a.low + (a.high-a.low)/9 - 1e-9)) // behind the gap
		}
		step := max(1, (last-first+1)/5)
		for e := first; e <= last; e += step {
			out = append(out, math.Pow10(e))
		}
	case Nines:
		for n, v := range []float64{0, 90, 99, 99.9, 99.99, 100} {
			if float64(n) <= a.high+1e-9 {
				out = append(out, v)
			}
		}
	default:
		for n := 0; float64(n)*a.step <= a.high*1.0001; n++ {
			out = append(out, float64(n)*a.step)
		}
	}
	return out
}

// label is a tick's text.
func (a Axis) label(v float64) string {
	if a.Format != nil {
		return a.Format(v)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// niceAbove is the least of 1, 2, 2.5, 5 times a power of ten that is not below v.
func niceAbove(v float64) float64 {
	if v <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if v <= m*p*(1+1e-9) {
			return m * p
		}
	}
	return 10 * p
}
