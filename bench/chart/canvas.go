package chart

import (
	"fmt"
	"html"
	"strings"
)

// Width is a drawing's, in units that a page shows as pixels or less.
const Width = 420.0

// Sizes of text and what stands around it.
const (
	textSize  = 12.0
	lineStep  = 17.0
	charWidth = 7.2 // about, of a system font at textSize
)

// canvas collects elements.
type canvas struct{ b strings.Builder }

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(&c.b, format+"\n", args...) }

// text puts one line; anchor is start, middle or end.
func (c *canvas) text(x, y float64, anchor, class, s string) {
	c.add(`<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, html.EscapeString(s))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.add(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

// whole is the drawing with its words for those who do not see it.
func (c *canvas) whole(id, title, description string, height float64) string {
	return fmt.Sprintf(`<svg viewBox="0 0 %.0f %.0f" role="img" aria-labelledby="%s-t %s-d" xmlns="http://www.w3.org/2000/svg">
<title id="%s-t">%s</title>
<desc id="%s-d">%s</desc>
%s</svg>`, Width, height, id, id, id, html.EscapeString(title), id, html.EscapeString(description), c.b.String())
}

func textWidth(s string) float64 { return float64(len([]rune(s))) * charWidth }

// clipped is s, or as much of it as takes no more than width.
func clipped(s string, width float64) string {
	most := int(width / charWidth)
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// seriesClass is the class of what belongs to series n; there are colours for Colours of them.
func seriesClass(n int) string { return fmt.Sprintf("s%d", n%Colours) }

// Colours is how many series a page must have colours for, from s0 on.
const Colours = 6
