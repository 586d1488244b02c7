package web

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Charts are drawn here, as paths of an SVG whose numbers stand beside it as text: a picture that a browser stretches to its
// column, that follows the colours of the page, and that needs no script and no style inside the page.

// point is a value at a time.
type point struct {
	at    time.Time
	value float64
}

// line is one figure of a chart.
type line struct {
	Name  string
	Now   string // its newest value, as text
	Class string // its colour
	Path  string // of the line
	Area  string // of what is below it; "" for none
}

// chart is a picture of figures over time.
type chart struct {
	Title   string
	Lines   []line
	Top     string // what the upper edge stands for
	Middle  string
	Back    string // how long ago the left edge is
	Width   int
	Height  int
	Waiting bool // there are too few samples yet
}

const (
	chartWidth  = 600
	chartHeight = 120
)

// drawn is a figure to draw.
type drawn struct {
	name   string
	class  string
	points []point
}

// draw makes a chart; text is how a value is written.
func draw(title string, text func(float64) string, list ...drawn) *chart {
	c := &chart{Title: title, Width: chartWidth, Height: chartHeight}
	top, first, last := 0.0, time.Time{}, time.Time{}
	for _, d := range list {
		for _, p := range d.points {
			top = max(top, p.value)
			if first.IsZero() || p.at.Before(first) {
				first = p.at
			}
			if p.at.After(last) {
				last = p.at
			}
		}
	}
	top = round(top)
	span := max(last.Sub(first), time.Minute)
	c.Top, c.Middle, c.Back = brief(top, text), brief(top/2, text), age(span)+" ago"
	if c.Middle == c.Top { // of what is counted in whole numbers
		c.Middle = ""
	}
	for _, d := range list {
		l := line{Name: d.name, Class: d.class, Now: text(0)}
		if n := len(d.points); n > 0 {
			l.Now = text(d.points[n-1].value)
		}
		if len(d.points) > 1 {
			l.Path, l.Area = paths(d.points, last.Add(-span), span, top)
		}
		c.Waiting = c.Waiting || l.Path == ""
		c.Lines = append(c.Lines, l)
	}
	return c
}

// brief is a value beside a chart, where there is room for a few signs.
func brief(v float64, text func(float64) string) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if written := text(v); v >= 10*unit.size && len(written) > 0 && written[len(written)-1] != 'B' {
			return text(v/unit.size) + " " + unit.name
		}
	}
	return text(v)
}

// round is the next number up that is easy to read: 1, 2, 2.5 or 5 times a power of ten.
func round(v float64) float64 {
	if v <= 1 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 2.5, 5, 10} {
		if v <= n*power {
			return n * power
		}
	}
	return 10 * power
}

// paths are a line through points and what is below it.
func paths(points []point, from time.Time, span time.Duration, top float64) (path, area string) {
	var b strings.Builder
	x := func(p point) float64 { return float64(p.at.Sub(from)) / float64(span) * chartWidth }
	number := func(f float64) { b.WriteString(strconv.FormatFloat(f, 'f', 1, 64)) }
	for i, p := range points {
		b.WriteByte("ML"[min(i, 1)])
		number(x(p))
		b.WriteByte(' ')
		number(chartHeight - p.value/top*(chartHeight-2) - 1)
	}
	path = b.String()
	b.WriteByte('L')
	number(x(points[len(points)-1]))
	b.WriteString(" " + strconv.Itoa(chartHeight) + "L")
	number(x(points[0]))
	b.WriteString(" " + strconv.Itoa(chartHeight) + "Z")
	return path, b.String()
}
