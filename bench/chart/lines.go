package chart

import (
	"fmt"
	"strings"
)

// Lines is a chart of lines over one horizontal axis and one or two vertical ones.
type Lines struct {
	Title string
	X, Y  Axis
	// Right is the vertical axis of lines that ask for it; they are dashed.
	Right Axis
	Lines []Line
}

// Line is one series of points, in order.
type Line struct {
	Series int
	Name   string
	Right  bool
	Points []Point
}

// Point is a place in values of the axes.
type Point struct{ X, Y float64 }

const (
	plotHeight  = 190.0
	legendInset = 24.0
)

// SVG draws. The id must be the page's only one.
func (l Lines) SVG(id string) string {
	l = l.fitted()
	left, right := l.Y.room(), 12.0
	if l.hasRight() {
		right = l.Right.room()
	}
	var c canvas
	top := lineStep + 6
	p := plot{left: left, top: top, width: Width - left - right, height: plotHeight}
	p.grid(&c, l)
	for i, line := range l.Lines {
		p.line(&c, l, line, i)
	}
	bottom := top + plotHeight + 2*lineStep + 6
	bottom = l.legend(&c, bottom)
	return c.whole(id, l.Title, l.describe(), bottom)
}

func (l Lines) hasRight() bool {
	for _, line := range l.Lines {
		if line.Right {
			return true
		}
	}
	return false
}

// fitted has axes that hold all points.
func (l Lines) fitted() Lines {
	var xs, ys, rights []float64
	for _, line := range l.Lines {
		for _, p := range line.Points {
			xs = append(xs, p.X)
			if line.Right {
				rights = append(rights, p.Y)
			} else {
				ys = append(ys, p.Y)
			}
		}
	}
	l.X, l.Y, l.Right = l.X.fit(xs), l.Y.fit(ys), l.Right.fit(rights)
	return l
}

// room is the width that a vertical axis' labels take.
func (a Axis) room() float64 {
	most := 0.0
	for _, v := range a.ticks() {
		most = max(most, textWidth(a.label(v)))
	}
	return most + 10
}

// plot is the rectangle in which lines are drawn.
type plot struct{ left, top, width, height float64 }

func (p plot) x(at float64) float64 { return p.left + at*p.width }
func (p plot) y(at float64) float64 { return p.top + (1-at)*p.height }

func (p plot) grid(c *canvas, l Lines) {
	c.text(0, textSize, "start", "axis", l.Y.Name)
	if l.hasRight() {
		c.text(Width, textSize, "end", "axis", l.Right.Name)
		for _, v := range l.Right.ticks() {
			c.text(p.left+p.width+6, p.y(l.Right.at(v))+4, "start", "tick", l.Right.label(v))
		}
	}
	for _, v := range l.Y.ticks() {
		y := p.y(l.Y.at(v))
		c.line("grid", p.left, y, p.left+p.width, y)
		c.text(p.left-6, y+4, "end", "tick", l.Y.label(v))
	}
	bottom := p.top + p.height
	for _, v := range l.X.ticks() {
		x := p.x(l.X.at(v))
		c.line("grid", x, p.top, x, bottom)
		anchor := "middle"
		if x+textWidth(l.X.label(v))/2 > Width {
			anchor = "end"
		}
		c.text(x, bottom+15, anchor, "tick", l.X.label(v))
	}
	c.line("base", p.left, bottom, p.left+p.width, bottom)
	c.text(p.left+p.width/2, bottom+15+lineStep, "middle", "axis", l.X.Name)
}

func (p plot) line(c *canvas, l Lines, line Line, i int) {
	var path strings.Builder
	y := l.Y
	class := "line " + seriesClass(line.Series)
	if line.Right {
		y = l.Right
		class += " dashed"
	}
	for n, point := range line.Points {
		verb := "L"
		if n == 0 {
			verb = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", verb, p.x(l.X.at(point.X)), p.y(y.at(point.Y)))
	}
	c.add(`<path class="%s" d="%s"/>`, class, path.String())
	for _, point := range line.Points {
		marker(c, i, seriesClass(line.Series), p.x(l.X.at(point.X)), p.y(y.at(point.Y)))
	}
}

// marker is a shape of its own for each of a chart's first lines.
func marker(c *canvas, i int, class string, x, y float64) {
	switch i % 4 {
	case 0:
		c.add(`<circle class="mark %s" cx="%.1f" cy="%.1f" r="3"/>`, class, x, y)
	case 1:
		c.add(`<rect class="mark %s" x="%.1f" y="%.1f" width="5.6" height="5.6"/>`, class, x-2.8, y-2.8)
	case 2:
		c.add(`<path class="mark %s" d="M%.1f %.1fl3.6 6h-7.2z"/>`, class, x, y-3.6)
	default:
		c.add(`<path class="mark %s" d="M%.1f %.1fl3.8 3.8l-3.8 3.8l-3.8 -3.8z"/>`, class, x, y-3.8)
	}
}

// legend stands below, a line for each series, and returns where it ends.
func (l Lines) legend(c *canvas, y float64) float64 {
	for i, line := range l.Lines {
		class := "line " + seriesClass(line.Series)
		name := line.Name
		if line.Right {
			class += " dashed"
			name += " (right)"
		}
		c.line(class, 0, y+7, legendInset-6, y+7)
		marker(c, i, seriesClass(line.Series), (legendInset-6)/2, y+7)
		c.text(legendInset, y+11, "start", "name", name)
		y += lineStep
	}
	return y + 2
}

// describe has the first and last point of each line in words.
func (l Lines) describe() string {
	var out []string
	for _, line := range l.Lines {
		if len(line.Points) == 0 {
			continue
		}
		y := l.Y
		if line.Right {
			y = l.Right
		}
		first, last := line.Points[0], line.Points[len(line.Points)-1]
		out = append(out, fmt.Sprintf("%s: from %s at %s to %s at %s", line.Name, y.label(first.Y), l.X.label(first.X), y.label(last.Y), l.X.label(last.X)))
	}
	return l.Y.Name + " over " + l.X.Name + ". " + strings.Join(out, "; ") + "."
}
