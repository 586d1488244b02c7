package web

import "slices"

// picture is an exchange with what leads to it and where it leads, in rows; its numbers are those of an SVG.
type picture struct {
	Left          int // where the picture begins: nothing stands there where nothing leads to the exchange
	Width, Height int
	Middle        int // of the exchange, from above
	In, Out       []edge
	More          int // that have no room
}

// edge is a line with what it stands for.
type edge struct {
	Y, Text    int // of its end, and of what is written over its line
	Name       string
	Conditions string
	Place      string // of the other end
	Exchange   bool
	Hit        bool // the message that was tried goes here
	From       int  // where the line begins: the middle
}

// Top and Base are those of the box at the end of the line, and of what is written in it.
func (e edge) Top() int { return e.Y - 12 }

// Base is where the name stands.
func (e edge) Base() int { return e.Y + 4 }

// SelfTop and SelfBase are the same of the exchange itself.
func (p *picture) SelfTop() int { return p.Middle - 14 }

// SelfBase is where its name stands.
func (p *picture) SelfBase() int { return p.Middle + 4 }

// Sizes of a picture, in its own units.
const (
	pictureWidth = 760
	rowHeight    = 34
	maxEdges     = 20 // on each side
)

// draught draws an exchange. One to which nothing leads and which leads nowhere has no picture.
func draught(d *exchangeData) *picture {
	if len(d.In)+len(d.Out) == 0 {
		return nil
	}
	out := slices.Clone(d.Out)
	if d.Try.Asked { // what it is about comes first
		slices.SortStableFunc(out, func(a, b binding) int { return order(d.Try.goesTo(&b)) - order(d.Try.goesTo(&a)) })
	}
	p := &picture{Width: pictureWidth, More: max(0, len(out)-maxEdges) + max(0, len(d.In)-maxEdges)}
	rows := max(min(len(out), maxEdges), min(len(d.In), maxEdges))
	p.Height = rows*rowHeight + 12
	p.Middle = p.Height / 2
	at := func(i, n int) int { return p.Middle + (2*i+1-n)*rowHeight/2 }
	n := min(len(out), maxEdges)
	for i := range n {
		b := &out[i]
		e := edge{Y: at(i, n), Name: cut(26, b.Destination), Conditions: cut(20, b.conditions()), Exchange: b.Kind == "exchange", Hit: d.Try.Asked && d.Try.goesTo(b), From: p.Middle}
		e.Place = query("/queue", "vhost", b.VHost, "name", b.Destination)
		if e.Exchange {
			e.Place = exchangePlace(b.VHost, b.Destination)
		}
		e.Text = e.Y - 5
		p.Out = append(p.Out, e)
	}
	if n = min(len(d.In), maxEdges); n == 0 {
		p.Left, p.Width = 208, pictureWidth-208
	}
	for i := range n {
		b := &d.In[i]
		y := at(i, n)
		p.In = append(p.In, edge{Y: y, Text: y - 5, Name: cut(16, b.Source), Conditions: cut(10, b.conditions()), Exchange: true, From: p.Middle, Place: exchangePlace(b.VHost, b.Source)})
	}
	return p
}

func order(first bool) int {
	if first {
		return 1
	}
	return 0
}
