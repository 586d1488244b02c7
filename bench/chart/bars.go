package chart

import (
	"strings"
)

// Bars is groups of horizontal bars, one below the other, from zero.
type Bars struct {
	Title  string
	Groups []Group
	// OneScale draws all bars to one scale; else each group has its own, which sets brokers
	// side by side in groups that are orders of magnitude apart.
	OneScale bool
}

// Group is what is to be compared with each other.
type Group struct {
	Name string
	Bars []Bar
}

// Bar is one value, with the lowest and highest that were seen where they differ.
type Bar struct {
	Series           int
	Name             string // of the series
	Value, Low, High float64
	Text             string // the value as it is written
}

const (
	barThick   = 12.0
	barStep    = 16.0
	groupGap   = 8.0
	valueSpace = 84.0 // at the right, for the value's text
	mostName   = 150.0
)

// SVG draws. The id must be the page's only one.
func (b Bars) SVG(id string) string {
	var c canvas
	names := b.names()
	left := 0.0
	for _, n := range names {
		left = max(left, min(textWidth(n), mostName)+8)
	}
	if len(names) == 1 {
		left = 0 // the one series is named once, by the page
	}
	room := Width - left - valueSpace
	all := 0.0
	for _, g := range b.Groups {
		all = max(all, g.highest())
	}
	y := 0.0
	for _, g := range b.Groups {
		most := all
		if !b.OneScale {
			most = g.highest()
		}
		c.text(0, y+textSize, "start", "group", g.Name)
		y += lineStep
		for _, bar := range g.Bars {
			b.draw(&c, bar, y, left, room, most)
			y += barStep
		}
		y += groupGap
	}
	return c.whole(id, b.Title, b.describe(), y)
}

func (b Bars) draw(c *canvas, bar Bar, y, left, room, most float64) {
	if left > 0 {
		c.text(left-6, y+barThick-2, "end", "name", clipped(bar.Name, mostName))
	}
	scale := func(v float64) float64 {
		if most <= 0 {
			return 0
		}
		return v / most * room
	}
	w := scale(bar.Value)
	c.add(`<rect class="bar %s" x="%.1f" y="%.1f" width="%.1f" height="%.0f" rx="1"/>`, seriesClass(bar.Series), left, y, max(w, 1), barThick)
	end := w
	if bar.High > bar.Low {
		low, high := left+scale(bar.Low), left+scale(bar.High)
		middle := y + barThick/2
		c.line("range", low, middle, high, middle)
		c.line("range", low, middle-3, low, middle+3)
		c.line("range", high, middle-3, high, middle+3)
		end = max(end, scale(bar.High))
	}
	c.text(left+end+5, y+barThick-2, "start", "value", bar.Text)
}

// names are the series' in order of appearance.
func (b Bars) names() (out []string) {
	seen := map[string]bool{}
	for _, g := range b.Groups {
		for _, bar := range g.Bars {
			if !seen[bar.Name] {
				seen[bar.Name] = true
				out = append(out, bar.Name)
			}
		}
	}
	return out
}

func (g Group) highest() (most float64) {
	for _, b := range g.Bars {
		most = max(most, b.Value, b.High)
	}
	return most
}

// describe has every value in words.
func (b Bars) describe() string {
	var s strings.Builder
	for _, g := range b.Groups {
		s.WriteString(g.Name + ": ")
		for i, bar := range g.Bars {
			if i > 0 {
				s.WriteString(", ")
			}
			s.WriteString(bar.Name + " " + bar.Text)
		}
		s.WriteString(". ")
	}
	return strings.TrimSpace(s.String())
}
